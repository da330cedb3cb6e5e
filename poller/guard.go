package poller

import (
	"fmt"
	"runtime/debug"

	"go.uber.org/zap"
)

// guard catches panics on the shard's goroutine. A panic costs at most the
// connection in whose name the code ran.
type guard struct {
	conns    *conns
	counters *Counters
	log      *zap.Logger
	shard    int // for the log
}

// protect calls f and catches its panic, which closes the connection named by
// id. With id 0 it closes none.
func (g *guard) protect(id ID, f func()) {
	defer g.recoverConn(id)
	f()
}

// recoverConn is deferred. It catches a panic and closes the connection named
// by id.
func (g *guard) recoverConn(id ID) {
	if r := recover(); r != nil {
		g.panicked(r)
		if slot, ok := g.conns.lookup(id); ok {
			g.conns.closeLater(slot, ReasonPanic, fmt.Errorf("panic: %v", r))
		}
	}
}

// panicked counts and logs a panic that was caught.
func (g *guard) panicked(r any) {
	g.counters.Panics.Add(1)
	g.log.Error("panic in a shard", zap.Int("shard", g.shard), zap.Any("panic", r), zap.ByteString("stack", debug.Stack()))
}
