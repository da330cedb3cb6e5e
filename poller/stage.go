package poller

import (
	"slices"
	"syscall"

	"go.uber.org/zap"
)

// Bounds of what is staged: a batch takes about as long as a chunk.
const (
	stageSends = 64
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
	results [stageSends]int32
	n       int
	bytes   int
	sent    int // without a ring: since Stage last returned true
}

// Stage is Send for many connections in a row: where the kernel has io_uring,
// it collects sends and submits them as one system call, which costs about two
// thirds (docs/adr/0007-io-uring.md). What becomes of a send that was not
// simply sent or queued goes to Handler.OnSendFailed. It returns whether it is
// time to look at Expired.
//
// What is staged is submitted before the turn ends and before anything else is
// done to one of its connections.
func (s *Shard) Stage(slot uint32, b *Batch) (pause bool) {
	g := &s.stage
	if g.ring == nil && !s.openRing() {
		s.report(slot, s.Send(slot, b))
		g.sent++
		if g.sent%16 == 0 {
			g.sent = 0
			return true
		}
		return false
	}
	c := s.at(slot)
	if c.queue != 0 || c.flags&(flagDead|flagFinish|flagStaged) != 0 {
		s.report(slot, s.Send(slot, b))
		return false
	}
	g.batches[g.n] = b
	return s.put(slot, c, b.b)
}

// StageBytes is to SendBytes what Stage is to Send.
func (s *Shard) StageBytes(slot uint32, p []byte) {
	g := &s.stage
	c := s.at(slot)
	if c.queue != 0 || c.flags&(flagDead|flagFinish|flagStaged) != 0 || len(p) > stageCopy || g.ring == nil && !s.openRing() {
		s.report(slot, s.SendBytes(slot, p))
		return
	}
	if len(g.copied)+len(p) > cap(g.copied) {
		s.Submit()
		g.copied = slices.Grow(g.copied[:0], stageCopy)
	}
	at := len(g.copied)
	g.copied = append(g.copied, p...)
	g.copies[g.n] = g.copied[at:]
	s.put(slot, c, g.copies[g.n])
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
	taken := g.ring.submit(g.results[:n])
	failed := false
	for i, slot := range g.slots[:n] {
		c := s.at(slot)
		c.flags &^= flagStaged
		sent, e := 0, syscall.EAGAIN // what was not taken up waits for EPOLLOUT, which comes at once
		if i < taken {
			sent, e = max(int(g.results[i]), 0), syscall.Errno(max(-g.results[i], 0))
		}
		r := s.outcome(slot, c, i, sent, e)
		g.results[i] = int32(r)
		failed = failed || r > Queued
	}
	s.handler.OnSubmitted()
	if !failed {
		return
	}
	// Told when nothing is staged any more, and from copies: the handler may
	// send again.
	slots, results := g.slots, g.results
	for i, slot := range slots[:n] {
		s.report(slot, SendResult(results[i]))
	}
}

// outcome draws the consequences of the i-th send of a batch.
func (s *Shard) outcome(slot uint32, c *conn, i, sent int, e syscall.Errno) SendResult {
	b := s.stage.batches[i]
	if b == nil {
		return s.settleBytes(slot, c, s.stage.copies[i], sent, e, false)
	}
	s.stage.batches[i] = nil
	return s.settle(slot, c, b, sent, e)
}

func (s *Shard) report(slot uint32, r SendResult) {
	if r > Queued {
		s.handler.OnSendFailed(slot, r)
	}
}

// openRing makes the ring at the first use, on the shard's own thread.
func (s *Shard) openRing() bool {
	if s.stage.tried || s.opt.NoRing {
		return false
	}
	s.stage.tried = true
	ring, err := newUring(stageSends)
	if err != nil {
		if s.index == 0 {
			s.opt.Log.Info("sends are system calls of their own", zap.Error(err))
		}
		return false
	}
	s.stage.ring = ring
	s.ringed.Store(true)
	return true
}
