// Package ticker has tickers that fire together. A process has several things to
// look at once a second. With a phase of its own each of them wakes the process
// from sleep: a few futex calls and switches between threads for microseconds of
// work. On a host with many idle nodes that is most of what a node costs.
package ticker

import (
	"sync"
	"time"
)

// began is the phase of all tickers. It differs between processes, so that the
// nodes of a host do not wake at the same time.
var began = time.Now()

// Until returns the time until the tickers of an interval fire next, above 0 and at
// most every.
func Until(every time.Duration) time.Duration { return every - time.Since(began)%every }

// Ticker fires at multiples of its interval, counted from the start of the
// process. C has room for one tick, and drops ticks for a slow receiver, as
// time.Ticker does.
type Ticker struct {
	C <-chan time.Time

	mu      sync.Mutex
	ticks   *time.Ticker
	phase   *time.Timer
	stopped bool
}

// New returns a ticker that fires every so often; every must be above 0. Its first
// tick comes after one to two intervals. The caller stops it.
func New(every time.Duration) *Ticker {
	ticks := time.NewTicker(2 * every)
	t := &Ticker{C: ticks.C, ticks: ticks}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.phase = time.AfterFunc(Until(every), func() { t.begin(every) })
	return t
}

// begin starts the interval. It is called when the phase is right.
func (t *Ticker) begin(every time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.stopped {
		t.ticks.Reset(every)
	}
}

// Stop ends the ticker. No tick comes afterwards.
func (t *Ticker) Stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
	t.phase.Stop()
	t.ticks.Stop()
}
