package gateway

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"belfry/session"
	"belfry/webhook"
)

// The events of a session come one after the other, in order, and so do the answers;
// the limits of calls hold.
func TestOrderAndLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{answer: func(c *webhook.Call) (*webhook.Answer, error) {
			time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
			return ok("text/plain", string(c.Body))
		}}
		n := newNode()
		g := start(t, n, Options{InFlight: 7, Routes: []Route{
			{Backend: b, Match: Match{Field: "to", Value: "one"}, InFlight: 5},
			{Backend: b, Events: []Kind{Connect, Message, Disconnect}, InFlight: 4},
		}})
		const sessions, messages = 40, 15
		for s := range sessions {
			g.Opened(client(g, fmt.Sprint("s", s)))
		}
		for m := range messages {
			for s := range sessions {
				to := []string{"one", "two"}[rand.IntN(2)]
				g.Received(client(g, fmt.Sprint("s", s)), text(fmt.Sprintf(`{"n":%d,"to":"%s"}`, m, to)))
			}
		}
		for s := range sessions {
			g.Closed(client(g, fmt.Sprint("s", s)), session.ReasonClient, time.Minute)
		}
		if dropped := g.Shutdown(context.Background()); dropped != 0 {
			t.Errorf("%d dropped", dropped)
		}
		if b.twice || b.most != 7 {
			t.Errorf("two calls of a session at once: %v; %d calls at once, want 7", b.twice, b.most)
		}
		bySession := map[string][]string{}
		for _, c := range b.got() {
			sid := c.Extensions[0].Value
			what := c.Type
			if c.Type == "belfry.message" {
				what = string(c.Body[:strings.IndexByte(string(c.Body), ',')])
			}
			bySession[sid] = append(bySession[sid], what)
		}
		want := []string{"belfry.session.opened"}
		for m := range messages {
			want = append(want, fmt.Sprintf(`{"n":%d`, m))
		}
		want = append(want, "belfry.session.closed")
		for s := range sessions {
			sid := fmt.Sprint("s", s)
			if !slices.Equal(bySession[sid], want) {
				t.Fatalf("calls of %s: %q", sid, bySession[sid])
			}
			at := 0
			for _, done := range n.of(sid) {
				if strings.HasPrefix(done, `text {"n"`) {
					if !strings.HasPrefix(done, fmt.Sprintf(`text {"n":%d,`, at)) {
						t.Fatalf("answers of %s: %q", sid, n.of(sid))
					}
					at++
				}
			}
			if at != messages {
				t.Fatalf("%d answers of %s", at, sid)
			}
		}
	})
}

// Nothing is left of a session without events.
func TestIdleSessionsHaveNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		g := start(t, newNode(), Options{Routes: []Route{{Backend: b, Events: []Kind{Connect, Message}}}})
		defer stop(g)
		for s := range 1000 {
			g.Opened(client(g, fmt.Sprint("s", s)))
			g.Received(client(g, fmt.Sprint("s", s)), text("x"))
		}
		synctest.Wait()
		if s := g.Stats(); s.Queues != 0 || s.Bytes != 0 || s.Routes[0].InFlight != 0 || s.Routes[0].Bytes != 0 || len(b.got()) != 2000 {
			t.Errorf("%+v after %d calls", s, len(b.got()))
		}
	})
}

func TestFirstRouteThatMatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := []string{"orders", "guests", "prices", "field", "any", "last"}
		matches := []Match{{Event: "orders.*"}, {UID: "guest-*"}, {Topic: "prices.*"}, {Field: "kind", Value: "a*"}, {Field: "kind"}, {}}
		backends := map[string]*backend{}
		var routes []Route
		for i, name := range names {
			backends[name] = &backend{}
			routes = append(routes, Route{Name: name, Backend: backends[name], Match: matches[i]})
		}
		routes[5].Events = []Kind{Connect}
		g := start(t, newNode(), Options{Routes: routes})
		defer stop(g)
		for _, tc := range []struct {
			want    string
			uid     string
			inbound session.Inbound
		}{
			{"orders", "u", session.Inbound{Event: "orders.create"}},
			{"orders", "guest-1", session.Inbound{Event: "orders."}},
			{"guests", "guest-1", session.Inbound{Event: "order"}},
			{"prices", "guest", session.Inbound{Topic: "prices.eur"}},
			{"", "u", session.Inbound{Topic: "prices"}},
			{"field", "u", session.Inbound{Payload: []byte(`{"x":{"kind":"b"},"kind":"abc"}`)}},
			{"field", "", session.Inbound{Payload: []byte(`{"kind":"a"}trailing`)}},
			{"any", "u", session.Inbound{Payload: []byte(` {"kind":"b"}`)}},
			{"", "u", session.Inbound{Payload: []byte(`{"kind":7}`)}},
			{"", "u", session.Inbound{Payload: []byte(`["kind","a"]`)}},
			{"", "u", session.Inbound{Payload: []byte(`{"kind`)}},
			{"", "", session.Inbound{Payload: []byte("\xff\x00")}},
		} {
			c := client(g, "s")
			c.UID = tc.uid
			g.Received(c, &tc.inbound)
			synctest.Wait()
			for name, b := range backends {
				if got := len(b.got()); got > 0 != (name == tc.want) {
					t.Errorf("%+v of %q: %d calls of %s; want %q", tc.inbound, tc.uid, got, name, tc.want)
				}
				b.mu.Lock()
				b.calls = nil
				b.mu.Unlock()
			}
		}
		if s := g.Stats(); s.Unmatched != 5 {
			t.Errorf("%d without a route", s.Unmatched)
		}
		g.Opened(client(g, "s"))
		synctest.Wait()
		if len(backends["last"].got()) != 1 {
			t.Error("no connect")
		}
	})
}

