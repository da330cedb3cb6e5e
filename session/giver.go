package session

import (
	"encoding/binary"
	"time"

	"belfry/message"
	"belfry/poller"
)

// Batch is some sessions of one shard on their way to another process.
type Batch struct {
	Shard    int
	Number   uint64 // 1, 2, … in each shard
	State    []byte
	FDs      []int // one for each session, in order
	Sessions int
}

// Outgoing takes what a shard gives away. A shard calls it on its own goroutine: no
// method blocks, and b and m may be kept, but not changed. Descriptors stay the shard's.
type Outgoing interface {
	Batch(b *Batch)
	// Message is a message for the sessions of the batches before it.
	Message(shard int, m *message.Message)
	// Empty says that nothing more can move now: left sessions cannot, yet. It is called
	// whenever left has changed.
	Empty(shard int, left int)
}

// giving hands the sessions of a shard over, batch by batch, while the others are served.
//
// The order of messages needs no marks, because batches and messages go the same way. A
// session leaves between two fan-out runs: what the shard has begun to send before, the
// session has or has in its backlog, and what it begins to send later is forwarded
// behind the batch. No run begins while a batch is on its way, so that a batch waits for
// no message.
//
// A session that has left keeps its slot and, in the record of the slot, the place of
// the state that was sent. Owned by the shard.
type giving struct {
	env
	h *shard

	out       Outgoing // nil: nothing is handed over
	batches   [][]byte // the states, by number - 1
	before    []uint64 // by number - 1: of the first message that its sessions have not got
	forwards  forwards
	waits     bool            // the last batch is not acknowledged
	finishing chan<- struct{} // gets a value when all have left; nil: not asked for. Sessions that cannot leave yet are paused
	hurried   bool            // those that cannot leave yet stay
	last      bool            // the last batch was sent
	recalling bool            // everything comes back: messages wait until it is there
	held      []*Delivery     // these messages
	backTo    Outgoing        // everything goes back there; nil: nothing does
	ticks     uint32          // of the head of the batch that is collected
	cursor    uint32          // next slot
	moved     bool            // some session has left, so messages are forwarded
	told      int             // left of the last Empty; -1: not called yet
	skipped   int             // sessions of this round that cannot leave yet
	wake      *time.Timer
	fields    []byte
}

// maxBatch is how many sessions leave in a batch: all descriptors of a batch travel in
// one message, of which the kernel permits 253 (SCM_MAX_FD, man 7 unix). Serializing
// this many takes less than a millisecond.
const maxBatch = 128

// retryLeaving is the pause after a round in which some sessions could not leave.
const retryLeaving = 20 * time.Millisecond

// start begins to hand over.
func (g *giving) start(out Outgoing) {
	if g.out != nil {
		return
	}
	*g = giving{env: g.env, h: g.h, out: out, told: -1, wake: time.AfterFunc(time.Hour, g.ps.Wake)}
	g.h.spreads.hurry()
	g.h.topics.keeps, g.h.users.keeps = true, true
	g.ps.Wake()
}

// holds says that no fan-out run may begin: sessions are on their way.
func (g *giving) holds() bool { return g.waits || g.recalling }

// run sends the next batch if it may.
func (g *giving) run() {
	if g.backTo != nil {
		g.sendBack()
		return
	}
	if g.out == nil || g.holds() || g.h.fanout.active || len(g.h.spreads.list) > 0 {
		return
	}
	b := g.collect()
	if b.Sessions > 0 {
		g.send(b)
		return
	}
	g.cursor = 0
	if g.finishing != nil && (g.skipped == 0 || g.hurried) {
		g.end(b)
		return
	}
	if g.skipped != g.told {
		g.told = g.skipped
		g.out.Empty(g.index, g.skipped)
	}
	if g.skipped > 0 {
		g.wake.Reset(retryLeaving)
	}
	g.skipped = 0
}

func (g *giving) send(b *Batch) {
	g.waits, g.moved = true, true
	g.batches, g.before = append(g.batches, b.State), append(g.before, g.forwards.next())
	g.out.Batch(b)
}

// end sends a last batch without sessions, which tells the clock and the generation, and
// says that the shard is empty when that was acknowledged.
func (g *giving) end(b *Batch) {
	if !g.last {
		g.last = true
		g.send(b)
		return
	}
	g.finishing <- struct{}{} // has room
	g.finishing = nil
}

// finish has ended get a value when all sessions have left.
func (g *giving) finish(ended chan<- struct{}) {
	if g.out == nil {
		ended <- struct{}{}
		return
	}
	g.finishing, g.cursor = ended, 0
	g.ps.Wake()
}

