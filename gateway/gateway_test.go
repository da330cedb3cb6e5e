package gateway

import (
	"context"
	"fmt"
	"math/rand/v2"
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
		want := []string{"belfry.session.opened"}
		for m := range messages {
			want = append(want, fmt.Sprintf(`{"n":%d`, m))
		}
		want = append(want, "belfry.session.closed")
		calls := callsOf(b)
		for s := range sessions {
			sid := fmt.Sprint("s", s)
			if !slices.Equal(calls[sid], want) {
				t.Fatalf("calls of %s: %q", sid, calls[sid])
			}
			answers := slices.DeleteFunc(n.of(sid), func(done string) bool { return !strings.HasPrefix(done, `text {"n"`) })
			if len(answers) != messages || !slices.IsSortedFunc(answers, func(a, b string) int { return number(a) - number(b) }) {
				t.Fatalf("answers of %s: %q", sid, answers)
			}
		}
	})
}

// callsOf returns the calls for each session: the types of events, and the beginnings
// of messages.
func callsOf(b *backend) map[string][]string {
	calls := map[string][]string{}
	for _, c := range b.got() {
		what := c.Type
		if c.Type == "belfry.message" {
			what, _, _ = strings.Cut(string(c.Body), ",")
		}
		sid := c.Extensions[0].Value
		calls[sid] = append(calls[sid], what)
	}
	return calls
}

// number returns n of an answer `text {"n":7,…`.
func number(answer string) (n int) {
	_, _ = fmt.Sscanf(answer, `text {"n":%d,`, &n)
	return n
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
			{"", "", session.Inbound{Payload: []byte(`{"kind":"a","kind":"b"}`)}}, // a backend might take the last one
			{"", "", session.Inbound{Payload: []byte(`{"kind":"a","x":[],"Kind":"b"}`)}},
			{"", "", session.Inbound{Payload: []byte(`{"kind":"a",`)}},
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
		if s := g.Stats(); s.Unmatched != 8 {
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
