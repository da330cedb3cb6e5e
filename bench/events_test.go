package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"
)

const eventHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nConnection: close\r\n\r\n"

func eventsWire() Wire { return Wire{Path: DevEventsPath(3), Topics: 3, Events: true} }

// event is a broadcast as belfry sends it on an event stream.
func event(seq uint32) string {
	return fmt.Sprintf("id: m%d\nevent: news\ndata: %s\n\n", seq, AppendPayload(nil, Broadcast, seq, 1, 128))
}

func TestEventRequest(t *testing.T) {
	w := newWire(Dial{Targets: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")}, Wire: Wire{Path: DevEventsPath(2), Topics: 2, Headers: []string{"A: b"}, Events: true}})
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(w.appendRequest(nil, 7))))
	if err != nil {
		t.Fatal(err)
	}
	if r.RequestURI != "/sse?uid="+UID(7)+"&topic=bench.1" || r.Header.Get("Accept") != "text/event-stream" || r.Header.Get("A") != "b" || r.Header.Get("Upgrade") != "" {
		t.Errorf("%+v", r)
	}
}

func TestEventResponse(t *testing.T) {
	for cut := range len(eventHead) {
		if n, err := parseEventResponse([]byte(eventHead[:cut])); n != 0 || err != nil {
			t.Fatalf("cut at %d: n %d, %v", cut, n, err)
		}
	}
	if n, err := parseEventResponse([]byte(eventHead + "retry: 3\n\n")); n != len(eventHead) || err != nil {
		t.Errorf("n %d, %v", n, err)
	}
	for _, head := range []string{
		"HTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n",
		"HTTP/1.1 503 Busy\r\nContent-Type: text/event-stream\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 5\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Type\r\n\r\n",
	} {
		if n, err := parseEventResponse([]byte(head)); n != 0 || err == nil {
			t.Errorf("%q: n %d, %v", head, n, err)
		}
	}
}

// The stream is met cut at every byte: comments, events that all get and events
// that differ.
func TestEventsAtEverySplit(t *testing.T) {
	stream := "retry: 3000\n\n:\n" + event(1) + ": a comment\nid: x\ndata: " + string(AppendPayload(nil, Broadcast, 2, 1, 128)) + "\n\n" + event(3) + event(4)
	for cut := range len(stream) {
		c := newTestClient(t)
		c.wire = newWire(Dial{Wire: eventsWire()})
		c.conns = append(c.conns, conn{state: connOpen, fd: -1})
		c.conns[0].broadcast.StartAt(1)
		for _, part := range []string{stream[:cut], stream[cut:]} {
			c.received(0, copy(c.buf, part))
		}
		if got := c.Stats(5); got.Broadcast != (Tally{Received: 4}) || got.Missing != 0 || got.Corrupt != 0 || got.Pings != 2 || len(c.tails) != 0 {
			t.Fatalf("cut at %d: %+v, missing %d, corrupt %d, pings %d", cut, got.Broadcast, got.Missing, got.Corrupt, got.Pings)
		}
		c.conns = nil // it has no descriptor to close
	}
}

func TestEventsFindFaults(t *testing.T) {
	changed := []byte(event(1))
	changed[len(changed)-10] ^= 1
	for name, tt := range map[string]struct {
		stream  string
		want    Tally
		corrupt uint64
	}{
		"doubled":       {event(1) + event(1), Tally{Received: 2, Duplicated: 1}, 0},
		"dropped":       {event(1) + event(3), Tally{Received: 2, Lost: 1}, 0},
		"changed":       {string(changed) + event(2), Tally{Received: 1, Lost: 1}, 1},
		"another field": {"colour: red\n\n" + event(1), Tally{Received: 1}, 1},
		"two lines":     {"data: a\ndata: b\n\n" + event(1), Tally{Received: 1}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			addr := rawServer(t, eventHead, func(c net.Conn) { c.Write([]byte(tt.stream)) })
			c := newTestClient(t)
			if d := dialWire(t, c, addr, 3, eventsWire()); d.Opened != 3 {
				t.Fatalf("dialed %+v, failures %v", d, c.Stats(0).Failed)
			}
			want := Tally{}
			for range 3 {
				want.Add(tt.want)
			}
			pollUntil(t, c, func() bool { return c.Stats(0).Broadcast.Received == want.Received })
			if got := c.Stats(0); got.Broadcast != want || got.Corrupt != 3*tt.corrupt {
				t.Errorf("%+v, corrupt %d; want %+v, %d", got.Broadcast, got.Corrupt, want, 3*tt.corrupt)
			}
		})
	}
}

// An event of several lines is one payload with line feeds in it.
func TestEventLines(t *testing.T) {
	c := newTestClient(t)
	c.wire = newWire(Dial{Wire: eventsWire()})
	c.conns = []conn{{state: connOpen, fd: -1}}
	c.oneEvent(0, []byte("data: a\ndata:b\ndata:  c\n\n"))
	if string(c.event) != "a\nb\n c" {
		t.Errorf("%q", c.event)
	}
	c.conns = nil
}

// A stream without a blank line ends the connection before it fills the memory.
func TestEndlessEvent(t *testing.T) {
	addr := rawServer(t, eventHead, func(c net.Conn) {
		line := bytes.Repeat([]byte("data: 3456789\n"), 10_000)
		for range 2 * MaxFrame / len(line) {
			if _, err := c.Write(line); err != nil {
				return
			}
		}
	})
	c := newTestClient(t)
	dialWire(t, c, addr, 1, eventsWire())
	pollUntil(t, c, func() bool { return c.Stats(0).Open == 0 })
	if n := c.Stats(0).Ended[errTooLong.Error()]; n != 1 {
		t.Errorf("ended: %v", c.Stats(0).Ended)
	}
}

// What a client sends belongs to WebSocket.
func TestEventsExcludeSending(t *testing.T) {
	c := newTestClient(t)
	for _, w := range []Wire{{Events: true, Deflate: true}, {Events: true, Subprotocol: "p"}, {Events: true, OnOpen: []string{"x"}}, {Events: true, Answers: []Answer{{"a", "b"}}}} {
		if err := c.Dial(Dial{Targets: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")}, Count: 1, Window: 1, Wire: w}); err == nil {
			t.Errorf("taken: %+v", w)
		}
	}
	dialWire(t, c, rawServer(t, eventHead, nil), 1, eventsWire())
	if err := c.Echo(Echo{Size: 128, Duration: int64(time.Millisecond)}); err == nil {
		t.Error("echoes on an event stream")
	}
}
