package session

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"belfry/message"
	"belfry/wire"
	"belfry/ws"
)

// recorder is an Events that writes down what it is told.
type recorder struct {
	match    func(r *ws.Request) (Route, []byte) // nil: route 1 for everybody, nothing kept
	received func(c *Client, m *Inbound) bool    // nil: no pause

	mu     sync.Mutex // guards what follows
	panics string     // the method that panics
	log    []string
	last   *Client
	open   map[string]bool // by session id
	wrong  []string
	closed map[string]int // by reason
}

func (e *recorder) Match(r *ws.Request, encoding string) (Route, []byte) {
	if e.match != nil {
		return e.match(r)
	}
	return 1, nil
}

func (e *recorder) add(c *Client, format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	what := fmt.Sprintf(format, args...)
	e.log, e.last = append(e.log, what), c
	if e.open == nil {
		e.open, e.closed = map[string]bool{}, map[string]int{}
	}
	if is := e.open[c.SID]; is == strings.HasPrefix(what, "opened") || c.SID == "" {
		e.wrong = append(e.wrong, fmt.Sprintf("%q, and the session %q is open: %v", what, c.SID, is))
	}
	switch method, rest, _ := strings.Cut(what, " "); method {
	case "opened":
		e.open[c.SID] = true
	case "closed":
		delete(e.open, c.SID)
		e.closed[rest]++
	}
}

func (e *recorder) fault(method string) {
	e.mu.Lock()
	panics := e.panics == method
	e.mu.Unlock()
	if panics {
		panic("a fault in " + method)
	}
}

func (e *recorder) Opened(c *Client) {
	e.add(c, "opened")
	e.fault("Opened")
}

func (e *recorder) Received(c *Client, m *Inbound) bool {
	e.add(c, "received %s", m.Payload)
	e.fault("Received")
	return e.received != nil && e.received(c, m)
}

func (e *recorder) Subscribed(c *Client, topic string) {
	e.add(c, "subscribed %s", topic)
	e.fault("Subscribed")
}

func (e *recorder) Unsubscribed(c *Client, topic string) {
	e.add(c, "unsubscribed %s", topic)
	e.fault("Unsubscribed")
}

func (e *recorder) Closed(c *Client, r Reason, lasted time.Duration) {
	e.add(c, "closed %s", r)
	if lasted < 0 || lasted > time.Minute {
		e.mu.Lock()
		e.wrong = append(e.wrong, fmt.Sprintf("a session of %v", lasted))
		e.mu.Unlock()
	}
	e.fault("Closed")
}

// told returns what was written down so far.
func (e *recorder) told() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.log)
}

// awaits waits until exactly this was told.
func (e *recorder) awaits(t *testing.T, want ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%q", want), func() bool { return len(e.told()) >= len(want) })
	if got := e.told(); !slices.Equal(got, want) {
		t.Fatalf("got %q; want %q", got, want)
	}
}

// client returns the Client that was told last.
func (e *recorder) client() *Client {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.last
}

