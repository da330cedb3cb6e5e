package poller

import (
	"slices"
	"syscall"

	"go.uber.org/zap"
)

// Bounds of what is staged: a batch takes less than a chunk.
const (
	stageSends = 32
	stageBytes = 128 << 10
	stageCopy  = 16 << 10 // of bytes that StageBytes copies
)

// stage holds the sends of a batch until it is full or Submit is called.
type stage struct {
	ring    *uring // nil: every send is a system call of its own
	tried   bool   // to make the ring
	slots   [stageSends]uint32
	batches [stageSends]*Batch // nil: bytes of copied
	copies  [stageSends][]byte
	copied  []byte // grows up to stageCopy, never moves while something is staged

	kinds   [stageSends]bytesKind // of copies
	results [stageSends]int32
	n       int
	bytes   int
	sent    int // without a ring: since Stage last returned true
}

// bytesKind says how bytes that only one connection gets may have to wait.
type bytesKind struct {
	control bool // control frames, of which
	newest  int  // the one that begins here is to be sent
}

// Stage is Send for many connections in a row: where the kernel has io_uring,
// it collects sends and submits them as one system call, which costs about two
// thirds (docs/adr/0007-io-uring.md). What becomes of a send that was not
// simply sent or queued is told by Handler.OnSendFailed, later. It returns whether it is
// time to look at Expired.
//
// What is staged is submitted before the turn ends and before anything else is
// done to one of its connections.
func (s *Shard) Stage(slot uint32, b *Batch) (pause bool) {
	g := &s.stage
	if g.ring == nil && !s.openRing() {
		s.report(slot, s.Send(slot, b))
		g.sent++
		return g.sent%16 == 0
	}
	c := s.at(slot)
	if c.queue != 0 || c.flags&(flagsMute|flagStaged) != 0 {
		s.report(slot, s.Send(slot, b))
		return false
	}
	g.batches[g.n] = b
	return s.put(slot, c, b.b)
}

// StageBytes is to SendBytes what Stage is to Send.
func (s *Shard) StageBytes(slot uint32, p []byte) { s.stageBytes(slot, p, bytesKind{}) }

func (s *Shard) stageBytes(slot uint32, p []byte, kind bytesKind) {
	g := &s.stage
	c := s.at(slot)
	if c.flags&flagStaged != 0 {
		s.Submit() // what was staged goes first, and may have to wait
	}
	if c.queue != 0 || c.flags&flagsMute != 0 || len(p) > stageCopy || g.ring == nil && !s.openRing() {
		s.report(slot, s.sendKind(slot, c, p, kind))
		return
	}
	if len(g.copied)+len(p) > cap(g.copied) {
		s.Submit()
		g.copied = slices.Grow(g.copied[:0], stageCopy)
	}
	at := len(g.copied)
	g.copied = append(g.copied, p...)
	g.copies[g.n], g.kinds[g.n] = g.copied[at:], kind
	s.put(slot, c, g.copies[g.n])
}

// sendKind sends at once what cannot be staged.
func (s *Shard) sendKind(slot uint32, c *conn, p []byte, kind bytesKind) SendResult {
	switch {
	case !kind.control:
		return s.sendBytes(slot, p, false)
	case c.flags&flagsMute != 0:
		return SendError
	case c.queue != 0:
		return s.queueControl(slot, c, p[kind.newest:])
	}
	n, e := sysSend(c.fd, p)
	return s.settleControl(slot, c, p, n, e, kind.newest)
}

// put makes p the next send of the batch, which has room for it.
func (s *Shard) put(slot uint32, c *conn, p []byte) (full bool) {
	g := &s.stage
	c.flags |= flagStaged
	g.slots[g.n] = slot
	g.ring.prepare(g.n, c.fd, p)
	g.n++
	g.bytes += len(p)
	if g.n < stageSends && g.bytes < stageBytes {
		return false
	}
	s.Submit()
	return true
}

// Staged returns how many sends wait for Submit.
func (s *Shard) Staged() int { return s.stage.n }

// Submit sends what is staged.
func (s *Shard) Submit() {
	g := &s.stage
	n := g.n
	if n == 0 {
		return
	}
	g.n, g.bytes, g.copied = 0, 0, g.copied[:0]
	taken := 0
	if n > 1 { // one alone is cheaper without
		var e syscall.Errno
		if taken, e = g.ring.submit(g.results[:n]); e != 0 {
			s.dropRing(e)
		}
	}
	for i, slot := range g.slots[:n] {
		s.at(slot).flags &^= flagStaged
		if i < taken {
			s.outcome(i, max(int(g.results[i]), 0), syscall.Errno(max(-g.results[i], 0)))
		} else {
			sent, e := sysSend(s.at(slot).fd, g.payload(i))
			s.outcome(i, sent, e)
		}
		g.batches[i] = nil
	}
	s.handler.OnSubmitted()
}

func (g *stage) payload(i int) []byte {
	if b := g.batches[i]; b != nil {
		return b.b
	}
	return g.copies[i]
}

// outcome draws the consequences of the i-th send of a batch.
func (s *Shard) outcome(i, sent int, e syscall.Errno) {
	g := &s.stage
	slot := g.slots[i]
	c := s.at(slot)
	if b := g.batches[i]; b != nil {
		s.report(slot, s.settle(slot, c, b, sent, e))
		return
	}
	if kind := g.kinds[i]; kind.control {
		s.report(slot, s.settleControl(slot, c, g.copies[i], sent, e, kind.newest))
		return
	}
	s.report(slot, s.settleBytes(slot, c, g.copies[i], sent, e, false))
}

// failure is a send whose fate the handler has not been told yet.
type failure struct {
	id     ID
	result SendResult
}

// report keeps what became of a send for later: whoever sends is in the middle
// of something, often about another connection.
func (s *Shard) report(slot uint32, r SendResult) {
	if r > Queued {
		s.failed = append(s.failed, failure{s.ID(slot), r})
	}
}

// settled sends what is staged, tells what became of it and closes what is to
// be closed, as far as these lead to one another.
func (s *Shard) settled() {
	for range 3 {
		s.protect(0, s.Submit)
		for i := 0; i < len(s.failed); i++ { // may grow
			f := s.failed[i]
			if slot, ok := s.Lookup(f.id); ok {
				s.protect(f.id, func() { s.handler.OnSendFailed(slot, f.result) })
			}
		}
		s.failed = s.failed[:0]
		s.reap()
		if s.stage.n == 0 {
			return
		}
	}
}

// openRing makes the ring at the first use, on the shard's own thread.
func (s *Shard) openRing() bool {
	if s.stage.tried || s.opt.NoRing {
		return false
	}
	s.stage.tried = true
	ring, err := newUring(s.opt.Memory.Owner("io_uring"), stageSends)
	if err != nil {
		s.loop.ringless.Do(func() {
			s.opt.Log.Warn("no io_uring here", zap.Error(err),
				zap.String("costs", "a fan-out makes a system call for each connection instead of one for many"),
				zap.String("mend", "belfry doctor says what forbids it; fanout.io_uring: off does without and is silent"))
		})
		return false
	}
	s.stage.ring = ring
	s.ringed.Store(true)
	return true
}

// dropRing does without a ring that fails.
func (s *Shard) dropRing(e syscall.Errno) {
	s.opt.Log.Warn("io_uring fails; sends are system calls of their own from now on", zap.Int("shard", s.index), zap.Error(e))
	s.stage.ring.close()
	s.stage.ring = nil
	s.ringed.Store(false)
}
