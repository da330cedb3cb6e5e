package session

import (
	"belfry/message"
	"belfry/poller"
)

// acks are the acknowledgements that a shard awaits from its sessions, for messages
// whose publishers want to know (message.Report.Ack). Options.MaxAcks bounds them.
// Owned by the shard.
type acks struct {
	env
	awaited map[string]*awaitedAcks // by message id; nil: none
}

// awaitedAcks are the sessions that have not acknowledged one message.
type awaitedAcks struct {
	report   *message.Report
	sessions map[poller.ID]struct{}
}

// expect awaits that a session acknowledges a message. Beyond Options.MaxAcks it does
// not: then the session is not among those that were asked.
func (a *acks) expect(id poller.ID, msg string, r *message.Report) {
	if a.srv.acks.Add(1) > int64(a.opt.MaxAcks) {
		a.srv.acks.Add(-1)
		a.counters.limit(limitAcks)
		return
	}
	if a.awaited == nil {
		a.awaited = map[string]*awaitedAcks{}
	}
	w := a.awaited[msg]
	if w == nil {
		w = &awaitedAcks{r, map[poller.ID]struct{}{}}
		a.awaited[msg] = w
	}
	w.sessions[id] = struct{}{}
	r.Ask()
}

// got takes the acknowledgement of a session. It counts once, and only if the session
// was asked; any other is ignored, because it may be late.
func (a *acks) got(slot uint32, msg string) {
	w := a.awaited[msg]
	if w == nil {
		return
	}
	id := a.ps.ID(slot)
	if _, asked := w.sessions[id]; !asked {
		return
	}
	delete(w.sessions, id)
	a.srv.acks.Add(-1)
	if len(w.sessions) == 0 {
		a.forget(msg)
	}
	w.report.Acknowledge()
}

// trim forgets messages whose publishers wait no longer.
func (a *acks) trim() {
	for msg, w := range a.awaited {
		if w.report.Forsaken() {
			a.srv.acks.Add(-int64(len(w.sessions)))
			a.forget(msg)
		}
	}
}

func (a *acks) forget(msg string) {
	if delete(a.awaited, msg); len(a.awaited) == 0 {
		a.awaited = nil
	}
}
