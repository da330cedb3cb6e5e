package measure

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// sender is a Send whose broadcasts reach all after a second.
type sender struct {
	sent, received int
	atOnce         int   // most in progress at any time
	fails          int   // number of the broadcast that cannot be sent, 0 for none
	lost           int   // number of the broadcast that does not reach all
	failure        error // of both
}

func (s *sender) send(context.Context) (func(context.Context) error, error) {
	if s.fails > 0 && s.sent+1 == s.fails {
		return nil, s.failure
	}
	s.sent++
	s.atOnce = max(s.atOnce, s.sent-s.received)
	n, arrives := s.sent, time.Now().Add(time.Second)
	return func(ctx context.Context) error {
		if n == s.lost {
			return s.failure
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Until(arrives)):
			s.received++
			return nil
		}
	}, nil
}

// Two broadcasts are in progress during the work. During waits for each, also
// for the last one.
func TestDuring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sender{}
		f, err := During(t.Context(), s.send, func(context.Context) error {
			time.Sleep(3500 * time.Millisecond) // of virtual time: the work
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		// Pairs are sent at 0, 1, 2 and 3 s; the work ends at 4 s.
		if s.sent != 8 || s.received != 8 || s.atOnce != 2 {
			t.Errorf("%d sent, %d received, %d at once; want 8, 8, 2", s.sent, s.received, s.atOnce)
		}
		if f != (Flooded{Broadcasts: 8, Seconds: 4}) {
			t.Errorf("%+v", f)
		}
	})
}

// A failed broadcast ends the work and is reported.
func TestDuringFloodFails(t *testing.T) {
	boom := errors.New("boom")
	for name, s := range map[string]*sender{"sending": {fails: 3, failure: boom}, "receiving": {lost: 3, failure: boom}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var cause error
				_, err := During(t.Context(), s.send, func(ctx context.Context) error {
					<-ctx.Done()
					cause = context.Cause(ctx)
					return fmt.Errorf("the work: %w", cause)
				})
				if err == nil || err.Error() != "the work: boom" || !errors.Is(cause, boom) {
					t.Errorf("%v, and the work ended for %v", err, cause)
				}
			})
		})
	}
}

// When the work fails, During still waits for the broadcasts in progress,
// because the next measurement would see them.
func TestDuringWorkFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sender{}
		boom := errors.New("boom")
		f, err := During(t.Context(), s.send, func(context.Context) error { return boom })
		if !errors.Is(err, boom) || s.sent != s.received || f.Broadcasts != s.sent {
			t.Errorf("%v, %d sent, %d received, %d told", err, s.sent, s.received, f.Broadcasts)
		}
	})
}
