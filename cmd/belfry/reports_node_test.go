package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/gorilla/websocket"
	"golang.org/x/sys/unix"

	"belfry/report"
)

// reported pushes with a wait, and returns what became of the push.
func (n *clusterNode) reported(path, body string) (res report.Result) {
	n.t.Helper()
	status, answer := n.post(path, body)
	if status != http.StatusOK {
		n.t.Fatalf("%s: %d %s", path, status, answer)
	}
	if err := json.Unmarshal([]byte(answer), &res); err != nil {
		n.t.Fatalf("%s: %v", answer, err)
	}
	return res
}

// reportClient counts the messages that it gets, once it reads.
type reportClient struct {
	conn *websocket.Conn
	got  chan int
}

// reader opens a client with a small receive buffer. It reads when begin is closed, up
// to the message "end", and then says how many messages came before.
func (n *clusterNode) reader(query string, begin <-chan struct{}, subprotocols ...string) *reportClient {
	n.t.Helper()
	small := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<10) })
	}}
	d := websocket.Dialer{NetDial: small.Dial, Subprotocols: subprotocols, HandshakeTimeout: waitLimit}
	conn, resp, err := d.Dial("ws://"+n.Listen[0]+"/ws?"+query, nil)
	if err != nil {
		n.t.Fatalf("%v%s", err, answered(resp))
	}
	n.t.Cleanup(func() { conn.Close() })
	c := &reportClient{conn, make(chan int, 1)}
	go func() {
		<-begin
		for count := 0; ; count++ {
			_, p, err := conn.ReadMessage()
			if err != nil || string(p) == "end" {
				c.got <- count
				return
			}
		}
	}()
	return c
}

// reportCluster starts three nodes that know each other.
func reportCluster(t *testing.T, server *natsServer) (nodes []*clusterNode) {
	t.Helper()
	for _, name := range []string{"a", "b", "c"} {
		nodes = append(nodes, startClusterNode(t, name, "--nats-url", server.url(), "--set", "nats.beacon=200ms"))
	}
	for _, n := range nodes {
		soon(t, "peers", func() bool { return n.metric("belfry_bus_peers") == 2 })
	}
	return nodes
}

// What three nodes report is what their clients get, those that read at once and those
// that read later.
func TestReportsOfThreeNodes(t *testing.T) {
	t.Parallel()
	nodes := reportCluster(t, startNATS(t))
	now, later := make(chan struct{}), make(chan struct{})
	close(now)
	var clients []*reportClient
	for i, n := range nodes {
		for range 3 {
			clients = append(clients, n.reader(fmt.Sprintf("uid=u%d&topic=news", i), now))
		}
		clients = append(clients, n.reader("topic=news", later))
	}
	soon(t, "all are subscribed everywhere", func() bool {
		for _, n := range nodes {
			if res := n.reported("/v1/topics/news?wait=5s", "hello"); res.Sessions != 12 || !res.Complete || len(res.Nodes) != 3 {
				return false
			}
		}
		return true
	})
	counts := report.Counts{}
	big := strings.Repeat("x", 60<<10)
	for i := range 60 {
		res := nodes[i%3].reported("/v1/all?wait=5s", big)
		if !res.Complete || res.Offline || res.Sessions != 12 || res.Written+res.Queued != 12 {
			t.Fatalf("%+v", res)
		}
		counts.Written += res.Written
		counts.Queued += res.Queued
	}
	if counts.Queued == 0 {
		t.Error("nothing was queued: the slow readers were not slow")
	}
	if res := nodes[1].reported("/v1/users/u2?wait=5s", "to u2"); res.Written+res.Queued != 3 || len(res.Nodes) != 3 {
		t.Errorf("%+v", res)
	}
	if res := nodes[1].reported("/v1/users/nobody?wait=5s", "to nobody"); !res.Offline || !res.Complete {
		t.Errorf("%+v", res)
	}
	close(later)
	nodes[0].reported("/v1/all?wait=5s", "end")
	first := -1
	for i, c := range clients {
		got := <-c.got
		if i/4 == 2 && i%4 < 3 {
			got-- // "to u2"
		}
		if first < 0 {
			first = got
		}
		if got != first || got < 60 {
			t.Errorf("client %d got %d messages, the first one %d", i, got, first)
		}
	}
	if v := nodes[0].metric(`belfry_push_waits_total{result="complete"}`); v < 20 {
		t.Errorf("belfry_push_waits_total is %v", v)
	}
}

