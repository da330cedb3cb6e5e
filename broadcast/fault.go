package broadcast

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
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

	mu   sync.Mutex // guards told
	told time.Time
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
	now := time.Now()
	f.mu.Lock()
	silent := !f.told.IsZero() && now.Sub(f.told) < faultEvery
	if !silent {
		f.told = now
	}
	f.mu.Unlock()
	if !silent {
		f.log.Error("fault of belfry on the bus; please report it", zap.String("where", where),
			zap.String("panic", fmt.Sprint(v)), zap.Uint64("faults", total), zap.Stack("stack"))
	}
}
