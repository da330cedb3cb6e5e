package poller

import (
	"sync"
	"sync/atomic"
	"syscall"

	"go.uber.org/zap"
)

// Bounds of what is staged. Sending it takes less time than a chunk.
const (
	stageSends = 32
	stageBytes = 128 << 10
	stageCopy  = 16 << 10 // of bytes that are copied
)

// stage collects sends to several connections until they are submitted to the
// kernel in one system call (docs/adr/0007-io-uring.md). Where there is no
// io_uring it stays empty.
type stage struct {
	ring    *uring // nil: every send is a system call of its own
	tried   bool   // to make the ring
	opt     *Options
	shard   int         // for the log
	missing *sync.Once  // says for the whole loop that there is no io_uring
	ringed  atomic.Bool // there is a ring; other goroutines read it

	n       int
	bytes   int
	sends   [stageSends]stagedSend
	results [stageSends]int32 // of the last submission
	copied  []byte            // room for stageCopy bytes; never moves
}

type stagedSend struct {
	slot    uint32
	class   Class
	payload Payload // shared, or bytes in stage.copied
}

func (g *stage) init(s *Shard) {
	g.opt, g.shard, g.missing = s.opt, s.index, &s.loop.noRing
}

// usable says whether sends can be staged.
func (g *stage) usable() bool { return g.ring != nil || g.openRing() }

// copy copies p to the stage. ok is false if there is no room for it; an empty
// stage has room for stageCopy bytes.
func (g *stage) copy(p []byte) (copied []byte, ok bool) {
	if g.copied == nil {
		g.copied = make([]byte, 0, stageCopy)
	}
	at := len(g.copied)
	if at+len(p) > cap(g.copied) {
		return nil, false
	}
	g.copied = append(g.copied, p...)
	return g.copied[at:], true
}

// add stages a send. It returns whether the stage is full then.
func (g *stage) add(slot uint32, fd int32, p Payload, class Class) (full bool) {
	g.sends[g.n] = stagedSend{slot, class, p}
	g.ring.prepare(g.n, fd, p.bytes)
	g.n++
	g.bytes += len(p.bytes)
	return g.n == stageSends || g.bytes >= stageBytes
}

// submit empties the stage. Of its n sends the kernel has carried out the first
// taken ones (see result); the others are for the caller to send. sends and the
// bytes that were copied stay until the next send is staged.
func (g *stage) submit() (n, taken int) {
	n = g.n
	g.n, g.bytes, g.copied = 0, 0, g.copied[:0]
	if n == 1 {
		return n, 0 // a system call of its own is cheaper
	}
	taken, e := g.ring.submit(g.results[:n])
	if e != 0 {
		g.opt.Log.Warn("io_uring failed; every send is a system call of its own from now on", zap.Int("shard", g.shard), zap.Error(e))
		g.closeRing()
	}
	return n, taken
}

// result returns what the i-th send of the last submission returned.
func (g *stage) result(i int) (n int, e syscall.Errno) {
	r := g.results[i]
	return max(int(r), 0), syscall.Errno(max(-r, 0))
}

// openRing makes the ring at the first use, on the shard's own thread.
func (g *stage) openRing() bool {
	if g.tried || g.opt.NoRing {
		return false
	}
	g.tried = true
	ring, err := newUring(g.opt.Memory.Owner("io_uring"), stageSends)
	if err != nil {
		g.missing.Do(func() {
			g.opt.Log.Warn("io_uring is not available", zap.Error(err),
				zap.String("effect", "a fan-out makes a system call for each connection instead of one for many"),
				zap.String("fix", "belfry doctor shows what forbids it; set fanout.io_uring: off to silence this warning"))
		})
		return false
	}
	g.ring = ring
	g.ringed.Store(true)
	return true
}

// closeRing gives the ring back. Sends are system calls of their own then.
func (g *stage) closeRing() {
	if g.ring != nil {
		g.ring.close()
		g.ring = nil
		g.ringed.Store(false)
	}
}
