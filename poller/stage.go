package poller

import (
	"sync"
	"sync/atomic"
	"syscall"

	"go.uber.org/zap"
)

// Limits of what is staged. A submission takes less time than a chunk.
const (
	stageSends = 32
	stageBytes = 128 << 10
	stageCopy  = 16 << 10 // bytes that are copied
)

// stage collects sends to several connections, which are then submitted to the
// kernel with one system call (docs/adr/0007-io-uring.md). Without io_uring it
// stays empty.
type stage struct {
	ring    *uring // nil: sends cannot be staged
	tried   bool   // making the ring was tried
	opt     *Options
	shard   int         // for the log
	missing *sync.Once  // logs once for the loop that there is no io_uring
	ringed  atomic.Bool // ring is not nil; other goroutines read it

	n       int // staged sends
	bytes   int // of all staged sends
	sends   [stageSends]stagedSend
	results [stageSends]int32 // of the last submission
	copied  []byte            // capacity stageCopy; never moves while sends are staged
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

// copy copies p into the stage. ok is false if there is no room. An empty stage has
// room for stageCopy bytes.
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

// add stages a send, and says whether the stage is full now.
func (g *stage) add(slot uint32, fd int32, p Payload, class Class) (full bool) {
	g.sends[g.n] = stagedSend{slot, class, p}
	g.ring.prepare(g.n, fd, p.bytes)
	g.n++
	g.bytes += len(p.bytes)
	return g.n == stageSends || g.bytes >= stageBytes
}

// submit submits the n staged sends and empties the stage. The kernel has done the
// first taken ones (see result); the caller must do the others. sends and the
// copied bytes are valid until the next send is staged.
func (g *stage) submit() (n, taken int) {
	n = g.n
	g.n, g.bytes, g.copied = 0, 0, g.copied[:0]
	if n == 1 {
		return n, 0 // a single send is cheaper without the ring
	}
	taken, e := g.ring.submit(g.results[:n])
	if e != 0 {
		g.opt.Log.Warn("io_uring failed; every send is a system call of its own from now on", zap.Int("shard", g.shard), zap.Error(e))
		g.closeRing()
	}
	return n, taken
}

// result returns how many bytes send i of the last submission took, or its error.
func (g *stage) result(i int) (n int, e syscall.Errno) {
	r := g.results[i]
	return max(int(r), 0), syscall.Errno(max(-r, 0))
}

// openRing makes the ring at its first use, because the ring belongs to the thread
// that makes it. It returns false if there is no ring.
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

// closeRing gives the ring back. Sends cannot be staged any more.
func (g *stage) closeRing() {
	if g.ring != nil {
		g.ring.close()
		g.ring = nil
		g.ringed.Store(false)
	}
}
