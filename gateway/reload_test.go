package gateway

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"belfry/session"
	"belfry/webhook"
)

// closable is a backend that says when it is closed.
type closable struct {
	backend
	closed atomic.Bool
}

func (b *closable) Close() { b.closed.Store(true) }

// slowly answers after a time.
func slowly(*webhook.Call) (*webhook.Answer, error) {
	time.Sleep(slow)
	return ok("text/plain", "")
}

// reload puts routes in force.
func reload(t *testing.T, g *Gateway, routes ...Route) {
	t.Helper()
	for i := range routes {
		if routes[i].Events == nil {
			routes[i].Events = []Kind{Message}
		}
	}
	apply, err := g.Prepare(Options{Routes: routes})
	if err != nil {
		t.Fatal(err)
	}
	apply()
}

// A session that is open uses the routes of the reload by its path, with the number that
// it has. What the former route has taken is done there, then its backend is closed.
func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, was, same := newNode(), &closable{backend: backend{answer: slowly}}, &closable{}
		kept := Route{Name: "kept", Backend: same, Match: Match{Event: "kept"}, Events: []Kind{Message}}
		g := start(t, n, Options{Routes: []Route{kept, {Name: "r", Backend: was, InFlight: 1}}})
		defer stop(g)
		a, b := client(g, "a"), client(g, "b")
		keptRoute := g.routes()[0]
		g.Received(a, rpc("1", "old"))
		g.Received(a, rpc("2", "new"))
		g.Received(b, rpc("1", "old"))
		synctest.Wait()

		now, added, elsewhere := &closable{}, &closable{}, &closable{}
		reload(t, g, kept, Route{Name: "elsewhere", Path: "/elsewhere", Backend: elsewhere},
			Route{Name: "added", Backend: added, Match: Match{Event: "added"}}, Route{Name: "r", Backend: now})
		if g.routes()[0] != keptRoute {
			t.Error("a route that has not changed was made again")
		}
		g.Received(b, &session.Inbound{Event: "added", Payload: []byte("to the added route")})
		synctest.Wait()
		if was.closed.Load() {
			t.Error("the backend was closed with events in its queue")
		}
		time.Sleep(2 * slow) // the route has one call in flight
		synctest.Wait()
		for _, x := range []struct {
			b      *closable
			calls  []string
			closed bool
		}{{was, []string{"old", "old"}, true}, {now, []string{"new"}, false}, {added, []string{"to the added route"}, false}, {elsewhere, nil, false}, {same, nil, false}} {
			var got []string
			for _, c := range x.b.got() {
				got = append(got, string(c.Body))
			}
			if !slices.Equal(got, x.calls) || x.b.closed.Load() != x.closed {
				t.Errorf("%v, closed %v; want %v, %v", got, x.b.closed.Load(), x.calls, x.closed)
			}
		}
		if st := g.Stats(); st.Routes[3].Results["empty"] != 3 || len(g.retired) != 0 {
			t.Errorf("%+v, %d retired: the counters of a name go on", st.Routes[3], len(g.retired))
		}

		reload(t, g) // no route is left
		g.Received(a, rpc("9", "nobody"))
		synctest.Wait()
		if got := n.of("a"); !strings.HasPrefix(got[len(got)-1], "err 9 ") || !now.closed.Load() || !same.closed.Load() {
			t.Errorf("%q", got)
		}
	})
}

// An event of at_least_once that fails is tried again by the route that has replaced its
// own. If there is none it is dropped, and counted: it must not hold its session up.
func TestReloadTries(t *testing.T) {
	for _, replaced := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			fails := &closable{backend: backend{answer: func(*webhook.Call) (*webhook.Answer, error) { return status(503, "", "") }}}
			events := []Kind{Connect}
			g := start(t, newNode(), Options{Routes: []Route{{Name: "r", Backend: fails, Events: events, Idempotent: true, AtLeastOnce: true}}})
			defer stop(g)
			g.Opened(client(g, "a"))
			time.Sleep(time.Second)
			old, next, tried := g.routes()[0], &closable{}, len(fails.got())
			if replaced {
				reload(t, g, Route{Name: "r", Backend: next, Events: events, Idempotent: true, AtLeastOnce: true})
			} else {
				reload(t, g)
			}
			time.Sleep(time.Minute)
			if got := len(next.got()) == 1; got != replaced || !fails.closed.Load() || g.Stats().Queues != 0 {
				t.Errorf("replaced %v: the next route was called: %v, %+v", replaced, got, g.Stats())
			}
			if n := old.dropped[Connect][causeFailed].Load(); (n == 0) != replaced || len(fails.got()) > tried+1 {
				t.Errorf("replaced %v: %d dropped, %d more tries", replaced, n, len(fails.got())-tried)
			}
		})
	}
}

// A session that comes from another process gets the routes for its path; from one that
// tells only names, those.
func TestRoutesOfHandover(t *testing.T) {
	b := &backend{}
	routes := []Route{{Name: "any", Backend: b}, {Name: "room", Path: "/a,b", Backend: b}, {Name: "chat", Subprotocol: "chat", Backend: b}}
	g := start(t, newNode(), Options{Routes: routes})
	defer stop(g)
	number := g.sets.of(origin{path: "/a,b", subprotocol: "chat"}).number
	name := g.RouteName(number)
	if name != "any,room,chat,/a,b chat" {
		t.Errorf("%q", name)
	}
	other := start(t, newNode(), Options{Routes: append(routes[:2:2], Route{Name: "added", Path: "/a,b", Backend: b})})
	defer stop(other)
	for name, want := range map[string]string{
		name:           "any,room,added,/a,b chat",
		"any,/ws ":     "any,/ws ",
		"room,removed": "room,removed",
		"removed":      "",
	} {
		number, ok := other.RouteOf(name)
		if ok != (want != "") {
			t.Errorf("%s: %v", name, ok)
		}
		if ok && other.RouteName(number) != want {
			t.Errorf("%s: %q", name, other.RouteName(number))
		}
	}
	named, _ := other.RouteOf("room,removed")
	if s := other.sets.get(named); len(s.routes) != 1 || s.routes[0].Name != "room" {
		t.Errorf("%v", s.routes)
	}
}

// Nothing changes if one route is not valid.
func TestReloadRefused(t *testing.T) {
	g := start(t, newNode(), Options{Routes: []Route{{Backend: &backend{}}}})
	defer stop(g)
	was := g.routes()[0]
	if _, err := g.Prepare(Options{Routes: []Route{{Name: "x", Backend: &backend{}}}}); err == nil || !strings.Contains(err.Error(), "route x: events") {
		t.Error(err)
	}
	if _, err := g.Prepare(Options{SessionQueue: 1 << 20}); err == nil {
		t.Error("SessionQueue is out of range")
	}
	if g.routes()[0] != was {
		t.Error("the routes have changed")
	}
}
