package broadcast

import (
	"time"

	"belfry/ticker"
)

// clock gives the time and ticks to periodic work. Tests replace it by a virtual
// one: testing/synctest does not work with real sockets.
type clock struct {
	now  func() time.Time
	tick func(every time.Duration) (ticks <-chan time.Time, stop func())
}

func wallClock() clock {
	return clock{
		now: time.Now,
		tick: func(every time.Duration) (<-chan time.Time, func()) {
			t := ticker.New(every)
			return t.C, t.Stop
		},
	}
}
