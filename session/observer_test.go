package session

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"
)

// table is what an Observer makes of what it is told.
type table struct {
	mu     sync.Mutex
	uids   map[string]string          // of the sessions that are open
	topics map[string]map[string]bool // of these
	wrong  []string
	closed map[string]int // by reason
}

func (o *table) observer() Observer {
	return Observer{
		Opened: func(c *Client) {
			o.do(func() {
				if _, open := o.topics[c.SID]; open || c.SID == "" {
					o.wrong = append(o.wrong, "opened twice: "+c.SID)
				}
				o.uids[c.SID], o.topics[c.SID] = c.UID, map[string]bool{}
			})
		},
		Subscribed: func(c *Client, topic string) {
			o.do(func() {
				if topics := o.topics[c.SID]; topics == nil || topics[topic] {
					o.wrong = append(o.wrong, "subscribed twice, or not open: "+topic)
				} else {
					topics[topic] = true
				}
			})
		},
		Unsubscribed: func(c *Client, topic string) {
			o.do(func() {
				if !o.topics[c.SID][topic] {
					o.wrong = append(o.wrong, "not subscribed: "+topic)
				}
				delete(o.topics[c.SID], topic)
			})
		},
		Closed: func(c *Client, r Reason, lasted time.Duration) {
			o.do(func() {
				if _, open := o.topics[c.SID]; !open || lasted < 0 || lasted > time.Hour {
					o.wrong = append(o.wrong, fmt.Sprint("closed and not open, or too long: ", c.SID, lasted))
				}
				delete(o.topics, c.SID)
				delete(o.uids, c.SID)
				o.closed[r.String()]++
			})
		},
	}
}

func (o *table) do(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f()
}

// is compares the table with lines "uid: topics", in order.
func (o *table) is(want string) func() bool {
	return func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		var all []string
		for sid, topics := range o.topics {
			var names []string
			for name := range topics {
				names = append(names, name)
			}
			slices.Sort(names)
			all = append(all, o.uids[sid]+": "+strings.Join(names, " "))
		}
		slices.Sort(all)
		return strings.Join(all, ", ") == want
	}
}

// An Observer has the right table of sessions and subscriptions, whoever makes and ends
// them: the request, commands, the API, a login, the end of the session.
func TestObserver(t *testing.T) {
	o := &table{uids: map[string]string{}, topics: map[string]map[string]bool{}, closed: map[string]int{}}
	r := newRig(t, Options{Observer: o.observer()})
	ann := r.mustWire("/ws?uid=ann&topic=a&topic=b", "belfry.v1")
	eventually(t, "opened", o.is("ann: a b"))
	none := r.mustWire("/ws", "")
	eventually(t, "a session without a user", o.is(": , ann: a b"))
	ann.send(gobwas.OpText, []byte(`{"type":"sub","topics":["b","c"]}`))
	eventually(t, "subscribed", o.is(": , ann: a b c"))
	ann.send(gobwas.OpText, []byte(`{"type":"unsub","topics":["a","x"]}`))
	eventually(t, "unsubscribed", o.is(": , ann: b c"))
	if n, _, err := r.Join(t.Context(), Selection{UID: "ann"}, "api"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	eventually(t, "joined", o.is(": , ann: api b c"))
	if n, err := r.Leave(t.Context(), Selection{UID: "ann"}, "b"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	eventually(t, "left", o.is(": , ann: api c"))
	none.Close()
	eventually(t, "closed", o.is("ann: api c"))
	if n, err := r.End(t.Context(), Selection{UID: "ann"}, 4000, ""); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	eventually(t, "ended", o.is(""))
	o.do(func() {
		if len(o.wrong) > 0 || o.closed["gone"]+o.closed["read_error"] != 1 || o.closed["backend"] != 1 {
			t.Errorf("%q, %v", o.wrong, o.closed)
		}
	})
}

// A panic of an Observer costs no session.
func TestObserverThatPanics(t *testing.T) {
	fault := func(*Client, string) { panic("injected") }
	r := newRig(t, Options{Observer: Observer{Opened: func(*Client) { panic("injected") }, Subscribed: fault, Unsubscribed: fault,
		Closed: func(*Client, Reason, time.Duration) { panic("injected") }}})
	r.faults = true
	w := r.mustWire("/ws?uid=ann&topic=a", "belfry.v1")
	w.send(gobwas.OpText, []byte(`{"type":"unsub","ref":1,"topic":"a"}`))
	eventually(t, "the session goes on", func() bool {
		n, err := r.Subscribers(t.Context(), "a")
		return n == 0 && err == nil
	})
	w.Close()
	eventually(t, "closed", func() bool { return r.Stats().Sessions == 0 })
}
