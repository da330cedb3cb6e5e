package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestNATSKilledAndBack kills the NATS server of three nodes. Local pushes
// still work. The nodes report the loss: the one with nats.required is not
// ready, the others are ready and degraded. The outbox fills up to its limit,
// and is sent in order when the server is back.
func TestNATSKilledAndBack(t *testing.T) {
	t.Parallel()
	const outbox = 20
	server := startNATS(t)
	var nodes []*clusterNode
	for _, name := range []string{"a", "b", "c"} {
		nodes = append(nodes, startClusterNode(t, name, "--nats-url", server.url(), "--set", fmt.Sprint("nats.outbox_messages=", outbox),
			"--set", fmt.Sprint("nats.required=", name == "a")))
	}
	a, b := nodes[0], nodes[1]
	here, there := a.dial("here", "topic=news"), b.dial("there", "topic=news")
	there.reachable(nodes, "/v1/topics/news")
	a.push("/v1/topics/news", "before")
	here.expect("before")
	there.expect("before")
	soon(t, "all messages are sent", func() bool { return a.metric("belfry_bus_outbox_messages") == 0 })

	server.stop()
	for i, n := range nodes {
		want, list := http.StatusOK, `"degraded":["bus: no connection to NATS`
		if i == 0 {
			want, list = http.StatusServiceUnavailable, `"reasons":["bus: no connection to NATS`
		}
		soon(t, "without NATS", func() bool {
			status, text := n.readiness()
			return status == want && strings.Contains(text, list)
		})
		if v := n.metric("belfry_bus_connected"); v != 0 {
			t.Errorf("belfry_bus_connected is %v", v)
		}
	}
	var kept []string
	for i := range outbox {
		kept = append(kept, fmt.Sprint("meanwhile ", i))
		a.push("/v1/topics/news", kept[i])
	}
	here.expect(kept...)
	for range 3 {
		status, answer := a.post("/v1/topics/news", "refused")
		if status != http.StatusServiceUnavailable || !strings.Contains(answer, "overloaded") {
			t.Fatalf("with a full outbox: %d %s", status, answer)
		}
	}
	b.push("/v1/topics/news", "b is as alone")
	there.expect("b is as alone")
	if v := a.metric("belfry_bus_outbox_messages"); v != outbox {
		t.Errorf("%v messages in the outbox; want %d", v, outbox)
	}
	if v := a.metric(`belfry_bus_refused_total{cause="outbox"}`); v != 3 {
		t.Errorf("%v refused; want 3", v)
	}

	if err := server.start(); err != nil {
		t.Fatal(err)
	}
	there.expect(kept...)
	here.expect("b is as alone") // and none of the refused messages
	for _, n := range nodes {
		soon(t, "whole again", func() bool { _, text := n.readiness(); return strings.TrimSpace(text) == `{"ready":true}` })
		if v := n.metric("belfry_bus_reconnects_total"); v != 1 {
			t.Errorf("%v reconnects", v)
		}
		if v := n.metric("belfry_bus_gaps_total"); v != 0 {
			t.Errorf("%v gaps, though nothing was lost", v)
		}
	}
	a.push("/v1/topics/news", "after")
	here.expect("after")
	there.expect("after")
}

// TestGapIsCounted drops one message between the NATS server and one node. That
// node counts a gap, the others get everything.
func TestGapIsCounted(t *testing.T) {
	t.Parallel()
	server := startNATS(t)
	lossy := dropBetween(t, strings.TrimPrefix(server.url(), "nats://"), "drop me")
	a := startClusterNode(t, "a", "--nats-url", server.url(), "--set", "nats.beacon=100ms")
	b := startClusterNode(t, "b", "--nats-url", "nats://"+lossy, "--set", "nats.beacon=100ms")
	c := startClusterNode(t, "c", "--nats-url", server.url(), "--set", "nats.beacon=100ms")
	nodes := []*clusterNode{a, b, c}
	atB, atC := b.dial("at b", "topic=news"), c.dial("at c", "topic=news")
	atB.reachable(nodes, "/v1/topics/news")
	atC.reachable(nodes, "/v1/topics/news")

	a.push("/v1/topics/news", "one")
	a.push("/v1/topics/news", "drop me; the next message shows the gap")
	a.push("/v1/topics/news", "two")
	atB.expect("one", "two")
	atC.expect("one", "drop me; the next message shows the gap", "two")
	soon(t, "a gap is counted", func() bool { return b.metric("belfry_bus_gaps_total") == 1 })
	a.push("/v1/topics/news", "drop me; a beacon shows the gap")
	soon(t, "a second gap is counted", func() bool { return b.metric("belfry_bus_gaps_total") == 2 })
	for _, n := range []*clusterNode{a, c} {
		if v := n.metric("belfry_bus_gaps_total"); v != 0 {
			t.Errorf("%v gaps where nothing was dropped", v)
		}
	}
}

// TestDuplicateNodeName runs two processes with the same node name, a mistake
// that operators make.
func TestDuplicateNodeName(t *testing.T) {
	t.Parallel()
	server := startNATS(t)
	first := startClusterNode(t, "same", "--nats-url", server.url(), "--set", "nats.beacon=100ms")
	second := startClusterNode(t, "same", "--nats-url", server.url(), "--set", "nats.beacon=100ms")
	for _, n := range []*clusterNode{first, second} {
		soon(t, "the other is noticed", func() bool { return n.metric("belfry_bus_duplicate_nodes_total") > 0 })
	}
	if _, err := first.wait(regexp.MustCompile(`another process has the same node name.*"its_name":"same"`)); err != nil {
		t.Error(err)
	}
}

// dropBetween is a proxy between a NATS server and one client. It drops every
// message to the client whose payload begins with mark. It returns its address.
func dropBetween(t *testing.T, server, mark string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			upstream, err := net.Dial("tcp", server)
			if err != nil {
				client.Close()
				return
			}
			go func() { io.Copy(upstream, client); upstream.Close() }()
			go func() { filterNATS(client, upstream, []byte(mark)); client.Close() }()
		}
	}()
	return l.Addr().String()
}

// filterNATS copies the output of a server line by line. Only the operations
// MSG and HMSG have a payload; its size is the last word of the line.
func filterNATS(to io.Writer, from io.Reader, mark []byte) {
	r := bufio.NewReader(from)
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return
		}
		words := bytes.Fields(line)
		if op := words[0]; bytes.Equal(op, []byte("MSG")) || bytes.Equal(op, []byte("HMSG")) {
			size, err := strconv.Atoi(string(words[len(words)-1]))
			if err != nil {
				return
			}
			body := make([]byte, size+len("\r\n"))
			if _, err := io.ReadFull(r, body); err != nil {
				return
			}
			headers := 0
			if bytes.Equal(op, []byte("HMSG")) {
				headers, _ = strconv.Atoi(string(words[len(words)-2]))
			}
			if bytes.HasPrefix(body[headers:], mark) {
				continue
			}
			line = append(line, body...)
		}
		if _, err := to.Write(line); err != nil {
			return
		}
	}
}
