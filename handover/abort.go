package handover

import (
	"errors"
	"time"

	"go.uber.org/zap"
)

// abort takes everything back: this process goes on.
func (t *transfer) abort(cause error) Result {
	outcome := Aborted
	var refusal *Refusal
	if errors.As(cause, &refusal) {
		outcome = Refused
		_ = t.c.write(kindRefusal, mustJSON(refusal))
	}
	r := t.result(outcome)
	r.Error = cause.Error()
	if !t.moving {
		t.log.Error("hot restart: not done; this process goes on, no session has moved", zap.String("step", string(t.step)), zap.Error(cause))
		t.dismiss(cause)
		return r
	}
	// A successor that is dead or hangs gives nothing back.
	t.soft = !errors.Is(cause, errBroken) && !errors.Is(cause, errLate) && !t.committed.Load()
	t.log.Error("hot restart: taken back; this process goes on", zap.String("step", string(t.step)), zap.Bool("successor_gives_back", t.soft), zap.Error(cause))
	back := t.opt.Sessions.AbortHandOver(func(shard int) []*Batch { return t.returned(shard, cause) }, t.touched)
	r.Resumed, r.Closed, r.Again, r.Lost = back.Resumed, back.Closed, back.Again, back.Lost
	t.asked.Do(func() { t.askBack(cause) }) // there was no shard that wanted to know
	t.dismiss(cause)
	t.opt.Node.Resume()
	t.link.end()
	if err := t.opt.Socket.restore(); err != nil { // the successor may have replaced it
		t.log.Error("hot restart: this process cannot be restarted hot any more", zap.Error(err))
	}
	t.log.Warn("hot restart: this process serves again", zap.Int("handed_over", r.Sessions), zap.Int("resumed", r.Resumed), zap.Int("closed", r.Closed), zap.Int("messages_sent_again", r.Again), zap.Int("messages_lost", r.Lost), zap.Duration("took", time.Since(t.began)))
	r.Took = time.Since(t.began)
	return r
}

// askBack asks the successor to give all sessions back, or kills it.
func (t *transfer) askBack(cause error) {
	if !t.soft {
		t.kill()
		return
	}
	if err := t.c.write(kindAbort, []byte(cause.Error())); err != nil {
		t.kill()
		return
	}
	for _, s := range t.streams {
		if err := s.put(item{kind: kindReturn}); err != nil {
			t.kill()
			return
		}
	}
}

// touched says whether a successor that has died had read or changed a session.
func (t *transfer) touched(shard int, slot uint32) bool {
	marks := t.marks.Of(shard)
	return int(slot) < len(marks) && marks[slot] != 0
}

// returned returns what the successor gives back of a shard. Afterwards it uses no
// socket of the shard: it has given all back, or it is dead.
func (t *transfer) returned(shard int, cause error) []*Batch {
	t.asked.Do(func() { t.askBack(cause) })
	s := t.streams[shard]
	if t.soft {
		begin := t.lived.now()
		for waits := true; waits; {
			select {
			case <-s.backReady:
				waits = false
			case <-t.lived.each:
				// The process may have died after it was asked.
				if waits = t.lived.now()-begin < t.opt.Limits.Return && !t.process.ended(0); !waits {
					t.kill()
				}
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	back := s.back
	s.back = nil
	return back
}

// returned keeps a batch that comes back, and returnedAll says that it was the last.
func (s *stream) returned(b *Batch) {
	CloseAll(b.FDs) // this process has its own copies
	b.FDs = nil
	s.mu.Lock()
	s.back = append(s.back, b)
	s.mu.Unlock()
}

func (s *stream) returnedAll() {
	s.mu.Lock()
	was := s.backAll
	s.backAll = true
	s.mu.Unlock()
	if !was {
		close(s.backReady)
	}
}

// leaveTime is how long a successor that was refused may take to end by itself. It
// closes thousands of sockets meanwhile.
const leaveTime = 3 * time.Second

// dismiss ends the successor, which serves nothing any more. One that has got nothing is
// left alone.
func (t *transfer) dismiss(cause error) {
	if !t.given {
		_ = t.c.write(kindAbort, []byte(cause.Error()))
		return
	}
	t.asked.Do(func() { _ = t.c.write(kindAbort, []byte(cause.Error())) })
	t.c.close()
	if errors.Is(cause, errLate) || !t.process.ended(leaveTime) {
		t.kill()
	}
}

// kill ends the successor, so that no socket has two owners.
func (t *transfer) kill() {
	t.killed.Do(func() {
		if t.process.ended(0) {
			return
		}
		t.log.Warn("hot restart: the successor is killed, since it may still use connections")
		if err := t.process.kill(); err != nil {
			t.log.Error("hot restart: two processes may use the same connections: kill the successor", zap.Error(err))
		}
	})
}