func TestRoutesRefused(t *testing.T) {
	b := &backend{}
	for want, r := range map[string]Route{
		"route 1: name: empty":                                  {Backend: b, Events: []Kind{Message}},
		"route r: url":                                          {Name: "r", Events: []Kind{Message}},
		"route r: events: none":                                 {Name: "r", Backend: b},
		"route r: delivery":                                     {Name: "r", Backend: b, Events: []Kind{Message}, AtLeastOnce: true},
		"route r: match.value: needs match.field":               {Name: "r", Backend: b, Events: []Kind{Message}, Match: Match{Value: "x"}},
		"route r: match.uid: a * is allowed only at the end":    {Name: "r", Backend: b, Events: []Kind{Message}, Match: Match{UID: "*x"}},
		`route r: match.topic: "a*"; allowed are a topic`:       {Name: "r", Backend: b, Events: []Kind{Message}, Match: Match{Topic: "a*"}},
		`route r: match.topic: "a b"`:                           {Name: "r", Backend: b, Events: []Kind{Message}, Match: Match{Topic: "a b"}},
		"route r: events: connect never matches match.event":    {Name: "r", Backend: b, Events: []Kind{Connect}, Match: Match{Event: "x"}},
		"route r: events: disconnect never matches match.topic": {Name: "r", Backend: b, Events: []Kind{Message, Disconnect}, Match: Match{Topic: "x"}},
		`route r: headers: "a b" is not the name of a header`:   {Name: "r", Backend: b, Events: []Kind{Message}, Headers: []string{"a b"}},
		`route r: cookies: "" is not the name of a cookie`:      {Name: "r", Backend: b, Events: []Kind{Message}, Cookies: []string{""}},
		"InFlight is 65537; allowed are 1 to 65536 (route r)":   {Name: "r", Backend: b, Events: []Kind{Message}, InFlight: 65537},
	} {
		if _, err := New(Options{Routes: []Route{r}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	r := Route{Name: "r", Backend: b, Events: []Kind{Message}}
	if _, err := New(Options{Routes: []Route{r, r}}); err == nil || !strings.Contains(err.Error(), "route r: name") {
		t.Errorf("same name: %v", err)
	}
	if _, err := New(Options{Routes: make([]Route, 65)}); err == nil {
		t.Error("65 routes")
	}
	for _, name := range []string{"drop", "close", "text"} {
		if _, err := ParseOnError(name); err != nil {
			t.Error(err)
		}
	}
	for k := range kinds {
		if got, err := ParseKind(k.String()); got != k || err != nil {
			t.Error(k, got, err)
		}
	}
}

// A session that sends faster than its backend takes is paused, and resumed when
// half of its messages are done.
func TestPauseAndResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{answer: func(*webhook.Call) (*webhook.Answer, error) {
			time.Sleep(slow)
			return &webhook.Answer{Status: 204}, nil
		}}
		n := newNode()
		g := start(t, n, Options{SessionQueue: 4, SessionBytes: 1 << 20, Routes: []Route{{Backend: b}}})
		defer stop(g)
		var paused []bool
		for range 4 {
			paused = append(paused, g.Received(client(g, "s"), text("x")))
		}
		if !slices.Equal(paused, []bool{false, false, false, true}) {
			t.Errorf("paused %v", paused)
		}
		time.Sleep(slow + slow/2) // three wait
		if got := n.of("s"); len(got) != 0 {
			t.Errorf("resumed with three messages: %q", got)
		}
		time.Sleep(slow) // two wait
		if got := n.of("s"); !slices.Equal(got, []string{"resume"}) {
			t.Errorf("with two messages: %q", got)
		}
		time.Sleep(3 * slow)
		if got := n.of("s"); !slices.Equal(got, []string{"resume"}) {
			t.Errorf("without messages: %q", got)
		}
		// By bytes.
		g.opt.SessionBytes = 10 << 10
		if g.Received(client(g, "s"), text("x")) || !g.Received(client(g, "s"), text(strings.Repeat("x", 9<<10))) {
			t.Error("not paused by the second message, or by the first")
		}
		time.Sleep(3 * slow)
		if got := n.of("s"); len(got) != 2 {
			t.Errorf("by bytes: %q", got)
		}
		if s := g.Stats(); s.Paused != 2 || s.OverQueue != 1 || s.OverBytes != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// From half of the queue of a route on, each session that sends is paused; beyond it
// messages are refused, and nothing is lost without a word.
func TestQueueOfARoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{answer: func(*webhook.Call) (*webhook.Answer, error) {
			time.Sleep(slow)
			return &webhook.Answer{Status: 204}, nil
		}}
		n := newNode()
		g := start(t, n, Options{Routes: []Route{{Backend: b, InFlight: 1, Queue: 8}}})
		defer stop(g)
		pausedAt := -1
		for s := range 20 {
			synctest.Wait() // the router has seen the message before
			if g.Received(client(g, fmt.Sprint("s", s)), rpc("1", "x")) && pausedAt < 0 {
				pausedAt = s
			}
		}
		if pausedAt != 6 { // one in flight, five wait
			t.Errorf("paused from message %d on", pausedAt)
		}
		time.Sleep(20 * slow)
		acks, errs, resumes := 0, 0, 0
		for s := range 20 {
			for _, done := range n.of(fmt.Sprint("s", s)) {
				switch {
				case done == "ack 1":
					acks++
				case strings.HasPrefix(done, "err 1 unavailable"):
					errs++
				case done == "resume":
					resumes++
				}
			}
		}
		if acks != 9 || errs != 11 || resumes != 14 {
			t.Errorf("%d acks, %d errors, %d resumed", acks, errs, resumes)
		}
		if s := g.Stats(); s.Routes[0].Refused["queue"] != 11 || g.congested.Load() != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// Beyond QueueBytes messages are refused, and beyond all of it other events dropped.
func TestNodeBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{answer: func(*webhook.Call) (*webhook.Answer, error) {
			time.Sleep(slow)
			return &webhook.Answer{Status: 204}, nil
		}}
		n := newNode()
		g := start(t, n, Options{QueueBytes: 1 << 20, SessionBytes: 1 << 20, Routes: []Route{{Backend: b, Events: []Kind{Message, Disconnect}, InFlight: 1}}})
		defer stop(g)
		large := strings.Repeat("x", 255<<10)
		var paused []bool
		for s := range 4 {
			paused = append(paused, g.Received(client(g, fmt.Sprint("s", s)), rpc("1", large)))
		}
		if !slices.Equal(paused, []bool{false, false, true, true}) {
			t.Errorf("paused %v", paused)
		}
		dropped := 0
		for s := range 400 {
			g.Closed(client(g, fmt.Sprint("s", s)), session.ReasonGone, 0)
			dropped = int(g.Stats().Routes[0].Dropped[[2]string{"disconnect", "bytes"}])
		}
		if dropped < 100 || dropped > 200 {
			t.Errorf("%d dropped", dropped)
		}
		time.Sleep(400 * slow)
		if got := n.of("s3"); len(got) < 1 || !strings.HasPrefix(got[0], "err 1 unavailable: too many") {
			t.Errorf("the message beyond the limit: %q", got)
		}
		if s := g.Stats(); s.Bytes != 0 || s.NodeBytes != uint64(dropped)+1 {
			t.Errorf("%+v", s)
		}
	})
}

