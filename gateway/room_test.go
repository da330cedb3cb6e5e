package gateway

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"belfry/webhook"
)

// tardy returns a backend that takes its time.
func tardy() *backend {
	return &backend{answer: func(*webhook.Call) (*webhook.Answer, error) {
		time.Sleep(slow)
		return &webhook.Answer{Status: 204}, nil
	}}
}

// A route that waits because other routes make as many calls as there may be goes on
// when they have made them.
func TestRoutesShareTheCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := tardy(), tardy()
		g := start(t, newNode(), Options{InFlight: 1, Routes: []Route{{Backend: a, Match: Match{Field: "a"}}, {Backend: b}}})
		defer stop(g)
		g.Received(client(g, "s"), text(`{"a":"x"}`))
		synctest.Wait()
		g.Received(client(g, "r"), text("x"))
		synctest.Wait()
		if len(a.got()) != 1 || len(b.got()) != 0 {
			t.Errorf("%d and %d calls; want one at a time", len(a.got()), len(b.got()))
		}
		time.Sleep(slow)
		synctest.Wait()
		if len(b.got()) != 1 {
			t.Error("the other route never goes on")
		}
		time.Sleep(slow)
	})
}

// A session is not read again while its route is congested and its own messages wait.
func TestPausedWhileCongested(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		g := start(t, n, Options{Routes: []Route{{Backend: tardy(), InFlight: 1, Queue: 8}}})
		defer stop(g)
		g.Received(client(g, "s"), text("x"))
		synctest.Wait()
		for i := range 5 { // more than half of the queue
			g.Received(client(g, fmt.Sprint("other", i)), text("x"))
			synctest.Wait()
		}
		for range 2 {
			if !g.Received(client(g, "s"), text("x")) {
				t.Error("not paused although the route is congested")
			}
		}
		if n := g.Stats().Paused; n != 1 {
			t.Errorf("%d pauses of one session are counted", n)
		}
		time.Sleep(slow + slow/2) // five and the session's next message wait
		if got := n.of("s"); len(got) != 0 {
			t.Errorf("read again while the route is congested: %q", got)
		}
		time.Sleep(10 * slow)
		if got := n.of("s"); !slices.Equal(got, []string{"resume"}) {
			t.Errorf("%q", got)
		}
	})
}

// A session that was paused for its bytes is read again when half of them are done.
func TestPausedForItsBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		g := start(t, n, Options{SessionBytes: 12 << 10, Routes: []Route{{Backend: tardy()}}})
		defer stop(g)
		for i := range 4 {
			if paused := g.Received(client(g, "s"), text(strings.Repeat("x", 3<<10))); paused != (i >= 2) { // 4 KiB each
				t.Errorf("message %d: paused %v", i, paused)
			}
		}
		for _, want := range []int{0, 0, 1, 1} { // 12, 8, 4 and 0 KiB are left
			time.Sleep(slow)
			synctest.Wait()
			if got := n.of("s"); len(got) != want {
				t.Errorf("%q; want %d times", got, want)
			}
		}
	})
}

// The queue of a route has room for as many events as it says, again and again.
func TestQueueIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		g := start(t, newNode(), Options{Routes: []Route{{Backend: b, Events: []Kind{Connect}, Queue: 2}}})
		defer stop(g)
		for i := range 10 {
			g.Opened(client(g, fmt.Sprint("s", i)))
			synctest.Wait()
		}
		if dropped := g.Stats().Routes[0].Dropped; len(dropped) != 0 || len(b.got()) != 10 {
			t.Errorf("%d calls, dropped %v", len(b.got()), dropped)
		}
	})
}

// A fault after the client has got its answer brings no second one.
func TestFaultBehindAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		n.panics = "meta"
		g := start(t, n, Options{Routes: []Route{{Backend: &backend{answer: commands(`{"type":"reply","data":"x"},{"type":"meta","meta":null}`)}}}})
		defer stop(g)
		g.Received(client(g, "s"), rpc("1", "x"))
		g.Received(client(g, "s"), rpc("2", "x"))
		synctest.Wait()
		if got := n.of("s"); !slices.Equal(got, []string{"ack 1 text x", "ack 2 text x"}) || g.Stats().Faults != 2 {
			t.Errorf("%q, %d faults", got, g.Stats().Faults)
		}
	})
}

// An answer for a session that has ended is no failure: the backend did its part.
func TestAnswersForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		n.gone["s"] = true
		b := &backend{answer: func(c *webhook.Call) (*webhook.Answer, error) { return ok("text/plain", "x") }}
		g := start(t, n, Options{Routes: []Route{{Backend: b}}})
		defer stop(g)
		g.Received(client(g, "s"), rpc("1", "x"))
		g.Received(client(g, "s"), text("x"))
		synctest.Wait()
		if s := g.Stats().Routes[0]; s.Results["pushed"] != 2 || s.Results["failed"] != 0 {
			t.Errorf("%v", s.Results)
		}
	})
}

// Tries are spread at random: the events of many sessions that failed together must
// not come together again.
func TestPausesAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{answer: func(*webhook.Call) (*webhook.Answer, error) { return nil, webhook.ErrOpen }}
		g := start(t, newNode(), Options{Routes: []Route{{Backend: b, Events: []Kind{Connect}, Idempotent: true, AtLeastOnce: true}}})
		defer stop(g)
		const sessions = 100
		for i := range sessions {
			g.Opened(client(g, fmt.Sprint("s", i)))
		}
		var after []int
		for _, pause := range []time.Duration{firstPause/2 - 1, firstPause / 4, firstPause/4 + 1} {
			time.Sleep(pause)
			synctest.Wait()
			after = append(after, len(b.got())-sessions)
		}
		if after[0] != 0 || after[1] < sessions/5 || after[1] > sessions*4/5 || after[2] != sessions {
			t.Errorf("%v of %d have been tried again after 50, 75 and 100 ms", after, sessions)
		}
	})
}
