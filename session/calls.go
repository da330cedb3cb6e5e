package session

import (
	"context"
	"errors"

	"belfry/poller"
)

var errFault = errors.New("session: a fault of belfry; the log has it")

// call is a function that another goroutine wants called for sessions of a shard. It
// says whether it has met the session.
type call func(h *shard, slot uint32) (met bool)

// callRun makes a call for some or all sessions of a shard, or takes a walk.
type callRun struct {
	walk   func(h *shard) (more bool) // one step of a walk, instead of a call
	call   call
	all    bool        // all sessions; else those in ids
	ids    []poller.ID // in the order of the calls
	cursor uint32      // next slot, or next place in ids
	met    int
	result chan<- int // has room
}

// calls are the runs of a shard that are not finished. Owned by the shard.
type calls struct {
	env
	runs []*callRun
}

// run goes on with the runs, for the time of a chunk, and says whether there is more to
// do. After a chunk another run has its turn, so that a long one delays no short one.
func (cs *calls) run(h *shard) (more bool) {
	for n := 1; len(cs.runs) > 0; n++ {
		r := cs.runs[0]
		if !cs.step(h, r) {
			r.result <- r.met
			cs.runs[0] = nil
			if cs.runs = cs.runs[1:]; len(cs.runs) == 0 {
				cs.runs = nil
			}
			continue
		}
		if n%16 == 0 && cs.ps.Expired() {
			cs.runs = append(cs.runs[1:], r)
			return true
		}
	}
	return false
}

// metFault is the result of a walk that panicked.
const metFault = -1

// step makes one call of a run, or takes one step of its walk. It returns false if there
// is none left.
func (cs *calls) step(h *shard, r *callRun) (more bool) {
	if r.walk != nil {
		r.met = metFault
		cs.ps.Protect(0, func() { more, r.met = r.walk(h), 0 })
		return more
	}
	slot, ok := cs.next(r)
	if ok && h.rec(slot).flags&flagSession != 0 {
		cs.ps.Protect(cs.ps.ID(slot), func() {
			if r.call(h, slot) {
				r.met++
			}
		})
	}
	return ok
}

// next returns the next slot of a run.
func (cs *calls) next(r *callRun) (slot uint32, ok bool) {
	if r.all {
		slot, ok = cs.ps.Next(r.cursor)
		r.cursor = slot + 1
		return slot, ok
	}
	for int(r.cursor) < len(r.ids) {
		r.cursor++
		if slot, ok = cs.ps.Lookup(r.ids[r.cursor-1]); ok {
			return slot, true
		}
	}
	return 0, false
}

// sessionsOf returns the sessions of a user, the youngest first.
func (us *users) sessionsOf(hash uint32, uid string) (ids []poller.ID) {
	for slot, ok := us.find(hash, []byte(uid)); ok; {
		ids = append(ids, us.ps.ID(slot))
		older := us.rec(slot).older
		slot, ok = older-1, older != 0
	}
	return ids
}

// onSession has a call made for a session of this node, and waits.
func (s *Server) onSession(ctx context.Context, sid string, c call) (met bool, err error) {
	n, mine := s.parseOwn(sid)
	if !mine {
		return false, nil
	}
	result := make(chan int, 1)
	err = s.begin(ctx, s.shards[n.Shard], func(*shard) *callRun {
		return &callRun{call: c, ids: []poller.ID{poller.ID(n.Conn)}, result: result}
	})
	if err != nil {
		return false, err
	}
	count, err := s.await(ctx, result, 1)
	return count > 0, err
}

// onUser has a call made for each session of a user on this node, waits, and
// returns how many it has met.
func (s *Server) onUser(ctx context.Context, uid string, c call) (met int, err error) {
	home, hash := s.homeOf(uid)
	result := make(chan int, 1)
	err = s.begin(ctx, s.shards[home], func(h *shard) *callRun {
		return &callRun{call: c, ids: h.users.sessionsOf(hash, uid), result: result}
	})
	if err != nil {
		return 0, err
	}
	return s.await(ctx, result, 1)
}

// onAll has a call made for each session of this node, waits, and returns how many
// it has met.
func (s *Server) onAll(ctx context.Context, c call) (met int, err error) {
	result := make(chan int, len(s.shards))
	for _, h := range s.shards {
		err := s.begin(ctx, h, func(*shard) *callRun { return &callRun{call: c, all: true, result: result} })
		if err != nil {
			return 0, err
		}
	}
	return s.await(ctx, result, len(s.shards))
}

// onEach has a shard or each shard take the steps of a walk, and waits. begin is called
// on the shard before the first step.
func (s *Server) onEach(ctx context.Context, shards []*shard, begin func(h *shard) (walk func(h *shard) (more bool))) error {
	result := make(chan int, len(shards))
	for _, h := range shards {
		err := s.begin(ctx, h, func(h *shard) *callRun { return &callRun{walk: begin(h), result: result} })
		if err != nil {
			return err
		}
	}
	_, err := s.await(ctx, result, len(shards))
	return err
}

// begin has a shard begin a run.
func (s *Server) begin(ctx context.Context, h *shard, begin func(h *shard) *callRun) error {
	return h.ps.PostControl(ctx, poller.Mail{Kind: mailCall, Ptr: func(h *shard) { h.calls.runs = append(h.calls.runs, begin(h)) }})
}

// await adds up the results of shards.
func (s *Server) await(ctx context.Context, result <-chan int, shards int) (sum int, err error) {
	for range shards {
		select {
		case n := <-result:
			if n == metFault {
				return sum, errFault
			}
			sum += n
		case <-ctx.Done():
			return sum, ctx.Err()
		case <-s.done:
			return sum, poller.ErrClosed
		}
	}
	return sum, nil
}
