package session

import (
	"math/bits"

	"belfry/message"
	"belfry/poller"
)

// tally counts what becomes of one delivery for message.Report. A delivery of a message
// without a report has none, and costs nothing.
//
// It counts the sessions that the message was sent to, and the poller tells it of those
// whose kernel did not take all of it: the others have it.
type tally struct {
	srv    *Server
	report *message.Report
	parts  []tallyPart // by shard
}

// tallyPart is what one shard has counted. Owned by the shard until the delivery is
// done there.
type tallyPart struct {
	sessions int
	bridged  int // of these, without those in unsent
	unsent   [poller.FateCount]int
}

// newTally returns the tally for a message, nil if it has no report.
func (s *Server) newTally(m *message.Message) *tally {
	if m.Report == nil {
		return nil
	}
	return &tally{srv: s, report: m.Report, parts: make([]tallyPart, len(s.shards))}
}

// Unsent implements poller.Watcher.
func (t *tally) Unsent(shard int, slot uint32, f poller.Fate) {
	part := &t.parts[shard]
	part.unsent[f]++
	if t.srv.shards[shard].ps.Adopted(slot) {
		part.bridged--
	}
}

// end adds the parts to the report. It is called once, when all shards are done.
func (t *tally) end() {
	var sum tallyPart
	for i := range t.parts {
		part := &t.parts[i]
		sum.sessions += part.sessions
		sum.bridged += part.bridged
		for f, n := range part.unsent {
			sum.unsent[f] += n
		}
	}
	unsent := &sum.unsent
	backlog := unsent[poller.FateDropped] + unsent[poller.FateRefused]
	written := sum.sessions - sum.bridged - unsent[poller.FateQueued] - backlog - unsent[poller.FateEnded]
	t.report.Add(message.OutcomeWritten, written)
	t.report.Add(message.OutcomeBridged, sum.bridged)
	t.report.Add(message.OutcomeQueued, unsent[poller.FateQueued])
	t.report.Add(message.OutcomeBacklog, backlog)
	t.report.Add(message.OutcomeClosed, unsent[poller.FateEnded])
	t.report.End()
}

// reached counts a session that a delivery with a tally was sent to. Called by the
// shard.
func (a *acks) reached(slot uint32, d *Delivery) {
	rec := a.rec(slot)
	if d.batch(rec.variant).Size() == 0 {
		return // its encoding has no words for the message, or panicked
	}
	part := &d.tally.parts[a.index]
	part.sessions++
	if a.ps.Adopted(slot) {
		part.bridged++
	}
	if d.tally.report.Ack && a.variantOf(rec).acks {
		a.expect(a.ps.ID(slot), d.Message.ID, d.tally.report)
	}
}

// runCounted is runChunk for a run with messages that have a tally.
func (p *fanoutRuns) runCounted() (done bool) {
	for n := 1; ; n++ {
		slot, ok := p.next(p.ps)
		if !ok {
			return true
		}
		mask, pause := p.visit(slot)
		for m := mask & p.counted; m != 0; m &= m - 1 {
			p.acks.reached(slot, p.current[bits.TrailingZeros64(m)].d)
		}
		if (pause || n%64 == 0) && p.ps.Expired() {
			return false
		}
	}
}
