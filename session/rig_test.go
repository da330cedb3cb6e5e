package session

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
	"golang.org/x/sys/unix"

	"belfry/message"
	"belfry/offheap"
	"belfry/poller"
)

// rig is a server on a port of its own whose clock the test moves.
type rig struct {
	*Server
	t      *testing.T
	faults bool // panics are part of the test
}

// push is what a publisher does that does not wait.
func (s *Server) push(m *message.Message) error { return s.pushWithin(m, message.Wait{}) }

// pushWithin is what a publisher does: prepare, wait for room, then deliver.
func (s *Server) pushWithin(m *message.Message, w message.Wait) error {
	d, err := s.Prepare(m)
	if err != nil {
		return err
	}
	defer d.Leave()
	if _, err := d.Await(context.Background(), w); err != nil {
		return err
	}
	return d.Deliver()
}

func newRig(t *testing.T, o Options) *rig {
	t.Helper()
	if o.Poller.Shards == 0 {
		o.Poller.Shards = 2
	}
	if o.Poller.Listen == nil {
		o.Poller.Listen = []poller.PortRange{{Host: "127.0.0.1"}}
	}
	o.Poller.ManualTicks = true
	o.Poller.Memory = new(offheap.Owners)
	if o.Log == nil {
		o.Log = zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel))
	}
	if o.Authenticator == nil {
		rules, err := message.CompilePatterns([]string{"*"})
		if err != nil {
			t.Fatal(err)
		}
		o.Authenticator = &Open{Unproven: true, Topics: rules}
		o.Subscribe, o.Publishable = []string{"*"}, []string{"*"}
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	r := &rig{Server: s, t: t}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
		if n := s.sessions.Load(); n != 0 {
			t.Errorf("%d sessions counted after the end", n)
		}
		if n, negative := s.perUser.sessions(); n != 0 || negative != 0 {
			t.Errorf("%d sessions counted by user and variant after the end, %d counts below zero", n, negative)
		}
		if n := s.pending.Load(); n != 0 {
			t.Errorf("%d pending upgrades counted after the end", n)
		}
		if n := s.loop.Stats().InboundBytes; n != 0 {
			t.Errorf("%d inbound bytes counted after the end", n)
		}
		for owner, n := range o.Poller.Memory.Bytes() {
			if n != 0 {
				t.Errorf("%d bytes outside the Go heap for %s after the end", n, owner)
			}
		}
		if n := s.waiting.Load(); n != 0 {
			t.Errorf("%d waiting upgrades counted after the end", n)
		}
		if n := s.loop.Stats().Panics; n != 0 && !r.faults {
			t.Errorf("%d panics in shards", n)
		}
	})
	return r
}

// Lookup is Server.Lookup for a server that answers.
func (r *rig) Lookup(sid string) (Info, bool) {
	r.t.Helper()
	info, ok, err := r.Server.Lookup(context.Background(), sid)
	if err != nil {
		r.t.Error(err)
	}
	return info, ok
}

func (r *rig) url(path string) string { return fmt.Sprintf("ws://%s%s", r.Addrs()[0], path) }

// client is a gorilla/websocket client.
type client struct {
	*websocket.Conn
	t *testing.T
}

func (r *rig) dial(path string, subprotocols ...string) *client {
	r.t.Helper()
	d := websocket.Dialer{Subprotocols: subprotocols}
	c, resp, err := d.Dial(r.url(path), nil)
	if err != nil {
		status := ""
		if resp != nil {
			status = resp.Status
		}
		r.t.Fatalf("%s: %v %s", path, err, status)
	}
	r.t.Cleanup(func() { c.Close() })
	return &client{c, r.t}
}

// ReadMessage reads the next message, which has to come soon.
func (c *client) ReadMessage() (kind int, p []byte, err error) {
	c.SetReadDeadline(time.Now().Add(clientTimeout))
	return c.Conn.ReadMessage()
}

// refusal dials and returns the status with which that was refused.
func (r *rig) refusal(path string, h http.Header) int {
	r.t.Helper()
	c, resp, err := websocket.DefaultDialer.Dial(r.url(path), h)
	if err == nil {
		c.Close()
		return 101
	}
	if resp == nil {
		r.t.Fatalf("%s: %v", path, err)
	}
	return resp.StatusCode
}

func (c *client) want(text string) {
	c.t.Helper()
	_, p, err := c.ReadMessage()
	if err != nil || string(p) != text {
		c.t.Fatalf("got %q, %v; want %q", p, err, text)
	}
}