// A node that is killed, and all others while NATS is away, are named as silent.
func TestReportsNameSilentNodes(t *testing.T) {
	t.Parallel()
	server := startNATS(t)
	nodes := reportCluster(t, server)
	for _, n := range nodes {
		n.dial("client", "topic=news")
	}
	soon(t, "all are subscribed everywhere", func() bool { return nodes[0].reported("/v1/topics/news?wait=5s", "hello").Sessions == 3 })
	nodes[2].kill()
	if res := nodes[0].reported("/v1/topics/news?wait=300ms", "hello"); res.Complete || len(res.Silent) != 1 || res.Silent[0].Node != "c" || res.Sessions != 2 {
		t.Errorf("%+v", res)
	}
	soon(t, "c is gone", func() bool {
		res := nodes[0].reported("/v1/topics/news?wait=300ms", "hello")
		return len(res.Silent) == 0 && res.Sessions == 2
	})
	server.stop()
	res := nodes[0].reported("/v1/topics/news?wait=300ms", "hello")
	if res.Complete || res.Sessions != 1 || len(res.Silent)+len(res.Degraded) == 0 {
		t.Errorf("%+v", res)
	}
	if err := server.start(); err != nil {
		t.Fatal(err)
	}
	soon(t, "whole again", func() bool {
		res := nodes[0].reported("/v1/topics/news?wait=1s", "hello")
		return res.Complete && res.Sessions == 2
	})
}

// The lines of a batch are answered in their order, also if some of them wait.
func TestReportsOfBatch(t *testing.T) {
	t.Parallel()
	nodes := reportCluster(t, startNATS(t))
	nodes[2].dial("client", "topic=news")
	soon(t, "subscribed everywhere", func() bool { return nodes[0].reported("/v1/topics/news?wait=5s", "hello").Sessions == 1 })
	var lines, want []string
	for i := range 700 { // more than may wait
		line := fmt.Sprintf(`{"to":{"topic":"news"},"text":"%d","wait":"5s"}`, i)
		if i%5 == 2 {
			line = `{"to":{"topic":"news"},"text":"plain"}`
		}
		if i%50 == 7 {
			line = `{"to":{"topic":"news"},"text":"plain","ack":true}`
		}
		lines = append(lines, line)
	}
	status, answer := nodes[0].post("/v1/batch", strings.Join(lines, "\n"))
	if status != http.StatusOK {
		t.Fatal(status, answer)
	}
	var got []string
	for line := range strings.Lines(answer) {
		var a struct {
			Line int
			ID   string
			report.Result
			Error struct{ Field string }
		}
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(a.Line, a.Sessions, a.Complete, a.Error.Field))
	}
	for i := range lines {
		text := fmt.Sprint(i+1, 1, true, "")
		switch {
		case i%50 == 7:
			text = fmt.Sprint(i+1, 0, false, "ack")
		case i%5 == 2:
			text = fmt.Sprint(i+1, 0, false, "")
		}
		want = append(want, text)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// Acknowledgements of clients on other nodes are counted as they come.
func TestReportsWithAcks(t *testing.T) {
	t.Parallel()
	nodes := reportCluster(t, startNATS(t))
	for i, n := range nodes {
		for k := range 2 {
			d := websocket.Dialer{Subprotocols: []string{"belfry.v1"}, HandshakeTimeout: waitLimit}
			conn, resp, err := d.Dial("ws://"+n.Listen[0]+"/ws?topic=news", nil)
			if err != nil {
				t.Fatalf("%v%s", err, answered(resp))
			}
			t.Cleanup(func() { conn.Close() })
			go func() {
				for {
					var m struct {
						Type, ID string
						Ack      bool
					}
					if conn.ReadJSON(&m) != nil {
						return
					}
					if m.Ack && (i < 2 || k == 0) { // one client does not acknowledge
						conn.WriteJSON(map[string]string{"type": "ack", "id": m.ID})
					}
				}
			}()
		}
	}
	nodes[1].reader("topic=news", nil)
	soon(t, "all are subscribed everywhere", func() bool { return nodes[0].reported("/v1/topics/news?wait=5s", "hello").Sessions == 7 })
	res := nodes[0].reported("/v1/topics/news?wait=1s&ack=1", "acknowledge this")
	if want := (report.Ack{Asked: 6, Acknowledged: 5, Unacknowledgeable: 1}); !res.Complete || *res.Ack != want {
		t.Errorf("%+v %+v", res, res.Ack)
	}
}