// collect makes a batch of the next sessions, for the time of a chunk. It is empty when
// it has come to the end.
func (g *giving) collect() *Batch {
	b := &Batch{Shard: g.index, Number: uint64(len(g.batches) + 1)}
	g.ticks = g.ps.Now()
	b.State = batchHead{g.ticks, g.ps.Generation()}.append(make([]byte, 0, 8<<10))
	if g.cursor == 0 {
		g.skipped = 0
	}
	for b.Sessions < maxBatch {
		slot, ok := g.ps.Next(g.cursor)
		if !ok {
			break
		}
		g.cursor = slot + 1
		switch g.ready(slot) {
		case leavesNever:
			continue
		case leavesLater:
			g.skipped++
			continue
		}
		if !g.leave(slot, b) {
			g.skipped++
		}
		if b.Sessions > 0 && b.Sessions%16 == 0 && g.ps.Expired() {
			break
		}
	}
	return b
}

// leaves says whether a connection can be handed over.
type leaves uint8

const (
	leavesNow leaves = iota
	leavesLater
	leavesNever // it ends here
)

func (g *giving) ready(slot uint32) leaves {
	rec := g.rec(slot)
	switch rec.state {
	case stateHead, stateProxy:
		if g.ps.Adopted(slot) {
			return leavesNever
		}
		return leavesNow
	case stateOpen:
	case stateAuth, stateJoin, stateLogin:
		return leavesLater
	default:
		return leavesNever
	}
	if g.ps.Adopted(slot) {
		return leavesNever // its other end is a goroutine of this process
	}
	if g.h.undecided(slot, rec) {
		if g.finishing != nil {
			g.ps.Pause(slot) // it asks for nothing more; unpause
		}
		return leavesLater
	}
	return leavesNow
}

// leave freezes a connection, appends its state to a batch and takes it out of the
// tables. Nobody is told that it has ended. It returns false if it cannot leave now.
func (g *giving) leave(slot uint32, b *Batch) bool {
	if !g.ps.Freezable(slot) {
		return false
	}
	rec := g.rec(slot)
	var it handed
	g.h.describe(slot, rec, &it)
	it.setMarks(rec)
	g.h.takeOut(slot, rec)
	c := g.ps.Freeze(slot)
	c.Paused = false // what kept it from being read stays here, or begins anew
	it.setConn(c)
	g.fields = it.append(g.fields[:0])
	b.State = binary.AppendUvarint(b.State, uint64(len(g.fields)))
	at := len(b.State)
	b.State = append(b.State, g.fields...)
	b.FDs = append(b.FDs, c.FD)
	b.Sessions++
	session := uint16(1)
	if it.state != handedOpen {
		session = 0
	}
	*rec = record{state: stateHanded, count: session, older: uint32(b.Number), newer: uint32(at), userHash: uint32(len(g.fields)), grant: g.ticks}
	return true
}

// setMarks and setConn add what the record and the poller know.
func (h *handed) setMarks(rec *record) {
	h.mark(markEcho, rec.flags&flagEcho != 0)
	h.mark(markPinged, rec.flags&flagPinged != 0)
}

func (h *handed) setConn(c poller.Handed) {
	h.conn = c
	h.mark(markCloseWrite, c.CloseWrite)
	h.mark(markAdopted, c.Adopted)
	h.mark(markLarge, c.Large)
}

func (h *handed) mark(m handedMarks, set bool) {
	if set {
		h.marks |= m
	}
}

// forward passes a message on that this shard has begun to send.
func (g *giving) forward(d *Delivery) {
	if g.moved {
		g.forwards.add(d.Message)
		g.out.Message(g.index, d.Message)
	}
}

// imported takes the acknowledgement of a batch.
func (g *giving) imported(batch uint64) {
	if g.out != nil && batch == uint64(len(g.batches)) {
		g.waits = false
		g.ps.Wake()
	}
}

// ended closes the copies of connections that the successor has closed.
func (g *giving) ended(ids []poller.ID) {
	for _, id := range ids {
		slot := id.Slot()
		if g.ps.Frozen(slot) && g.ps.ID(slot) == id {
			var it handed
			if g.kept(slot, &it) == nil && len(it.uid) > 0 {
				g.opt.Interest.LeaveUser(it.uid)
			}
			g.ps.Drop(slot)
			g.srv.handedEnded(&it)
		}
	}
}

// kept reads the state that was sent of a connection.
func (g *giving) kept(slot uint32, it *handed) error {
	rec := g.rec(slot)
	return it.parse(g.batches[rec.older-1][rec.newer:][:rec.userHash], rec.grant)
}

// commit closes the copies of all connections that have left. Those that have not are
// closed by Server.Shutdown.
func (g *giving) commit() {
	if g.out == nil {
		return
	}
	g.wake.Stop()
	for slot, ok := g.ps.Next(0); ok; slot, ok = g.ps.Next(slot + 1) {
		if g.ps.Frozen(slot) {
			if g.rec(slot).count > 0 {
				g.srv.sessions.Add(-1)
			}
			g.ps.Drop(slot)
			g.srv.connEnded()
		}
	}
	g.out, g.batches, g.before, g.waits, g.moved = nil, nil, nil, false, false
	g.forwards = forwards{}
}