// wantSet reads as many messages as there are texts, in any order.
func (c *client) wantSet(texts ...string) {
	c.t.Helper()
	var got []string
	for range texts {
		_, p, err := c.ReadMessage()
		if err != nil {
			c.t.Fatal(err)
		}
		got = append(got, string(p))
	}
	slices.Sort(got)
	slices.Sort(texts)
	if !slices.Equal(got, texts) {
		c.t.Fatalf("got %q, want %q", got, texts)
	}
}

// wantClose reads up to the close frame.
func (c *client) wantClose(code int) {
	c.t.Helper()
	for {
		_, p, err := c.ReadMessage()
		if err == nil {
			c.t.Logf("before the close: %q", p)
			continue
		}
		if !websocket.IsCloseError(err, code) {
			c.t.Fatalf("got %v, want close code %d", err, code)
		}
		return
	}
}

// object reads one belfry.v1 message.
func (c *client) object() map[string]any {
	c.t.Helper()
	_, p, err := c.ReadMessage()
	if err != nil {
		c.t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(p, &m); err != nil {
		c.t.Fatalf("%v: %s", err, p)
	}
	return m
}

func (c *client) say(text string) {
	c.t.Helper()
	if err := c.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

func (r *rig) deliver(t message.Target, text string) {
	r.t.Helper()
	if err := r.push(&message.Message{ID: "m-" + text, Target: t, Payload: []byte(text)}); err != nil {
		r.t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("never: %s", what)
		case <-time.After(time.Millisecond):
		}
	}
}

// tick moves the clock on and waits until every shard has lived it.
func (r *rig) tick(n int) {
	r.t.Helper()
	before := make([]uint32, len(r.shards))
	look := func(i int) (now uint32) {
		done := make(chan struct{})
		r.shards[i].ps.Post(poller.QueueControl, poller.Mail{Kind: mailCall, Ptr: func(h *shard) { now = h.ps.Now(); close(done) }})
		<-done
		return now
	}
	for i := range r.shards {
		before[i] = look(i)
	}
	r.loop.Tick(n)
	for i := range r.shards {
		eventually(r.t, "tick", func() bool { return look(i) > before[i] })
	}
}

// on runs f on a shard's goroutine, between two turns of its work, and waits.
func (r *rig) on(i int, f func(h *shard)) {
	r.t.Helper()
	done := make(chan struct{})
	look := func(h *shard) { defer close(done); f(h) }
	for !r.shards[i].ps.Post(poller.QueueSingle, poller.Mail{Kind: mailCall, Ptr: look}) {
		runtime.Gosched()
	}
	<-done
}

// block keeps a shard from doing anything until release is called.
func (r *rig) block(i int) (release func()) {
	r.t.Helper()
	begun, end := make(chan struct{}), make(chan struct{})
	look := func(*shard) { close(begun); <-end }
	if !r.shards[i].ps.Post(poller.QueueControl, poller.Mail{Kind: mailCall, Ptr: look}) {
		r.t.Fatal("control queue is full")
	}
	<-begun
	release = sync.OnceFunc(func() { close(end) })
	r.t.Cleanup(release)
	return release
}

// each runs f on every shard in turn.
func (r *rig) each(f func(h *shard)) {
	r.t.Helper()
	for i := range r.shards {
		r.on(i, f)
	}
}

// adopt gives shard 0 one end of a pair of sockets, on which no request has
// come yet, and returns the other end and the slot.
func (r *rig) adopt(socketType int) (peer int, slot uint32) {
	r.t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, socketType|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.loop.Adopt(0, poller.Socket{FD: pair[0]}); err != nil {
		r.t.Fatal(err)
	}
	eventually(r.t, "socket adopted", func() (found bool) {
		r.on(0, func(h *shard) {
			for s, ok := h.ps.Next(0); ok; s, ok = h.ps.Next(s + 1) {
				if h.ps.FD(s) == pair[0] {
					slot, found = s, true
					h.halfOpen.leave(h.rec(s)) // no request is awaited
				}
			}
		})
		return found
	})
	return pair[1], slot
}

// onePoller are options of a reactor with one shard.
func onePoller() poller.Options { return poller.Options{Shards: 1} }

// pollers are options of a reactor with n shards.
func pollers(n int) poller.Options { return poller.Options{Shards: n} }
