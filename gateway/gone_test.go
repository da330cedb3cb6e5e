package gateway

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"belfry/session"
	"belfry/webhook"
)

func ended(i int) *Ended {
	return &Ended{SID: fmt.Sprint("s", i), UID: fmt.Sprint("u", i), Node: "b", Route: "r0", Since: time.Now().Add(-time.Minute)}
}

// The disconnect of a session of another node names that node, and has the same id
// whoever sends it.
func TestNodeGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		g := start(t, newNode(), Options{Routes: []Route{{Backend: b, Events: []Kind{Connect, Disconnect}}, {Name: "other", Backend: b}}})
		defer stop(g)
		for route, want := range map[string]bool{"r0": true, "other": false, "unknown": false, "": false} {
			if e := (&Ended{Route: route}); g.Takes(e) != want {
				t.Errorf("route %q: %t, want %t", route, !want, want)
			}
		}
		g.NodeGone(ended(1))
		g.NodeGone(&Ended{SID: "s2", Route: "other"})
		synctest.Wait()
		if len(b.got()) != 1 {
			t.Fatalf("%d calls", len(b.got()))
		}
		c := b.got()[0]
		if c.ID != "gone-s1" || c.Source != "/nodes/b" || c.Type != "belfry.session.closed" || c.Extensions[2].Value != "b" ||
			string(c.Body) != `{"sid":"s1","uid":"u1","reason":"node_gone","duration":60.000}` {
			t.Errorf("%+v %s", c, c.Body)
		}
	})
}

// The route of a session is that which takes its disconnect: by user, path and
// subprotocol.
func TestDisconnectRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		g := start(t, newNode(), Options{Routes: []Route{
			{Name: "vip", Backend: b, Events: []Kind{Disconnect}, Match: Match{UID: "vip-*"}},
			{Name: "messages", Backend: b},
			{Name: "rest", Backend: b, Events: []Kind{Connect, Disconnect}},
		}})
		defer stop(g)
		all := client(g, "s").Route
		some := g.sets.of(origin{names: "messages"}).number
		for _, x := range []struct {
			number session.Route
			uid    string
			want   string
		}{{all, "vip-1", "vip"}, {all, "ann", "rest"}, {some, "vip-1", ""}, {0, "ann", ""}} {
			if got := g.DisconnectRoute(x.number, x.uid); got != x.want {
				t.Errorf("%+v: %q", x, got)
			}
		}
	})
}

// The sessions of a large node wait while the queue is half full: none is lost, and
// there is room for this node's own events.
func TestNodeGoneIsPaced(t *testing.T) {
	for _, o := range []Options{
		{Routes: []Route{{Queue: 8}}},
		{QueueBytes: 1 << 20, Routes: []Route{{}}},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := &backend{answer: func(*webhook.Call) (*webhook.Answer, error) {
				time.Sleep(time.Millisecond)
				return &webhook.Answer{Status: 204}, nil
			}}
			o.Routes[0].Backend, o.Routes[0].Events, o.Routes[0].InFlight = b, []Kind{Disconnect}, 1
			g := start(t, newNode(), o)
			defer stop(g)
			const sessions = 1200
			done := make(chan struct{})
			go func() {
				defer close(done)
				for i := range sessions {
					g.NodeGone(ended(i))
				}
			}()
			synctest.Wait()
			if st := g.Stats(); st.Bytes > g.opt.QueueBytes/2 || st.Queues > max(o.Routes[0].Queue/2, 1) {
				t.Errorf("%d bytes and %d sessions wait", st.Bytes, st.Queues)
			}
			g.Closed(client(g, "own"), session.ReasonGone, time.Second)
			if n := g.routes()[0].dropped[Disconnect][causeQueue].Load() + g.routes()[0].dropped[Disconnect][causeBytes].Load(); n != 0 {
				t.Error("there was no room for an event of this node's own session")
			}
			<-done
			time.Sleep(time.Minute)
			if n := len(b.got()); n != sessions+1 {
				t.Errorf("%d calls, want %d", n, sessions+1)
			}
		})
	}
}

// Shutdown ends a NodeGone that waits, and counts its session and later ones as dropped.
func TestNodeGoneEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{answer: func(*webhook.Call) (*webhook.Answer, error) {
			time.Sleep(time.Hour)
			return &webhook.Answer{Status: 204}, nil
		}}
		g := start(t, newNode(), Options{Routes: []Route{{Backend: b, Events: []Kind{Disconnect}, Queue: 2}}})
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range 5 {
				g.NodeGone(ended(i))
			}
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		g.Shutdown(ctx)
		<-done
		var st RouteStats
		g.routes()[0].stats(&st)
		if n := st.Dropped[[2]string{"disconnect", "shutdown"}]; n != 5 {
			t.Errorf("%v", strings.TrimSpace(fmt.Sprint(st.Dropped)))
		}
		time.Sleep(time.Hour)
	})
}
