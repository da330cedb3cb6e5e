package session

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"belfry/message"
	"belfry/poller"
	"belfry/wire"
	"belfry/wire/plain"
	"belfry/wire/sse"
	"belfry/wire/v1"
	"belfry/ws"
)

// sseRig is a rig that serves WebSocket at /ws and event streams at /sse.
func sseRig(t *testing.T, o Options) *rig {
	t.Helper()
	o.Endpoints = []wire.Endpoint{defaultEndpoint(), sse.New(sse.Options{Encodings: []wire.Encoding{plain.Encoding{}, v1.Encoding{}}})}
	return newRig(t, o)
}

// stream is a client of an event stream.
type stream struct {
	*rawConn
	t    *testing.T
	resp *http.Response
	body *bufio.Reader
}

// ask sends a request and reads the head of the answer. fields are more header
// fields, each ended by CRLF.
func (r *rig) ask(w *rawConn, method, target, fields string) *stream {
	r.t.Helper()
	r.t.Cleanup(func() { w.Close() })
	fmt.Fprintf(w, "%s %s HTTP/1.1\r\nHost: push.example\r\nAccept: text/event-stream\r\n%s\r\n", method, target, fields)
	return r.answered(w, method)
}

// answered reads the head of an answer.
func (r *rig) answered(w *rawConn, method string) *stream {
	r.t.Helper()
	w.SetReadDeadline(time.Now().Add(clientTimeout))
	resp, err := http.ReadResponse(w.br, &http.Request{Method: method})
	if err != nil {
		r.t.Fatal(err)
	}
	return &stream{w, r.t, resp, bufio.NewReader(resp.Body)}
}

// answerTo is ask over a connection of its own.
func (r *rig) answerTo(method, target, fields string) *stream {
	r.t.Helper()
	w, err := r.connect()
	if err != nil {
		r.t.Fatal(err)
	}
	return r.ask(w, method, target, fields)
}

// stream opens an event stream and reads the wait before a reconnect.
func (r *rig) stream(target string) *stream {
	r.t.Helper()
	s := r.answerTo("GET", target, "")
	s.accepted()
	return s
}

func (s *stream) accepted() {
	s.t.Helper()
	if s.resp.StatusCode != 200 || s.resp.Header.Get("Content-Type") != "text/event-stream" {
		s.t.Fatalf("%s, %v", s.resp.Status, s.resp.Header)
	}
	s.want("retry: 3000\n")
}

// slowStream is stream with a small receive buffer, so that not reading shows soon.
func (r *rig) slowStream(target string) *stream {
	r.t.Helper()
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<10) })
	}}
	c, err := d.Dial("tcp", r.Addrs()[0].String())
	if err != nil {
		r.t.Fatal(err)
	}
	s := r.ask(&rawConn{c.(*net.TCPConn), bufio.NewReader(c)}, "GET", target, "")
	s.accepted()
	return s
}

// block reads up to an empty line, and returns the lines before it.
func (s *stream) block() (lines string, err error) {
	s.SetReadDeadline(time.Now().Add(clientTimeout))
	for {
		line, err := s.body.ReadString('\n')
		if err != nil || line == "\n" {
			return lines + strings.TrimSuffix(line, "\n"), err
		}
		lines += line
	}
}

func (s *stream) want(lines string) {
	s.t.Helper()
	if got, err := s.block(); err != nil || got != lines {
		s.t.Fatalf("got %q, %v; want %q", got, err, lines)
	}
}

// rest reads to the end of the stream, which must come without an error.
func (s *stream) rest() string {
	s.t.Helper()
	s.SetReadDeadline(time.Now().Add(clientTimeout))
	p, err := io.ReadAll(s.body)
	if err != nil {
		s.t.Fatalf("%v after %q", err, p)
	}
	return string(p)
}

func TestSSEEvents(t *testing.T) {
	r := sseRig(t, Options{})
	s := r.stream("/sse?topic=news&topic=sport&uid=ann")
	other := r.dial("/ws?topic=news")
	r.deliver(message.ToTopics("news"), "one\ntwo")
	s.want("event: news\ndata: one\ndata: two\n") // an id with a line end is left out
	r.deliver(message.ToUsers("ann"), "you")
	s.want("id: m-you\ndata: you\n")
	r.deliver(message.ToAll(), "all")
	s.want("id: m-all\ndata: all\n")
	r.deliver(message.ToTopics("sport", "news"), "several") // once, as at the WebSocket
	s.want("id: m-several\ndata: several\n")
	if err := r.push(&message.Message{ID: "b", Target: message.ToTopics("sport"), Kind: message.Binary, Payload: []byte{0, 0xff}}); err != nil {
		t.Fatal(err)
	}
	s.want("id: b\nevent: sport;base64\ndata: AP8=\n")
	other.wantSet("one\ntwo", "all", "several")

	r.fanoutDone() // a session gets what its shard reads after its upgrade, also what was published before
	said := r.stream("/sse?encoding=belfry.v1&uid=bob&topic=news")
	hello, err := said.block()
	if err != nil || !strings.HasPrefix(hello, `data: {"type":"hello","session":"`) {
		t.Fatalf("%q, %v", hello, err)
	}
	r.deliver(message.ToTopics("news"), "x")
	said.want("id: m-x\ndata: {\"type\":\"msg\",\"id\":\"m-x\",\"topic\":\"news\",\"data\":\"x\"}\n")
	if n := r.Stats().Protocols; n[[2]string{"sse", "plain"}] != 1 || n[[2]string{"sse", "belfry.v1"}] != 1 || n[[2]string{"websocket", "plain"}] != 1 {
		t.Errorf("sessions: %v", n)
	}
	s.want("id: m-x\nevent: news\ndata: x\n")
	s.Close()
	eventually(t, "gone", func() bool { return r.Stats().Closed["gone"] == 1 })
	if n := r.Stats().Protocols; n[[2]string{"sse", "plain"}] != 0 {
		t.Errorf("sessions: %v", n)
	}
}