// Events beyond the queue of a route are dropped and counted, and the gateway is
// degraded for a while.
func TestDroppedDisconnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{answer: func(*webhook.Call) (*webhook.Answer, error) {
			time.Sleep(slow)
			return &webhook.Answer{Status: 204}, nil
		}}
		g := start(t, newNode(), Options{Routes: []Route{{Name: "r", Backend: b, Events: []Kind{Disconnect}, InFlight: 2, Queue: 10}}})
		defer stop(g)
		for s := range 15 {
			g.Closed(client(g, fmt.Sprint("s", s)), session.ReasonGone, 0)
		}
		want := map[[2]string]uint64{{"disconnect", "queue"}: 5}
		if got := g.Stats().Routes[0].Dropped; !reflect.DeepEqual(got, want) {
			t.Errorf("dropped %v", got)
		}
		if got := g.Degraded(); !slices.Equal(got, []string{"gateway: route r has dropped events"}) {
			t.Errorf("degraded %q", got)
		}
		time.Sleep(2 * time.Minute)
		if got := g.Degraded(); len(got) != 0 || len(b.got()) != 10 {
			t.Errorf("later: degraded %q, %d calls", got, len(b.got()))
		}
	})
}

// One client's subscriptions do not fill the queue of a route.
func TestOneSessionsEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{answer: func(*webhook.Call) (*webhook.Answer, error) {
			time.Sleep(slow)
			return &webhook.Answer{Status: 204}, nil
		}}
		g := start(t, newNode(), Options{SessionQueue: 5, Routes: []Route{{Backend: b, Events: []Kind{Subscribe, Unsubscribe, Disconnect}}}})
		defer stop(g)
		c := client(g, "s")
		for i := range 10 {
			g.Subscribed(c, fmt.Sprint("t", i))
			g.Unsubscribed(c, fmt.Sprint("t", i))
		}
		g.Closed(c, session.ReasonClient, 0)
		time.Sleep(20 * slow)
		calls := b.got()
		if len(calls) != 6 || calls[5].Type != "belfry.session.closed" || string(calls[1].Body) != `{"sid":"s","uid":"u-s","topic":"t0","address":"192.0.2.1:4711","encoding":"v1"}` {
			t.Errorf("%d calls, the second %s", len(calls), calls[1].Body)
		}
		if got := g.Stats().Routes[0].Dropped[[2]string{"subscribe", "session"}]; got != 7 {
			t.Errorf("%d dropped", got)
		}
	})
}