// check fails if something came out of order, and unless every session is closed.
func (e *recorder) check(t *testing.T) {
	t.Helper()
	eventually(t, "all closed", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return len(e.open) == 0
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, wrong := range e.wrong {
		t.Error(wrong)
	}
}

func TestEventsOfASession(t *testing.T) {
	e := &recorder{match: func(r *ws.Request) (Route, []byte) { return 7, append([]byte(nil), r.Header("Cookie")...) }}
	r := newRig(t, Options{Events: e})
	d := websocket.Dialer{Subprotocols: []string{"belfry.v1"}}
	cookie := "a=" + strings.Repeat("b", 1000)
	conn, _, err := d.Dial(r.url("/ws?uid=ann&topic=news"), http.Header{"Cookie": {cookie}, "User-Agent": {"probe/1 \xff"}})
	if err != nil {
		t.Fatal(err)
	}
	c := &client{conn, t}
	sid := c.object()["session"].(string)
	c.say(`{"type":"sub","ref":1,"topics":["news","a","b","a"]}`)
	c.say(`{"type":"unsub","ref":2,"topics":["a","z"]}`)
	c.say(`{"type":"send","ref":3,"event":"e","topic":"t","data":"hello"}`)
	c.say(`{"type":"rpc","ref":4,"data":{"n":1}}`)
	for range 2 {
		c.object()
	}
	e.awaits(t, "opened", "subscribed a", "subscribed b", "unsubscribed a", "received hello", `received {"n":1}`)
	got := *e.client()
	want := Client{SID: sid, UID: "ann", Addr: got.Addr, Agent: "probe/1 ?", Encoding: "belfry.v1", Route: 7}
	if string(got.Kept) != cookie || got.Addr.String() != conn.LocalAddr().String() {
		t.Errorf("kept %q of %s", got.Kept, got.Addr)
	}
	if got.Kept = nil; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
	c.Close()
	e.check(t)
	if told := e.told(); told[len(told)-1] != "closed gone" {
		t.Error(told)
	}
}

// What a message says reaches the hook whatever shard the session moved to, and the
// two encodings.
func TestReceived(t *testing.T) {
	var got []Inbound
	e := &recorder{received: func(_ *Client, m *Inbound) bool { got = append(got, *m); return false }}
	r := newRig(t, Options{Events: e, RefuseClient: true, Poller: onePoller()})
	c, plain := r.dial("/ws", "belfry.v1"), r.dial("/ws")
	c.say(`{"type":"send","event":"e","topic":"t","data":"x"}`)
	c.say(`{"type":"rpc","ref":"r","binary":true,"data":"AP8="}`)
	c.say(`{"type":"rpc","ref":1,"data":[1]}`)
	eventually(t, "three", func() bool { return len(e.told()) == 5 })
	plain.say("text")
	if err := plain.WriteMessage(websocket.BinaryMessage, []byte{0, 255}); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("y", 40_000)
	plain.say(long)
	eventually(t, "six", func() bool { return len(e.told()) == 8 })
	want := []Inbound{
		{Event: "e", Topic: "t", Answered: true, Payload: []byte("x")},
		{Ref: `"r"`, RPC: true, Answered: true, Kind: message.Binary, Payload: []byte{0, 255}},
		{Ref: "1", RPC: true, Answered: true, JSON: true, Payload: []byte("[1]")},
		{Payload: []byte("text")},
		{Kind: message.Binary, Payload: []byte{0, 255}},
		{Payload: []byte(long)},
	}
	r.on(0, func(*shard) {
		for i := range want {
			if fmt.Sprint(got[i]) != fmt.Sprint(want[i]) {
				t.Errorf("message %d:\n got %.200v\nwant %.200v", i, got[i], want[i])
			}
		}
	})
	if n := r.Stats().Unwanted; n != 0 {
		t.Errorf("%d messages are unwanted", n)
	}
}

// A session without a route is as it was: commands for a backend are refused, and
// data of a plain client are dropped.
func TestNoRoute(t *testing.T) {
	e := &recorder{match: func(*ws.Request) (Route, []byte) { return 0, []byte("ignored") }}
	r := newRig(t, Options{Events: e})
	c, plain := r.dial("/ws?uid=u", "belfry.v1"), r.dial("/ws?uid=v")
	c.object()
	for _, op := range []string{"send", "rpc"} {
		c.say(`{"type":"` + op + `","ref":1,"data":""}`)
		if m := c.object(); m["code"] != "forbidden" || !strings.Contains(m["message"].(string), "no route") || m["ref"] != 1.0 {
			t.Errorf("%s: %v", op, m)
		}
	}
	c.say(`{"type":"sub","ref":2,"topic":"a"}`)
	c.object()
	plain.say("data")
	eventually(t, "dropped", func() bool { return r.Stats().Unwanted == 1 })
	c.Close()
	plain.Close()
	eventually(t, "no session", func() bool { return r.Stats().Sessions == 0 })
	if got := e.told(); len(got) > 0 {
		t.Errorf("told %q", got)
	}
	if n := r.opt.Poller.Memory.Bytes()["events"]; n != 0 {
		t.Errorf("%d bytes for sessions without a route", n)
	}
}

// A command for a backend is checked whatever its encoding has checked.
func TestForwardChecks(t *testing.T) {
	r := newRig(t, Options{Events: &recorder{}, Poller: onePoller()})
	c := r.dial("/ws", "belfry.v1")
	c.object()
	for _, cmd := range []wire.Command{{Op: wire.OpRPC}, {Op: wire.OpSend, Ref: "1", Topic: "a.>"}} {
		r.on(0, func(h *shard) { h.commands.run(0, h.rec(0), &cmd) })
		if m := c.object(); m["code"] != "bad_request" {
			t.Errorf("%+v: %v", cmd, m)
		}
	}
}

// More than MaxKept is not kept, and counted; a request as long as it may be is.
func TestKeptIsBounded(t *testing.T) {
	for n, want := range map[int]int{MaxKept: MaxKept, MaxKept + 1: 0, 0: 0} {
		e := &recorder{match: func(*ws.Request) (Route, []byte) { return 1, make([]byte, n) }}
		r := newRig(t, Options{Events: e})
		r.dial("/ws")
		e.awaits(t, "opened")
		if got := len(e.client().Kept); got != want {
			t.Errorf("%d bytes: %d are kept, want %d", n, got, want)
		}
		if hits := r.Stats().Limits["kept"]; (hits == 1) != (n > MaxKept) {
			t.Errorf("%d bytes: the limit was hit %d times", n, hits)
		}
	}
}

// A refused upgrade opens nothing and leaves nothing.
func TestRefusedUpgradeIsNoEvent(t *testing.T) {
	e := &recorder{match: func(*ws.Request) (Route, []byte) { return 1, []byte("kept") }}
	r := newRig(t, Options{Events: e, MaxTopics: 1})
	if status := r.refusal("/ws?topic=a&topic=b", nil); status != 403 {
		t.Errorf("status %d", status)
	}
	eventually(t, "no connection", func() bool { return r.loop.Stats().Connections == 0 })
	if got := e.told(); len(got) > 0 {
		t.Errorf("told %q", got)
	}
}

func TestAgents(t *testing.T) {
	var as agents
	a, ok := as.enter("a")
	again, _ := as.enter("a")
	if !ok || a == 0 || a != again || as.name(a) != "a" || as.name(0) != "" {
		t.Fatalf("%d %d %v %q", a, again, ok, as.name(a))
	}
	for i := 1; i < maxAgents; i++ {
		if _, ok := as.enter(fmt.Sprint("agent ", i)); !ok {
			t.Fatalf("no room for agent %d", i)
		}
	}
	if n, ok := as.enter("one more"); ok || n != 0 {
		t.Error("there is room for one more")
	}
	as.leave(a)
	if _, ok := as.enter("one more"); ok {
		t.Error("there is room while a session has the agent")
	}
	as.leave(again)
	if n, ok := as.enter("one more"); !ok || n != a || as.name(n) != "one more" {
		t.Errorf("%d %v after the last session has left", n, ok)
	}
	if n, ok := as.enter(""); n != 0 || !ok {
		t.Error("no agent needs no room")
	}
}

// An agent is cut between two characters.
func TestAgentOf(t *testing.T) {
	for in, want := range map[string]string{
		"":                              "",
		"probe":                         "probe",
		strings.Repeat("a", 200):        strings.Repeat("a", 128),
		strings.Repeat("é", 100):        strings.Repeat("é", 64),
		"a" + strings.Repeat("é", 100):  "a" + strings.Repeat("é", 63),
		"aa" + strings.Repeat("🦉", 100): "aa" + strings.Repeat("🦉", 31),
		"\xc3":                          "?",
	} {
		parser, err := ws.NewParser(ws.ParserOptions{})
		if err != nil {
			t.Fatal(err)
		}
		req, _, refusal := parser.Parse([]byte("GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: " + in + "\r\n\r\n"))
		if refusal != nil {
			t.Fatal(refusal)
		}
		if got := agentOf(req); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// With KeepAgent a session has its agent without a route.
func TestKeepAgent(t *testing.T) {
	r := newRig(t, Options{KeepAgent: true, Poller: onePoller()})
	d := websocket.Dialer{}
	conn, _, err := d.Dial(r.url("/ws"), http.Header{"User-Agent": {"probe/2"}})
	if err != nil {
		t.Fatal(err)
	}
	r.on(0, func(h *shard) {
		if c := h.eventing.client(0); c.Agent != "probe/2" || c.Route != 0 {
			t.Errorf("%+v", c)
		}
	})
	conn.Close()
	eventually(t, "no session", func() bool { return r.loop.Stats().Connections == 0 })
	r.on(0, func(h *shard) {
		if n := h.eventing.all.Len(); n != 0 || h.eventing.agents.byName["probe/2"] != 0 {
			t.Errorf("%d records are left", n)
		}
	})
}