// What a client sends behind its request is discarded, and has its price.
func TestSSEInput(t *testing.T) {
	r := sseRig(t, Options{Poller: onePoller(), Limits: ws.Limits{MaxMessage: 1000}, Rates: Rates{Bytes: 1000, Grace: 2 * time.Second}})
	quiet := r.stream("/sse")
	s := r.answerTo("GET", "/sse", "\r\nGET /sse HTTP/1.1\r\n") // another request at once
	s.accepted()
	io.WriteString(s, strings.Repeat("x", 100))
	r.deliver(message.ToAll(), "still")
	s.want("id: m-still\ndata: still\n")
	go func() {
		for {
			if _, err := s.Write(make([]byte, 1<<10)); err != nil {
				return
			}
		}
	}()
	eventually(t, "slowed down", func() bool { return r.Stats().Limits["session.byte_rate"] > 0 })
	eventually(t, "closed", func() bool { r.tick(1); return r.Stats().Closed["rate_limit"] == 1 })
	if got := s.rest(); !strings.HasPrefix(got, ": 1008 more than 1000 bytes a second\nretry: 3600000\n") {
		t.Errorf("%q", got)
	}
	r.deliver(message.ToAll(), "other")
	quiet.want("id: m-still\ndata: still\n")
	quiet.want("id: m-other\ndata: other\n")
}

// A client cannot answer: comments keep its connection alive when nothing else
// is sent, and that nothing comes from it says nothing.
func TestSSEHeartbeat(t *testing.T) {
	r := sseRig(t, Options{Poller: onePoller(), PingInterval: 8 * time.Second, PongTimeout: 3 * time.Second, IdleRead: 10 * time.Second, IdleWrite: 20 * time.Second})
	s := r.stream("/sse")
	for range 7 { // pushes take the place of comments
		for range 6 {
			r.tick(1)
		}
		r.deliver(message.ToAll(), "x")
		s.want("id: m-x\ndata: x\n")
	}
	if n := r.Stats().PingsOut; n != 0 {
		t.Errorf("%d pings beside pushes", n)
	}
	for range 40 {
		r.tick(1)
	}
	if st := r.Stats(); st.PingsOut != 5 || st.Sessions != 1 {
		t.Errorf("%d pings, %d sessions, ended: %v", st.PingsOut, st.Sessions, st.Closed)
	}
	r.deliver(message.ToAll(), "end")
	s.want(strings.Repeat(":\n", 5) + "id: m-end\ndata: end\n")
}

// Nothing is sent if there are no pings: then idle_write ends the session, and
// says when to come back.
func TestSSEIdleWrite(t *testing.T) {
	r := sseRig(t, Options{IdleWrite: 3 * time.Second})
	s := r.stream("/sse?encoding=belfry.v1")
	for range 4 {
		r.tick(1)
	}
	if got := s.rest(); !strings.Contains(got, `data: {"type":"bye","code":4002,"reason":"idle_write","reconnect":true,`) || !strings.HasSuffix(got, "\n\n: 4002 nothing sent for too long\n") {
		t.Errorf("%q", got)
	}
}

func TestSSESlowConsumer(t *testing.T) {
	r := sseRig(t, Options{Poller: poller.Options{Shards: 1, Backlog: poller.Bounds{Frames: 64, Bytes: 256 << 10}}})
	slow := r.slowStream("/sse")
	witness := r.stream("/sse")
	for n := 0; r.Stats().Slow == 0; n++ {
		if err := r.push(&message.Message{Target: message.ToAll(), Payload: numbered(n)}); err != nil {
			t.Fatal(err)
		}
		if got, err := witness.block(); err != nil || number(got[len("data: "):]) != n {
			t.Fatalf("message %d: %.20q, %v", n, got, err)
		}
		if n == 3000 {
			t.Fatal("nothing is too slow")
		}
	}
	got := slow.rest()
	events := strings.Split(strings.TrimSuffix(got, ": 4004 too slow to read\n"), "\n\n")
	if !strings.HasSuffix(got, ": 4004 too slow to read\n") || len(events) < 2 || events[len(events)-1] != "" {
		t.Fatalf("%d events, the end is %.200q", len(events), got[max(0, len(got)-200):])
	}
	for n, e := range events[:len(events)-1] {
		if number(e[len("data: "):]) != n || len(e) != 4<<10+len("data: ") {
			t.Fatalf("event %d is %.20q, %d bytes", n, e, len(e))
		}
	}
	slow.Close()
	eventually(t, "counted", func() bool { return r.Stats().Closed["slow_consumer"] == 1 })
}
