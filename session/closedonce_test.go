package session

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"

	"belfry/wire"
	"belfry/ws"
)

// waysToEnd are the ways in which a session of the tests below ends, by the reasons
// that Closed may be told.
var waysToEnd = map[string]func(r *rig, w *rawConn, sid string){
	"client": func(_ *rig, w *rawConn, _ string) { w.send(gobwas.OpClose, closePayload(1000, "")) },
	"gone":   func(_ *rig, w *rawConn, _ string) { w.Close() },
	"read_error": func(_ *rig, w *rawConn, _ string) {
		w.SetLinger(0)
		w.Close()
	},
	"protocol": func(_ *rig, w *rawConn, _ string) { w.Write([]byte{0x82, 0x01, 'x'}) }, // not masked
	"utf8":     func(_ *rig, w *rawConn, _ string) { w.send(gobwas.OpText, []byte{0xff}) },
	"too_big":  func(_ *rig, w *rawConn, _ string) { w.send(gobwas.OpText, make([]byte, 100<<10)) },
	"backend":  func(r *rig, _ *rawConn, sid string) { r.Close(sid, 1000, "") },
	"expired":  func(r *rig, _ *rawConn, sid string) { r.Expire(context.Background(), sid) },
	"internal": func(_ *rig, w *rawConn, _ string) { w.send(gobwas.OpText, []byte("fault")) },
	"user_sessions": func(r *rig, w *rawConn, _ string) {
		if replacing, err := r.rawConn("/ws?uid=same", ""); err == nil {
			r.t.Cleanup(func() { replacing.Close() })
		}
	},
}

// faultyEvents is a recorder whose Received panics at the text "fault".
func faultyEvents() *recorder {
	return &recorder{received: func(_ *Client, m *Inbound) bool {
		if string(m.Payload) == "fault" {
			panic("a fault in Received")
		}
		return false
	}}
}

// Closed comes once for each Opened, with its reason, whatever ends the session, and
// however it goes on afterwards.
func TestClosedOnce(t *testing.T) {
	for reason, end := range waysToEnd {
		t.Run(reason, func(t *testing.T) {
			e := faultyEvents()
			r := newRig(t, Options{Events: e, MaxPerUser: 1, Poller: onePoller()})
			r.faults = true
			w := r.mustWire("/ws?uid=same", "")
			e.awaits(t, "opened")
			sid := e.client().SID
			end(r, w, sid)
			eventually(t, "closed", func() bool {
				e.mu.Lock()
				defer e.mu.Unlock()
				return !e.open[sid]
			})
			e.mu.Lock()
			if e.closed[reason] != 1 || len(e.closed) != 1 {
				t.Errorf("closed for %v", e.closed)
			}
			e.mu.Unlock()
			w.Close()
			r.close()
			e.check(t)
		})
	}
}