// A route with at_least_once tries until the backend takes the event, in order and
// with the same id; a client that waits for an answer gets an error.
func TestAtLeastOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := 12
		b := &backend{answer: func(c *webhook.Call) (*webhook.Answer, error) {
			if fails--; fails >= 0 {
				return nil, webhook.ErrOpen
			}
			return ok("text/plain", string(c.Body))
		}}
		n := newNode()
		g := start(t, n, Options{RetryMax: time.Minute, Routes: []Route{{Backend: b, Idempotent: true, AtLeastOnce: true}}})
		defer stop(g)
		began := time.Now()
		g.Received(client(g, "s"), text("one"))
		g.Received(client(g, "s"), text("two"))
		for len(n.of("s")) < 2 && time.Since(began) < time.Hour {
			time.Sleep(time.Second)
			synctest.Wait()
		}
		if got := n.of("s"); !slices.Equal(got, []string{"text one", "text two"}) {
			t.Fatalf("%q", got)
		}
		took := time.Since(began)
		if took < 2*time.Minute || took > 5*time.Minute { // 0.1 s, doubled up to 1 min
			t.Errorf("took %v", took)
		}
		calls := b.got()
		for _, c := range calls[:13] {
			if c.ID != calls[0].ID || string(c.Body) != "one" || !c.Idempotent {
				t.Fatalf("call %s %s", c.ID, c.Body)
			}
		}
		if calls[13].ID == calls[0].ID {
			t.Error("two events with one id")
		}
		fails = 1
		g.Received(client(g, "s"), rpc("7", "three"))
		synctest.Wait()
		if got := n.of("s")[2:]; len(got) != 1 || !strings.HasPrefix(got[0], "err 7 unavailable") {
			t.Errorf("rpc: %q", got)
		}
	})
}

// At a shutdown what waits is sent for a while; the rest is dropped and counted, and
// clients that wait get an error.
func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{answer: func(*webhook.Call) (*webhook.Answer, error) {
			time.Sleep(slow)
			return &webhook.Answer{Status: 204}, nil
		}}
		n := newNode()
		open := &backend{answer: func(*webhook.Call) (*webhook.Answer, error) { return nil, webhook.ErrOpen }}
		g := start(t, n, Options{Routes: []Route{
			{Backend: b, Events: []Kind{Message, Disconnect}, InFlight: 1},
			{Backend: open, Events: []Kind{Connect}, Idempotent: true, AtLeastOnce: true},
		}})
		for s := range 10 {
			g.Closed(client(g, fmt.Sprint("s", s)), session.ReasonShutdown, 0)
		}
		g.Received(client(g, "r"), rpc("1", "x"))
		g.Opened(client(g, "o"))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), 3*slow+slow/2)
		defer cancel()
		dropped := g.Shutdown(ctx)
		s := g.Stats()
		if dropped != 8 || s.Routes[0].Dropped[[2]string{"disconnect", "shutdown"}] != 7 || s.Routes[1].Dropped[[2]string{"connect", "shutdown"}] != 1 {
			t.Errorf("%d dropped: %+v", dropped, s.Routes)
		}
		if got := n.of("r"); len(got) != 1 || !strings.HasPrefix(got[0], "err 1 unavailable") {
			t.Errorf("rpc: %q", got)
		}
		time.Sleep(slow) // the call that was given up ends
		g.Opened(client(g, "late"))
		if s := g.Stats(); s.Queues != 0 || s.Bytes != 0 {
			t.Errorf("afterwards: %+v", s)
		}
	})
}
