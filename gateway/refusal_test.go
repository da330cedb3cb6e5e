package gateway

import (
	"context"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"belfry/session"
	"belfry/webhook"
)

// A message that is refused for want of room, before its route is known, is answered
// as the first route for messages says. A session without such a route gets nothing,
// and nothing else happens.
func TestRefusedBeforeItsRoute(t *testing.T) {
	for name, tc := range map[string]struct {
		routes []Route
		want   []string
	}{
		"only connect":     {[]Route{{Events: []Kind{Connect, Disconnect}, OnError: Close}}, nil},
		"the first closes": {[]Route{{Events: []Kind{Connect}, OnError: Text}, {OnError: Close}, {OnError: Text}}, []string{"close 4500 too many messages wait for backends; try again"}},
		"the first tells":  {[]Route{{OnError: Text, Match: Match{Event: "none"}}, {OnError: Close}}, []string{"text too many messages wait for backends; try again"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			n := newNode()
			for i := range tc.routes {
				tc.routes[i].Backend = &backend{}
			}
			g := start(t, n, Options{QueueBytes: 1 << 20, Routes: tc.routes})
			if !g.Received(client(g, "s"), text(strings.Repeat("x", 900<<10))) {
				t.Errorf("%s: the session is not paused", name)
			}
			synctest.Wait()
			if got := n.of("s"); !slices.Equal(got, append(tc.want, "resume")) {
				t.Errorf("%s: %q", name, got)
			}
			if s := g.Stats(); s.Bytes != 0 || s.NodeBytes != 1 || s.Queues != 0 || s.Faults != 0 {
				t.Errorf("%s: %+v", name, s)
			}
			stop(g)
		})
	}
}

// A panic while the router refuses a message costs that message, and nothing stays.
func TestRefusalFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		n.panics = "short reply"
		g := start(t, n, Options{QueueBytes: 1 << 20, Routes: []Route{{Backend: &backend{}}}})
		g.Received(client(g, "s"), rpc("1", strings.Repeat("x", 900<<10)))
		synctest.Wait()
		n.mu.Lock()
		n.panics = ""
		n.mu.Unlock()
		g.Received(client(g, "s"), rpc("2", "x"))
		synctest.Wait()
		if got := n.of("s"); !slices.Equal(got, []string{"resume", "ack 2"}) {
			t.Errorf("%q", got)
		}
		if s := g.Stats(); s.Faults != 1 || s.Bytes != 0 || s.Queues != 0 {
			t.Errorf("%+v", s)
		}
		stop(g)
	})
}

// The caller of a call is the user; without a user it is the address.
func TestCaller(t *testing.T) {
	b := &backend{}
	synctest.Test(t, func(t *testing.T) {
		g := start(t, newNode(), Options{Routes: []Route{{Backend: b}}})
		for _, uid := range []string{"ann", "ann", "bob", "", ""} {
			c := client(g, "s")
			c.UID = uid
			g.Received(c, rpc("1", "x"))
			synctest.Wait()
		}
		stop(g)
	})
	who := map[webhook.Caller]int{}
	for _, c := range b.got() {
		who[c.Caller]++
	}
	if len(who) != 3 || who[webhook.CallerOf("ann", netip.Prefix{})] != 2 || who[webhook.CallerOf("", netip.MustParsePrefix("192.0.2.1/32"))] != 2 {
		t.Errorf("%v", who)
	}
}

// What is held of a message that is refused is not its payload.
func TestRefusedMessagesHoldNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{answer: func(*webhook.Call) (*webhook.Answer, error) {
			time.Sleep(slow)
			return &webhook.Answer{Status: 204}, nil
		}}
		n := newNode()
		g := start(t, n, Options{QueueBytes: 1 << 20, SessionBytes: 1 << 20, Routes: []Route{{Backend: b}}})
		defer stop(g)
		g.Received(client(g, "s"), rpc("1", strings.Repeat("x", 700<<10)))
		before := g.Stats().Bytes
		in := rpc("2", strings.Repeat("x", 700<<10))
		g.Received(client(g, "s"), in) // waits behind the first one
		if grown := g.Stats().Bytes - before; grown > 2*overhead {
			t.Errorf("%d bytes for a message that is refused", grown)
		}
		g.mu.Lock()
		q := g.queues["s"]
		g.mu.Unlock()
		if len(q.last.in.Payload) != 0 || len(in.Payload) == 0 {
			t.Errorf("a payload of %d bytes is held", len(q.last.in.Payload))
		}
		time.Sleep(2 * slow)
		got := slices.DeleteFunc(n.of("s"), func(done string) bool { return done == "resume" })
		if len(got) != 2 || got[0] != "ack 1" || !strings.HasPrefix(got[1], "err 2 unavailable: too many") {
			t.Errorf("%q", got)
		}
	})
}

