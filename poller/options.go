package poller

import (
	"fmt"
	"runtime"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"belfry/offheap"
)

// Options configure a Loop. The zero value of every field but NewHandler
// works.
type Options struct {
	// NewHandler makes the handler of a shard. Required.
	NewHandler func(*Shard) Handler
	// RecordSize is how many bytes the handler keeps of each connection in
	// the slab (Shard.Record), a multiple of 4.
	RecordSize int

	Shards   int        // 0: runtime.NumCPU()
	Listen   []Endpoint // none: connections only come by Adopt
	MaxConns int        // of one shard; 0: 1<<20. Address space, not memory, is taken for it

	Backlog      Bounds // of one connection
	LargeBacklog Bounds // of one marked by SetLargeBacklog; 0: 1<<18 frames, 128 MiB
	NodeBytes    int64  // of all connections together; 0: 256 MiB
	Policy       Policy

	// InboundBytes bounds, for all connections together, what was received and
	// not consumed, and what the handler charges (Shard.Charge); 0: 256 MiB.
	InboundBytes int64

	Mailbox     int           // places in LaneSingle and in LaneBulk of a shard; 0: 4096
	Chunk       time.Duration // how long a shard works before it looks at its sockets again; 0: 300 µs
	UserTimeout time.Duration // TCP_USER_TIMEOUT of connections; 0: 30 s

	// NoRing has every send be a system call of its own, where io_uring would
	// be there (Shard.Send).
	NoRing bool

	// ManualTicks replaces the 1 s timer by Loop.Tick, for tests.
	ManualTicks bool

	// Memory counts what the loop and its handlers keep outside the Go heap;
	// nil: it is not counted.
	Memory *offheap.Owners

	Log *zap.Logger // nil: none

	setsockopt func(fd, level, opt, value int) error // of listeners; nil: the kernel's. For tests
}

// Largest values that Options accept.
const (
	MaxShards  = 1 << 10
	maxMailbox = 1 << 20
)

func (o *Options) setDefaults() {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&o.Shards, runtime.NumCPU())
	def(&o.MaxConns, 1<<20)
	def(&o.Backlog.Frames, 256)
	def(&o.Backlog.Bytes, 1<<20)
	def(&o.LargeBacklog.Frames, 1<<18)
	def(&o.LargeBacklog.Bytes, 128<<20)
	def(&o.Mailbox, 4096)
	if o.NodeBytes == 0 {
		o.NodeBytes = 256 << 20
	}
	if o.InboundBytes == 0 {
		o.InboundBytes = 256 << 20
	}
	if o.Chunk == 0 {
		o.Chunk = 300 * time.Microsecond
	}
	if o.UserTimeout == 0 {
		o.UserTimeout = 30 * time.Second
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.setsockopt == nil {
		o.setsockopt = unix.SetsockoptInt
	}
}

func (o *Options) check() error {
	between := func(name string, v, lo, hi int) error {
		if v < lo || v > hi {
			return fmt.Errorf("poller: %s is %d; allowed are %d to %d", name, v, lo, hi)
		}
		return nil
	}
	if o.NewHandler == nil {
		return fmt.Errorf("poller: NewHandler is missing")
	}
	for _, err := range []error{
		between("Shards", o.Shards, 1, MaxShards),
		between("MaxConns", o.MaxConns, 1, offheap.MaxRecords),
		between("Mailbox", o.Mailbox, 1, maxMailbox),
		between("Backlog.Frames", o.Backlog.Frames, 1, 1<<20),
		between("Backlog.Bytes", o.Backlog.Bytes, 1, 1<<30),
		between("LargeBacklog.Frames", o.LargeBacklog.Frames, 1, 1<<20),
		between("LargeBacklog.Bytes", o.LargeBacklog.Bytes, 1, 1<<30),
		between("NodeBytes", int(o.NodeBytes), 1, 1<<50),
		between("InboundBytes", int(o.InboundBytes), 1, 1<<50),
		between("Policy", int(o.Policy), int(Disconnect), int(LatestOnly)),
		between("RecordSize", o.RecordSize, 0, 1<<12),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}