// Many sessions that end in many ways at once, some of them at shutdown: as many are
// closed as were opened, and none twice.
func TestEveryOpenedIsClosed(t *testing.T) {
	e := faultyEvents()
	r := newRig(t, Options{Events: e, MaxPerUser: 2})
	r.faults = true
	var reasons []string
	for reason := range maps.Keys(waysToEnd) {
		reasons = append(reasons, reason)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	const sessions = 300
	for i := range sessions {
		path, protocol := fmt.Sprintf("/ws?topic=t&uid=u%d", rnd.IntN(100)), ""
		if rnd.IntN(2) == 0 {
			path = "/ws"
		}
		if rnd.IntN(2) == 0 {
			protocol = "belfry.v1"
		}
		w, err := r.rawConn(path, protocol)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { w.Close() })
		eventually(t, "opened", func() bool { return e.count("opened") > i })
		waysToEnd[reasons[rnd.IntN(len(reasons))]](r, w, e.client().SID)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if err := r.Shutdown(ctx, 0, 0); err != nil {
		t.Log(err) // nobody answers the close frames
	}
	e.check(t)
	opened, closed := e.count("opened"), e.count("closed ")
	if opened < sessions || opened != closed {
		t.Errorf("%d opened and %d closed", opened, closed)
	}
}

// count returns how many of what was told begins with prefix.
func (e *recorder) count(prefix string) (n int) {
	for _, what := range e.told() {
		if strings.HasPrefix(what, prefix) {
			n++
		}
	}
	return n
}

// A hook that panics costs its own session at most. Closed comes all the same.
func TestHooksThatPanic(t *testing.T) {
	for _, method := range []string{"Opened", "Received", "Subscribed", "Unsubscribed", "Closed"} {
		t.Run(method, func(t *testing.T) {
			e := &recorder{panics: method}
			r := newRig(t, Options{Events: e, Poller: onePoller()})
			r.faults = true
			w := r.mustWire("/ws", "belfry.v1")
			for _, command := range []string{`{"type":"sub","topic":"a"}`, `{"type":"unsub","topic":"a"}`, `{"type":"send"}`} {
				w.send(gobwas.OpText, []byte(command))
			}
			if method == "Closed" {
				w.send(gobwas.OpClose, nil)
				w.end()
				w.Close()
			}
			eventually(t, "the session is over", func() bool { return r.loop.Stats().Connections == 0 })
			e.mu.Lock()
			closed := maps.Clone(e.closed)
			e.mu.Unlock()
			if want := map[bool]string{true: "client", false: "internal"}[method == "Closed"]; closed[want] != 1 || len(closed) != 1 {
				t.Errorf("closed for %v", closed)
			}
			if n := r.loop.Stats().Panics; n != 1 {
				t.Errorf("%d panics", n)
			}
			e.check(t)
			e.mu.Lock()
			e.panics = "" // the shard goes on
			e.mu.Unlock()
			r.dial("/ws", "belfry.v1").object()
		})
	}
}

// A client that logs in is closed as nobody and opened as the user, with what Match
// kept of its request; its messages that await an answer get it before.
func TestLoginIsTold(t *testing.T) {
	e := &recorder{match: func(*ws.Request) (Route, []byte) { return 3, []byte("kept") }}
	r := newRig(t, Options{Events: e, Authenticator: loginAs{"ann"}, Subscribe: []string{"*"}})
	c := r.dial("/ws", "belfry.v1")
	old := c.object()["session"].(string)
	c.say(`{"type":"sub","ref":1,"topic":"a"}`)
	c.object()
	c.say(`{"type":"rpc","ref":2,"data":"x"}`)
	c.say(`{"type":"auth","ref":3,"token":"t"}`)
	e.awaits(t, "opened", "subscribed a", "received x")
	for range 3 {
		r.tick(1)
	}
	if err := r.Reply(old, &wire.Reply{Ref: "2", Data: []byte("answer")}); err != nil {
		t.Fatal(err)
	}
	if m := c.object(); m["ref"] != 2.0 || m["data"] != "answer" {
		t.Errorf("%v; want the answer to the rpc", m)
	}
	hello := c.object()
	for hello["type"] != "hello" {
		hello = c.object()
	}
	e.awaits(t, "opened", "subscribed a", "received x", "closed login", "opened")
	if now := e.client(); now.UID != "ann" || now.Route != 3 || string(now.Kept) != "kept" || now.SID != hello["session"] || now.SID == old || now.Agent == "" {
		t.Errorf("%+v after the hello %v", now, hello)
	}
	c.Close()
	e.check(t)
}

// loginAs admits everybody as nobody, and grants each login a user.
type loginAs struct{ uid string }

func (loginAs) Authenticate(*Attempt, func(Grant, *ws.Refusal)) (Grant, *ws.Refusal, bool) {
	return Grant{}, nil, false
}

func (a loginAs) Login(*Client, []byte, func(Grant, *ws.Refusal)) (Grant, *ws.Refusal, bool) {
	return Grant{UID: a.uid}, nil, false
}

// Events of a connection that its shard loses stand in the order of the calls even if
// everything happens in one turn.
func TestEventsInOneTurn(t *testing.T) {
	e := &recorder{}
	r := newRig(t, Options{Events: e, Poller: onePoller()})
	release := r.block(0)
	w, err := r.connect()
	if err != nil {
		t.Fatal(err)
	}
	w.Write(append(request("/ws", ""), masked(gobwas.OpText, true, []byte("early"))...))
	w.Write(masked(gobwas.OpClose, true, nil))
	release()
	e.awaits(t, "opened", "received early", "closed client")
	w.Close()
	e.check(t)
}
