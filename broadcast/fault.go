package broadcast

import (
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"
)

// faultEvery is the shortest time between two logged faults: a message that
// triggers a fault may come a thousand times a second.
const faultEvery = time.Minute

// faults counts and logs panics. Every goroutine of this package handles each
// message, or each step, under it. Messages come from other nodes: without it,
// one message that triggers a fault would end the process on every node.
type faults struct {
	log   *zap.Logger
	count *atomic.Uint64
	lines rate.Sometimes // lets one line through for each faultEvery
}

func newFaults(log *zap.Logger, count *atomic.Uint64) *faults {
	return &faults{log: log, count: count, lines: rate.Sometimes{Interval: faultEvery}}
}

// caught recovers from a panic. It is deferred by functions that have nothing to
// clean up after a panic.
func (f *faults) caught(where string) {
	if v := recover(); v != nil {
		f.report(where, v)
	}
}

// report counts and logs a panic. The deferred function that recovered the panic
// calls it, so that the logged stack is the stack of the panic.
func (f *faults) report(where string, v any) {
	total := f.count.Add(1)
	f.lines.Do(func() {
		f.log.Error("fault of belfry on the bus; please report it", zap.String("where", where),
			zap.String("panic", fmt.Sprint(v)), zap.Uint64("faults", total), zap.Stack("stack"))
	})
}
