package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

// resident returns the resident memory of the node's process in KiB (man 5
// proc).
func (n *clusterNode) resident() (kib int) {
	n.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.cmd.Process.Pid))
	if err != nil {
		n.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		n.t.Fatal(err)
	}
	return kib
}

// unfinished opens clients; each sends a message of 64 KiB without its last
// byte.
func (n *clusterNode) unfinished(clients int) (conns []net.Conn) {
	n.t.Helper()
	message := append([]byte{0x82, 0x80 | 126, 0xff, 0xff, 1, 2, 3, 4}, make([]byte, 0xffff-1)...)
	for range clients {
		c, _, err := websocket.DefaultDialer.Dial("ws://"+n.Listen[0]+"/ws", nil)
		if err != nil {
			n.t.Fatal(err)
		}
		if _, err := c.NetConn().Write(message); err != nil {
			n.t.Fatal(err)
		}
		conns = append(conns, c.NetConn())
	}
	return conns
}

// slowReaders opens clients that do not read, and pushes until so many MB wait
// for them.
func (n *clusterNode) slowReaders(mb int) (conns []net.Conn) {
	n.t.Helper()
	for range 3 {
		c, _, err := websocket.DefaultDialer.Dial("ws://"+n.Listen[0]+"/ws", nil)
		if err != nil {
			n.t.Fatal(err)
		}
		conns = append(conns, c.NetConn())
	}
	for body := strings.Repeat("x", 60_000); n.metric("belfry_backlog_bytes") < float64(mb)*1e6; {
		for range 50 {
			n.push("/v1/all", body)
		}
	}
	return conns
}

// After many clients with unfinished messages, or slow readers with long
// backlogs, have left, the process is as small as before.
func TestMemoryIsGivenBack(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector's own memory is not given back")
	}
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	const mb = 120
	for name, load := range map[string]func(n *clusterNode, mb int) []net.Conn{
		"unfinished messages": func(n *clusterNode, mb int) []net.Conn { return n.unfinished(mb * 16) },
		"backlogs":            (*clusterNode).slowReaders,
	} {
		t.Run(name, func(t *testing.T) {
			n := startClusterNode(t, "m", "--set", "backlog.bytes=200MiB", "--set", "backlog.node_bytes=200MiB")
			round := func(mb int) (full int) {
				conns := load(n, mb)
				full = n.resident()
				for _, c := range conns {
					c.Close()
				}
				return full
			}
			round(mb / 10) // memory that is allocated once and kept
			http.DefaultClient.CloseIdleConnections()
			soon(t, "all gone", func() bool { return n.metric("belfry_connections") == 0 })
			before := n.resident()
			full := round(mb)
			if full < before+mb*1000/2 {
				t.Fatalf("%d KiB with %d MB waiting, %d before", full, mb, before)
			}
			t.Logf("%d KiB, %d at most", before, full)
			soon(t, "memory given back", func() bool { return n.resident() < before+before/10 })
		})
	}
}
