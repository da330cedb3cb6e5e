package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// clusterNode is a node in a process of its own.
type clusterNode struct {
	*scriptNode
	readyLine
	t  *testing.T
	on *nodeHost
}

// nodeHost says where a node runs: here, unless the fields are set.
type nodeHost struct {
	start   []string // in front of the node's command
	connect func(ctx context.Context, network, address string) (net.Conn, error)
	http    *http.Client // that uses connect
}

// client returns a client for the node's API.
func (n *clusterNode) client() *http.Client {
	if n.on == nil || n.on.http == nil {
		return http.DefaultClient
	}
	return n.on.http
}

// startClusterNode starts a node in development mode with free ports. It ends
// with the test; its log is shown if the test fails.
func startClusterNode(t *testing.T, name string, flags ...string) *clusterNode {
	t.Helper()
	return startClusterNodeOn(t, &nodeHost{}, name, flags...)
}

// startClusterNodeOn starts it on a host.
func startClusterNodeOn(t *testing.T, on *nodeHost, name string, flags ...string) *clusterNode {
	t.Helper()
	dir := t.TempDir()
	args := ownPorts(append([]string{"--dev", "--node-name", name, "--set", "backlog.frames=65535", "--set", "backlog.bytes=64MiB",
		"--set", "fanout.mailbox=65536", "--set", "nats.pending_bytes=4GiB"}, flags...))
	process, err := launchBy(on.start, dir, filepath.Join(dir, name+".log"), os.Environ(), args)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		process.kill()
		if t.Failed() {
			t.Logf("log of %s:\n%s", name, strings.Join(process.lines, "\n"))
		}
	})
	ready, err := process.ready()
	if err != nil {
		t.Fatal(err)
	}
	return &clusterNode{process, ready, t, on}
}

// post pushes and returns the status and the answer.
func (n *clusterNode) post(path, body string) (int, string) {
	n.t.Helper()
	resp, err := n.client().Post("http://"+n.API+path, "text/plain", strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

func (n *clusterNode) push(path, body string) {
	n.t.Helper()
	if status, answer := n.post(path, body); status != http.StatusAccepted {
		n.t.Fatalf("push to %s: %d %s", path, status, answer)
	}
}

// ready is the status of /readyz.
func (n *clusterNode) readiness() (status int, reasons string) {
	n.t.Helper()
	resp, err := n.client().Get("http://" + n.Monitor + "/readyz")
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

// metric returns the value of one series.
func (n *clusterNode) metric(series string) float64 {
	n.t.Helper()
	resp, err := n.client().Get("http://" + n.Monitor + "/metrics")
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	for line := range strings.SplitSeq(string(body), "\n") {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			v, err := strconv.ParseFloat(rest, 64)
			if err != nil {
				n.t.Fatal(err)
			}
			return v
		}
	}
	n.t.Fatalf("no series %s", series)
	return 0
}

// soon polls until cond is true, for things that other processes do.
func soon(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(waitLimit); !cond(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", waitLimit, what)
		}
	}
}

// clusterClient is a belfry.v1 client.
type clusterClient struct {
	t    *testing.T
	name string
	sid  string
	conn *websocket.Conn
	data chan string // of messages; closed at the end
}

func (n *clusterNode) dial(name, query string) *clusterClient {
	n.t.Helper()
	dialer := websocket.Dialer{Subprotocols: []string{"belfry.v1"}, HandshakeTimeout: waitLimit}
	if n.on != nil {
		dialer.NetDialContext = n.on.connect
	}
	conn, resp, err := dialer.Dial("ws://"+n.Listen[0]+"/ws?"+query, nil)
	if err != nil {
		n.t.Fatalf("%s: %v%s", name, err, answered(resp))
	}
	n.t.Cleanup(func() { conn.Close() })
	var hello struct{ Type, Session string }
	if err := conn.ReadJSON(&hello); err != nil || hello.Type != "hello" {
		n.t.Fatalf("%s: hello %+v, %v", name, hello, err)
	}
	c := &clusterClient{n.t, name, hello.Session, conn, make(chan string, 1<<16)}
	go func() {
		defer close(c.data)
		for {
			_, text, err := conn.ReadMessage()
			if err != nil {
				return
			}
			var m struct{ Type, Data string }
			if err := json.Unmarshal(text, &m); err != nil || m.Type != "msg" {
				m.Data = fmt.Sprintf("not a msg: %s", text)
			}
			c.data <- m.Data
		}
	}()
	return c
}

// next returns the next message that is not a probe.
func (c *clusterClient) next() string {
	c.t.Helper()
	timeout := time.After(waitLimit)
	for {
		select {
		case data, open := <-c.data:
			if !open {
				c.t.Fatalf("%s: connection ended", c.name)
			}
			if !strings.HasPrefix(data, "probe ") {
				return data
			}
		case <-timeout:
			c.t.Fatalf("%s: nothing arrived within %v", c.name, waitLimit)
		}
	}
}

func (c *clusterClient) expect(want ...string) {
	c.t.Helper()
	for _, w := range want {
		if got := c.next(); got != w {
			c.t.Fatalf("%s: got %q; want %q", c.name, got, w)
		}
	}
}

// reachable pushes probes at every node until c gets them. Other nodes know a
// subscription only after a round trip on the route, and report nothing then.
func (c *clusterClient) reachable(from []*clusterNode, paths ...string) {
	c.t.Helper()
	for i, n := range from {
		for _, path := range paths {
			probe := fmt.Sprintf("probe %s %d %s", c.name, i, path)
			soon(c.t, probe, func() bool {
				n.push(path, probe)
				timeout := time.After(50 * time.Millisecond)
				for {
					select {
					case data := <-c.data:
						if data == probe {
							return true
						}
					case <-timeout:
						return false
					}
				}
			})
		}
	}
}
