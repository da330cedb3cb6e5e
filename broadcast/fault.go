package broadcast

import (
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"
)

// faultEvery is how often faults are logged: one message that cannot be
// handled may come a thousand times a second.
const faultEvery = time.Minute

// faults turns panics into a count and a line in the log. Every goroutine here
// handles one message, or one step, under it: messages come from other nodes,
// and one that met a fault of ours would otherwise end all of them.
type faults struct {
	log   *zap.Logger
	count *atomic.Uint64
	lines rate.Sometimes // one each faultEvery
}

func newFaults(log *zap.Logger, count *atomic.Uint64) *faults {
	return &faults{log: log, count: count, lines: rate.Sometimes{Interval: faultEvery}}
}

// caught is deferred by what may fail without a trace but its count.
func (f *faults) caught(where string) {
	if v := recover(); v != nil {
		f.report(where, v)
	}
}

// report counts a panic. It is called by the deferred function that recovered
// it, so that the stack is that of the fault.
func (f *faults) report(where string, v any) {
	total := f.count.Add(1)
	f.lines.Do(func() {
		f.log.Error("fault of belfry on the bus; please report it", zap.String("where", where),
			zap.String("panic", fmt.Sprint(v)), zap.Uint64("faults", total), zap.Stack("stack"))
	})
}
