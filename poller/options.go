package poller

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"belfry/offheap"
)

// Options configure a Loop. All fields except NewHandler may be zero.
type Options struct {
	// NewHandler makes the handler of a shard. It is called within New. Required.
	NewHandler func(*Shard) Handler
	// RecordSize is the size in bytes of the handler's part of a connection's
	// record (Shard.Record), a multiple of 4 up to 4096.
	RecordSize int

	Shards   int         // 0: runtime.NumCPU()
	Listen   []PortRange // empty: connections come through Adopt only
	MaxConns int         // of one shard; 0: 1<<20. It reserves address space, not memory

	Backlog      Bounds // of one connection
	LargeBacklog Bounds // of one connection after SetLargeBacklog; 0: 1<<18 frames, 128 MiB
	NodeBytes    int64  // of all connections together; 0: 256 MiB
	Policy       Policy // what happens at the limits of a backlog

	// InboundBytes limits the bytes that all connections together hold of their
	// input: bytes received and not consumed, and bytes that the handler charges
	// (Shard.Charge). 0: 256 MiB.
	InboundBytes int64

	Mailbox     int           // places in each queue of a shard's mailbox; QueueControl has 1024 more. 0: 4096
	Chunk       time.Duration // how long a shard does one kind of work before the next; 0: 300 µs
	UserTimeout time.Duration // TCP_USER_TIMEOUT of connections; 0: 30 s

	// NoRing sends with a system call for each connection, even if the kernel has
	// io_uring (Shard.Send).
	NoRing bool

	// Heritage is what the loop takes over from another process; nil: nothing. Then it
	// binds no addresses, and accepts connections only after Loop.Accept.
	Heritage *Heritage

	// ManualTicks replaces the 1 s timer by Loop.Tick, for tests.
	ManualTicks bool

	// Memory counts the bytes that the loop and its handlers hold outside the Go
	// heap; nil: they are not counted.
	Memory *offheap.Owners

	Log *zap.Logger // nil: none

	setsockopt func(fd, level, opt, value int) error // for listeners, replaced by tests; nil: the system call
}

// Largest values that Options accept.
const (
	MaxShards  = 1 << 10
	maxMailbox = 1 << 20
)

// fill gives options that are 0 their default, and returns an error for values that
// are out of range.
func (o *Options) fill() error {
	if o.NewHandler == nil {
		return errors.New("poller: NewHandler is missing")
	}
	if o.Policy > LatestOnly {
		return fmt.Errorf("poller: Policy is %d; allowed are %d to %d", uint8(o.Policy), uint8(Disconnect), uint8(LatestOnly))
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.setsockopt == nil {
		o.setsockopt = unix.SetsockoptInt
	}
	return errors.Join(
		fill("RecordSize", &o.RecordSize, 0, 0, 1<<12),
		fill("Shards", &o.Shards, runtime.NumCPU(), 1, MaxShards),
		fill("MaxConns", &o.MaxConns, 1<<20, 1, offheap.MaxRecords),
		fill("Backlog.Frames", &o.Backlog.Frames, 256, 1, 1<<20),
		fill("Backlog.Bytes", &o.Backlog.Bytes, 1<<20, 1, 1<<30),
		fill("LargeBacklog.Frames", &o.LargeBacklog.Frames, 1<<18, 1, 1<<20),
		fill("LargeBacklog.Bytes", &o.LargeBacklog.Bytes, 128<<20, 1, 1<<30),
		fill("NodeBytes", &o.NodeBytes, 256<<20, 1, 1<<50),
		fill("InboundBytes", &o.InboundBytes, 256<<20, 1, 1<<50),
		fill("Mailbox", &o.Mailbox, 4096, 1, maxMailbox),
		fill("Chunk", &o.Chunk, 300*time.Microsecond, 1, time.Hour),
		fill("UserTimeout", &o.UserTimeout, 30*time.Second, time.Millisecond, time.Hour),
	)
}

// fill gives an option that is 0 its default, and returns an error if its value is
// out of range.
func fill[T int | int64 | time.Duration](name string, v *T, def, least, most T) error {
	if *v == 0 {
		*v = def
	}
	if *v < least || *v > most {
		return fmt.Errorf("poller: %s is %v; allowed are %v to %v", name, *v, least, most)
	}
	return nil
}
