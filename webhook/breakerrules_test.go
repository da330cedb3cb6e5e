package webhook

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// breakerRig is a breaker with a clock of its own.
type breakerRig struct {
	*breaker
	t   *testing.T
	now time.Time
}

func newBreakerRig(t *testing.T) *breakerRig {
	return &breakerRig{newBreaker(5, time.Second, func(bool) {}), t, time.Unix(1000, 0)}
}

// call makes a call of a client that ends at once. It returns false if the breaker
// kept it away.
func (r *breakerRig) call(who Caller, err error) bool {
	a, ok := r.enter(who, r.now)
	if ok {
		r.leave(a, err, r.now)
	}
	return ok
}

// fail makes failed calls of these clients, which must not be kept away.
func (r *breakerRig) fail(callers ...Caller) {
	r.t.Helper()
	for _, who := range callers {
		if !r.call(who, ErrTimeout) {
			r.t.Fatalf("the call of %d was kept away", who)
		}
	}
}

// want compares the state.
func (r *breakerRig) want(s breakerState) {
	r.t.Helper()
	if r.state != s {
		r.t.Errorf("state %d, want %d", r.state, s)
	}
}

// After a success the failures of other clients before it do not count: one client
// cannot borrow them.
func TestBreakerForgetsCallers(t *testing.T) {
	r := newBreakerRig(t)
	r.fail(1, 2)
	r.call(3, nil)
	r.fail(4, 4, 4, 4, 4, 4, 4, 4)
	r.want(breakerClosed)
	r.fail(1, 2)
	r.want(breakerOpen)
}

// A call that began before the breaker opened says nothing about the probes.
func TestBreakerLateAnswers(t *testing.T) {
	for _, late := range []error{ErrTimeout, nil, context.Canceled} {
		r := newBreakerRig(t)
		before, _ := r.enter(1, r.now)
		r.fail(1, 2, 3, 1, 2)
		r.want(breakerOpen)
		r.now = r.now.Add(time.Second)
		probe, ok := r.enter(1, r.now)
		if !ok {
			t.Fatal("no probe")
		}
		r.leave(before, late, r.now)
		r.want(breakerProbed)
		if r.probes != 1 || r.failed != 0 || len(r.who) != 1 {
			t.Errorf("%v: %d probes, %d failed, of %v", late, r.probes, r.failed, r.who)
		}
		r.leave(probe, nil, r.now)
		r.want(breakerClosed)
	}
}

// A client whose probe hangs gets no second one, however long it takes. The failures
// of a round do not count in the next one.
func TestBreakerRounds(t *testing.T) {
	r := newBreakerRig(t)
	r.fail(1, 2, 3, 1, 2)
	r.now = r.now.Add(time.Second)
	hanging, _ := r.enter(1, r.now)
	r.now = r.now.Add(time.Minute)
	if r.call(1, nil) {
		t.Error("a client whose probe hangs probes again")
	}
	r.leave(hanging, ErrTimeout, r.now)
	r.fail(2, 1) // a new round, since the pause is over
	r.want(breakerProbed)
	if r.call(1, nil) || r.call(2, nil) {
		t.Error("a client probes twice in a round")
	}
	r.now = r.now.Add(time.Second)
	r.fail(1, 2)
	r.want(breakerProbed) // two failures of each round
	r.fail(3)
	r.want(breakerOpen)
	r.now = r.now.Add(time.Second)
	r.fail(1, 2) // nor do those of the last opening
	r.want(breakerProbed)
	r.fail(3)
	r.want(breakerOpen)
}

// Failures among successes count for some seconds, and only until the URL was left
// alone.
func TestBreakerTally(t *testing.T) {
	r := newBreakerRig(t)
	many := func(n int) {
		for i := range n {
			r.fail(Caller(i))
			r.call(100, nil)
			r.fail(Caller(i + 1))
		}
	}
	many(11) // 22 failures, of which two clients had 4: 20 of the others are too many
	r.want(breakerClosed)
	r.now = r.now.Add(time.Minute)
	r.fail(30, 31, 32)
	r.want(breakerClosed) // the earlier ones are forgotten
	r.call(100, nil)
	for i := Caller(40); i < 60 && r.state == breakerClosed; i++ {
		r.fail(i)
		if r.state == breakerClosed {
			r.call(100, nil)
		}
	}
	r.want(breakerOpen)
	r.now = r.now.Add(time.Second)
	r.call(1, nil)
	r.want(breakerClosed)
	many(4)
	r.want(breakerClosed) // those before the opening do not count
}

// A URL that fails for many, but less often than it works, is called.
func TestBreakerMoreSuccesses(t *testing.T) {
	r := newBreakerRig(t)
	for i := range Caller(200) {
		r.fail(i)
		r.call(i, nil)
		r.call(i, nil)
	}
	r.want(breakerClosed)
}

// A call that waits for its next attempt has no place in the gate: another call goes
// on meanwhile.
func TestRetryGivesPlaceUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(Gate, 1)
		var calls atomic.Int32
		b := virtual(t, Options{URLs: []string{"http://a"}, Gate: gate, Retries: 1}, map[string]http.HandlerFunc{"a": func(w http.ResponseWriter, _ *http.Request) {
			if calls.Add(1) == 1 {
				w.WriteHeader(http.StatusBadGateway)
			}
		}})
		done := make(chan error)
		go func() {
			gate.Enter()
			c := event("")
			c.Idempotent = true
			_, err := b.Call(t.Context(), c)
			gate.Leave()
			done <- err
		}()
		synctest.Wait()
		if n := calls.Load(); n != 1 || len(gate) != 0 {
			t.Errorf("%d places taken after %d attempts, while the call waits for the next", len(gate), n)
		}
		if err := <-done; err != nil || calls.Load() != 2 || len(gate) != 0 {
			t.Errorf("%v after %d attempts, %d places taken", err, calls.Load(), len(gate))
		}
	})
}
