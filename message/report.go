package message

import (
	"sync/atomic"
	"time"
)

// Outcome is what became of a message for one session.
type Outcome uint8

const (
	OutcomeWritten Outcome = iota // the kernel took all of it
	OutcomeBridged                // what stands between belfry and the client (TLS) took all of it
	OutcomeQueued                 // it waits behind a slow reader
	OutcomeBacklog                // dropped: the backlog is full
	OutcomeClosed                 // dropped: the connection was ending
	OutcomeCount
)

// ReportRequest is what the publisher of a message wants to know of every node.
type ReportRequest struct {
	Node uint32        // the publisher's node, which awaits the reports
	Wait time.Duration // how long it awaits them
	Ack  bool          // clients are asked to acknowledge the message
}

// Report counts what becomes of a message on one node. Its methods may be called from
// any goroutine. Deliveries are counted with Begin and End, so that the report is
// complete when the message, all parts of it if there are several, has been given to
// every session of the node.
type Report struct {
	ReportRequest

	changed  func(*Report)
	counts   [OutcomeCount]atomic.Int64
	asked    atomic.Int64
	acked    atomic.Int64
	open     atomic.Int64 // deliveries in progress, and one until Seal
	lost     atomic.Bool
	forsaken atomic.Bool
}

// NewReport makes a report. changed is called when the report is complete, and then
// after each acknowledgement. It must not block: a shard may call it. It may be nil.
func NewReport(q ReportRequest, changed func(*Report)) *Report {
	r := &Report{ReportRequest: q, changed: changed}
	r.open.Store(1)
	return r
}

// Begin counts a delivery that begins, and End one that is done.
func (r *Report) Begin() { r.open.Add(1) }

// End is the reverse of Begin.
func (r *Report) End() {
	if r.open.Add(-1) == 0 {
		r.tell()
	}
}

// Seal says that no further delivery will begin. It is called once.
func (r *Report) Seal() { r.End() }

// Complete says whether the message has been given to every session.
func (r *Report) Complete() bool { return r.open.Load() <= 0 }

// Add counts n sessions with an outcome.
func (r *Report) Add(o Outcome, n int) {
	if n != 0 {
		r.counts[o].Add(int64(n))
	}
}

// Count returns the number of sessions with an outcome. It is final when the report is
// complete.
func (r *Report) Count(o Outcome) int64 { return r.counts[o].Load() }

// Ask counts a session that was asked to acknowledge the message.
func (r *Report) Ask() { r.asked.Add(1) }

// Acknowledge counts a session that has acknowledged it. The caller calls it once for
// each session.
func (r *Report) Acknowledge() {
	r.acked.Add(1)
	if r.Complete() {
		r.tell()
	}
}

// Acks returns how many sessions were asked to acknowledge the message, and how many
// have done it.
func (r *Report) Acks() (asked, acked int64) { return r.asked.Load(), r.acked.Load() }

// Lose says that the message, or a part of it, did not get to the sessions of this node.
func (r *Report) Lose() { r.lost.Store(true) }

// Lost says whether Lose was called.
func (r *Report) Lost() bool { return r.lost.Load() }

// Forsake says that nobody awaits the report any more.
func (r *Report) Forsake() { r.forsaken.Store(true) }

// Forsaken says whether Forsake was called.
func (r *Report) Forsaken() bool { return r.forsaken.Load() }

func (r *Report) tell() {
	if r.changed != nil {
		r.changed(r)
	}
}
