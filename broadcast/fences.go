package broadcast

import (
	"slices"
	"time"
)

// fence is one that is not answered yet.
type fence struct {
	ref   uint64
	sent  uint64  // value of routes.sent then
	path  *relays // nil: direct
	last  uint64  // number of the last relay on it
	await []uint32
	until time.Time
}

// passedOn returns up to which push everything on a path has arrived.
func (r *routes) passedOn(path *relays) uint64 {
	if path == nil {
		return r.passed
	}
	return path.passed
}

// fenced reports whether everything on a path up to a push has arrived. If not, it
// makes sure that a fence follows it.
func (r *routes) fenced(path *relays, push uint64) bool {
	for _, f := range r.fences {
		if f.path == path && f.sent >= push {
			return false
		}
	}
	if f := r.await(path, r.out.nextEpoch()); len(f.await) == 0 {
		r.tickFences()
		return true
	} else if path == nil {
		r.out.fence(r.self, f.ref)
	} else {
		r.relay(path, part{special: relayFenceValue(f.ref)})
	}
	return false
}

// await begins to wait for the answers to a fence.
func (r *routes) await(path *relays, ref uint64) *fence {
	f := &fence{ref: ref, sent: r.sent, path: path, last: path.lastNumber(), until: r.now().Add(fenceWait)}
	for _, p := range r.out.present() {
		f.await = append(f.await, p.ID)
	}
	r.fences = append(r.fences, f)
	r.count.fences.Add(1)
	return f
}

// lastNumber returns the number of the last relay, 0 for the direct path.
func (s *relays) lastNumber() uint64 {
	if s == nil {
		return 0
	}
	return s.number
}

// end stops to use a home that is there. Pushes of its buckets wait for a fence, so that
// they do not overtake copies.
func (r *routes) end(s *relays, why string) {
	s.state, s.why = relaysEnding, why
	ref := s.epoch // the home has sent a fence with this number
	if why != "refused" {
		ref = r.out.nextEpoch()
	}
	if s.ending = r.await(s, ref); why != "refused" {
		r.relay(s, part{special: relayFenceValue(ref)})
	}
}

// pass records that everything before a fence has arrived.
func (r *routes) pass(f *fence) {
	if f.path == nil {
		r.passed = max(r.passed, f.sent)
		return
	}
	f.path.passed = max(f.path.passed, f.sent)
	if f.path.ending == f {
		r.close(f.path, f.path.why)
	}
}

// settle releases the pushes that wait for no fence any more.
func (r *routes) settle() {
	for b, q := range r.held {
		from := r.path[b]
		if from != nil && from.state == relaysClosed {
			from = nil
		}
		waits := q.full != nil && q.full.state == relaysOpen && len(q.full.kept) > r.window/2 ||
			slices.ContainsFunc(r.fences, func(f *fence) bool { return f.path == from && f.sent >= r.last[b] })
		if !waits {
			delete(r.held, b)
			r.urgent = append(r.urgent, q.parts...)
			if q.full != nil {
				q.full.waits -= len(q.parts)
			}
		}
	}
}

// answered records the answer of a node to a fence.
func (r *routes) answered(ref uint64, node uint32) {
	for _, f := range r.fences {
		if f.ref != ref {
			continue
		}
		if f.await = slices.DeleteFunc(f.await, func(id uint32) bool { return id == node }); len(f.await) == 0 {
			r.finish(f)
		}
		return
	}
}

// tickFences gives up fences that are overdue, and waits for no node that is gone.
func (r *routes) tickFences() {
	now, present := r.now(), r.out.present()
	var done []*fence
	for _, f := range r.fences {
		f.await = slices.DeleteFunc(f.await, func(id uint32) bool {
			return !slices.ContainsFunc(present, func(p Peer) bool { return p.ID == id })
		})
		if len(f.await) > 0 && now.Before(f.until) {
			continue
		}
		done = append(done, f)
	}
	for _, f := range done {
		r.finish(f)
	}
}

// overdue gives up a fence that a node does not answer, because it is slow or stopped. All
// pushes are direct for a while, as they are to a node of which nothing is known. Copies
// that have not reached the node yet would come too late: they are lost there.
func (r *routes) overdue(f *fence) {
	r.count.overdue.Add(1)
	r.calm = r.now().Add(reopenWait)
	if f.path == nil || f.path.state == relaysClosed {
		return
	}
	switch {
	case f.path.ending != nil: // closed when f has passed
	case len(f.path.kept) > 0: // the home does not confirm either
		r.close(f.path, "timeout")
	default:
		r.urgent = append([]part{{retire: origin{r.self, f.path.epoch, f.last}}}, r.urgent...)
	}
}

// finish ends the wait for a fence.
func (r *routes) finish(f *fence) {
	r.fences = slices.DeleteFunc(r.fences, func(other *fence) bool { return other == f })
	if len(f.await) > 0 {
		r.overdue(f)
	}
	if len(f.await) == 0 || f.path != nil {
		r.pass(f)
	}
	r.settle()
}
