package broadcast

import "time"

// clock is the time seam: real sockets do not mix with testing/synctest, so
// what is periodic takes its ticks from here.
type clock struct {
	now  func() time.Time
	tick func(every time.Duration) (ticks <-chan time.Time, stop func())
}

func wallClock() clock {
	return clock{
		now: time.Now,
		tick: func(every time.Duration) (<-chan time.Time, func()) {
			t := time.NewTicker(every)
			return t.C, t.Stop
		},
	}
}
