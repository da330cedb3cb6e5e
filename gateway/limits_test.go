package gateway

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"belfry/session"
	"belfry/webhook"
)

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
		if s := g.Stats(); s.Routes[0].Refused["queue"] != 11 || g.congested != 0 {
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
		if len(calls) != 6 || calls[5].Type != "belfry.session.closed" || string(calls[1].Body) != `{"sid":"s","uid":"u-s","topic":"t0","address":"192.0.2.1:4711","encoding":"belfry.v1"}` {
			t.Errorf("%d calls, the second %s", len(calls), calls[1].Body)
		}
		if s := g.Stats(); s.Routes[0].Dropped[[2]string{"subscribe", "session"}] != 7 || s.OverQueue != 15 {
			t.Errorf("dropped %v, %d times", s.Routes[0].Dropped, s.OverQueue)
		}
	})
}
