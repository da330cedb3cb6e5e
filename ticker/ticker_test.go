package ticker

import (
	"testing"
	"testing/synctest"
	"time"
)

// Tickers that were made at different times fire at the same instants.
func TestTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began = time.Now()
		var all []*Ticker
		for _, later := range []time.Duration{0, 300 * time.Millisecond, 699 * time.Millisecond, 2 * time.Second} {
			time.Sleep(later)
			all = append(all, New(time.Second))
			defer all[len(all)-1].Stop()
		}
		for range 5 {
			first := <-all[0].C
			if phase := first.Sub(began) % time.Second; phase != 0 {
				t.Errorf("a tick %v after the second", phase)
			}
		}
		for _, k := range all[1:] {
			<-k.C // there may be an old one
			if at := <-k.C; at.Sub(began)%time.Second != 0 || at != <-all[0].C {
				t.Errorf("ticks apart: %v", at.Sub(began))
			}
		}
	})
}

// The first tick comes after one to two intervals, the others an interval apart.
func TestInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began = time.Now().Add(-250 * time.Millisecond)
		from := time.Now()
		k := New(time.Second)
		defer k.Stop()
		for i := range 3 {
			if after, want := (<-k.C).Sub(from), 1750*time.Millisecond+time.Duration(i)*time.Second; after != want {
				t.Errorf("tick %d after %v, not %v", i, after, want)
			}
		}
	})
}

// A ticker that was stopped before its phase came does not start afterwards.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began = time.Now()
		for _, after := range []time.Duration{0, 5 * time.Second} {
			k := New(time.Second)
			time.Sleep(after)
			k.Stop()
			select {
			case <-k.C:
			default:
			}
			time.Sleep(10 * time.Second)
			select {
			case <-k.C:
				t.Error("a tick after Stop")
			default:
			}
		}
	})
}
