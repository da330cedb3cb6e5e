package webhook

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// A call that waits for its backend has no place in the gate: with one place,
// several calls are at the backend at the same time.
func TestCallGivesPlaceUp(t *testing.T) {
	const calls = 3
	came, answer := make(chan struct{}, calls), make(chan struct{})
	gate := make(Gate, 1)
	b := newBackend(t, Options{Gate: gate}, func(w http.ResponseWriter, _ *http.Request) {
		came <- struct{}{}
		<-answer
	})
	ended := make(chan error, calls)
	for range calls {
		go func() {
			gate.Enter()
			_, err := b.Call(context.Background(), event("x"))
			gate.Leave()
			ended <- err
		}()
	}
	for range calls {
		<-came
	}
	close(answer)
	for range calls {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if len(gate) != 0 {
		t.Errorf("%d places were not given back", len(gate))
	}
}

// Refuse agrees with Call while the backend works, is left alone, and is probed.
func TestRefuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails, probe := true, make(chan struct{})
		b := virtual(t, Options{URLs: []string{"http://a/x"}, Failures: 1, Pause: time.Second}, map[string]http.HandlerFunc{"a": func(w http.ResponseWriter, _ *http.Request) {
			if fails {
				w.WriteHeader(500)
				return
			}
			<-probe
		}})
		refused := func(when string, want bool) {
			t.Helper()
			if b.Refuse() != want {
				t.Errorf("%s: refused is not %v", when, want)
			}
		}
		refused("new", false)
		_, _ = b.Call(t.Context(), event("x")) // fails
		refused("after a failure", true)
		if _, err := b.Call(t.Context(), event("x")); !errors.Is(err, ErrOpen) {
			t.Errorf("%v, want ErrOpen", err)
		}
		fails = false
		time.Sleep(2 * time.Second)
		refused("after the pause", false)
		done := make(chan error)
		go func() {
			_, err := b.Call(t.Context(), event("x"))
			done <- err
		}()
		synctest.Wait()
		refused("while it is probed", true)
		close(probe)
		if err := <-done; err != nil {
			t.Error(err)
		}
		refused("after the probe", false)
		if n := b.Stats().Calls["open"]; n != 3 {
			t.Errorf("%d calls counted as open, want 3: two by Refuse and one by Call", n)
		}
	})
}