// Messages that come while the node stops get an error, and no call.
func TestMessagesWhileStopping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{answer: func(*webhook.Call) (*webhook.Answer, error) {
			time.Sleep(slow)
			return &webhook.Answer{Status: 204}, nil
		}}
		n := newNode()
		g := start(t, n, Options{Routes: []Route{{Backend: b, Events: []Kind{Message, Connect}}}})
		g.Received(client(g, "s"), rpc("1", "x"))
		synctest.Wait()
		go func() {
			time.Sleep(slow / 2)
			g.Received(client(g, "r"), rpc("2", "x"))
			g.Opened(client(g, "o"))
		}()
		if dropped := g.Shutdown(context.Background()); dropped != 0 {
			t.Errorf("%d dropped", dropped)
		}
		if got := n.of("r"); len(got) < 1 || got[0] != "err 2 unavailable: the server is going away" {
			t.Errorf("%q", got)
		}
		if got := g.Stats().Routes[0].Dropped; len(b.got()) != 1 || !reflect.DeepEqual(got, map[[2]string]uint64{{"connect", "shutdown"}: 1}) {
			t.Errorf("%d calls, dropped %v", len(b.got()), got)
		}
	})
}

// The bytes of the calls of a route are bounded; one event that is larger is sent alone.
func TestBytesInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{answer: func(*webhook.Call) (*webhook.Answer, error) {
			time.Sleep(slow)
			return &webhook.Answer{Status: 204}, nil
		}}
		n := newNode()
		g := start(t, n, Options{Routes: []Route{{Backend: b, InFlightBytes: 100 << 10}}})
		defer stop(g)
		sizes := []int{40, 40, 40, 200, 1} // KiB
		for i, size := range sizes {
			g.Received(client(g, string(rune('a'+i))), text(strings.Repeat("x", size<<10)))
			synctest.Wait()
		}
		for i, want := range []int{2, 3, 4, 5} { // two at once; the third; the large one alone; the last
			if got := len(b.got()); got != want {
				t.Errorf("after %d rounds %d calls; want %d", i, got, want)
			}
			time.Sleep(slow)
			synctest.Wait()
		}
		if s := g.Stats().Routes[0]; b.most != 2 || s.Bytes != 0 {
			t.Errorf("%d calls at once, %+v", b.most, s)
		}
	})
}

// Events other than messages are routed by their user and topic.
func TestRoutesOfOtherEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backends := []*backend{{}, {}, {}}
		g := start(t, newNode(), Options{Routes: []Route{
			{Backend: backends[0], Events: []Kind{Connect, Disconnect, Subscribe}, Match: Match{UID: "guest-*"}},
			{Backend: backends[1], Events: []Kind{Subscribe, Unsubscribe}, Match: Match{Topic: "room.*"}},
			{Backend: backends[2], Events: []Kind{Connect, Disconnect, Subscribe}, Match: Match{UID: "*"}},
		}})
		defer stop(g)
		for _, uid := range []string{"guest-1", "ann", ""} {
			c := client(g, "s")
			c.UID = uid
			g.Opened(c)
			g.Subscribed(c, "room.1")
			g.Subscribed(c, "other")
			g.Unsubscribed(c, "other")
			g.Unsubscribed(c, "room.1")
			g.Closed(c, session.ReasonClient, 0)
			synctest.Wait()
		}
		for i, want := range [][]string{
			{"opened", "subscribed room.1", "subscribed other", "closed"},
			{"unsubscribed room.1", "subscribed room.1", "unsubscribed room.1", "subscribed room.1", "unsubscribed room.1"},
			{"opened", "subscribed other", "closed"},
		} {
			var got []string
			for _, c := range backends[i].got() {
				got = append(got, strings.TrimSpace(strings.TrimPrefix(c.Type, "belfry.session.")+" "+c.Extensions[3].Value))
			}
			if !slices.Equal(got, want) {
				t.Errorf("route %d: %q; want %q", i, got, want)
			}
		}
	})
}
