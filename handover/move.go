package handover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"go.uber.org/zap"

	"belfry/message"
)

// move hands over what can move now. It ends when every shard has said what is left.
func (t *transfer) move() error {
	t.moving = true
	t.log.Info("hot restart: sessions move")
	t.opt.Node.Begin()
	t.opt.Sessions.HandOver(t)
	if _, err := t.wait(t.emptied, 0, t.opt.Limits.Finish, "in which no session moved"); err != nil {
		return err
	}
	return t.at(OldEmpty)
}

// overlap has the successor join the bus, where it cannot be handed over as it is. Most
// sessions are there by now, and so are their topics.
func (t *transfer) overlap() error {
	token, err := t.opt.Node.Overlap()
	if err != nil || token == "" {
		return err
	}
	if err := t.c.write(kindOverlap, []byte(token)); err != nil {
		return broken(err)
	}
	if _, err := t.await(kindOverlaps, t.opt.Limits.Export, "to join the bus"); err != nil {
		return err
	}
	return t.at(OldOverlap)
}

// finish hands over the rest: the node accepts nobody any more.
func (t *transfer) finish() error {
	if err := t.during(t.opt.Limits.Finish, "for the sessions that were busy", t.opt.Sessions.FinishHandOver); err != nil {
		return err
	}
	return t.at(OldFinish)
}

// export hands over the state of the node.
func (t *transfer) export() error {
	var h *Heritage
	err := t.during(t.opt.Limits.Export, "(the old process) for the state of the node", func(ctx context.Context) (err error) {
		h, err = t.opt.Node.Export(ctx)
		t.link.publishing.Wait() // the node refuses by now
		return err
	})
	if err != nil {
		if h != nil {
			CloseAll(h.FDs)
		}
		return err
	}
	// The successor must not deliver messages of its own bus before those that were
	// forwarded.
	for _, s := range t.streams {
		err = errors.Join(err, s.put(item{kind: kindFence}))
	}
	if err != nil {
		CloseAll(h.FDs)
		return err
	}
	err = t.c.write(kindHeritage, mustJSON(h), h.FDs...)
	CloseAll(h.FDs)
	if err != nil {
		return broken(err)
	}
	if err := t.at(OldExport); err != nil {
		return err
	}
	if _, err := t.await(kindPrepared, t.opt.Limits.Export, "for the state of the node"); err != nil {
		return err
	}
	return t.at(OldPrepare)
}

// commit lets the successor serve. From here on this process serves nothing, but it
// keeps everything until the successor serves: if the successor dies before, this
// process goes on.
func (t *transfer) commit() error {
	t.committed.Store(true)
	if err := t.c.write(kindCommit, nil); err != nil {
		return broken(err)
	}
	if err := t.at(OldCommit); err != nil {
		return err
	}
	_, err := t.await(kindCommitted, t.opt.Limits.Commit, "to serve")
	return err
}

// leave ends the hand-over: the successor serves.
func (t *transfer) leave() Result {
	_ = t.at(OldServed)
	t.opt.Sessions.CommitHandOver()
	t.opt.Node.Leave(t.pid)
	r := t.result(Served)
	t.log.Info("hot restart: the successor serves; this process ends", zap.Int("sessions", r.Sessions), zap.Duration("took", r.Took), zap.Duration("longest_silence", r.Silence))
	return r
}

func (t *transfer) result(o Outcome) Result {
	return Result{Outcome: o, PID: t.pid, Sessions: int(t.handed.Load()), Took: time.Since(t.began), Silence: time.Duration(t.silence.Load())}
}

// Batch implements Outgoing.
func (t *transfer) Batch(b *Batch) {
	s := t.streams[b.Shard]
	s.departed(t.lived.now(), b.Sessions)
	if err := s.put(item{batch: b}); err != nil {
		t.fail(err)
	}
}

// Message implements Outgoing.
func (t *transfer) Message(shard int, m *message.Message) {
	if err := t.streams[shard].put(item{message: m}); err != nil {
		t.fail(err)
	}
}

// Empty implements Outgoing.
func (t *transfer) Empty(shard, left int) {
	if t.left[shard].Swap(int64(left)) < 0 && t.unknown.Add(-1) == 0 {
		close(t.emptied)
	}
}

// readStream reads what the successor says in the stream of a shard.
func (t *transfer) readStream(s *stream) error {
	for {
		f, err := s.c.read()
		if err != nil {
			if t.committed.Load() && errors.Is(err, io.EOF) {
				return nil // it serves, and needs the stream no more; or the control connection ends too
			}
			return broken(err)
		}
		if err := t.fromStream(s, &f); err != nil {
			return err
		}
	}
}

func (t *transfer) fromStream(s *stream, f *frame) error {
	if f.kind == kindBatch {
		b, err := parseBatch(s.shard, f)
		if err == nil {
			s.returned(b)
		}
		return err
	}
	CloseAll(f.fds)
	switch f.kind {
	case kindImported:
		return t.acknowledged(s, f.payload)
	case kindEnded:
		ids, err := parseIDs(f.payload)
		if err == nil {
			t.opt.Sessions.Ended(s.shard, ids)
		}
		return err
	case kindSent:
		numbers, err := parseNumbers(f.payload)
		if err == nil {
			t.opt.Sessions.Sent(s.shard, numbers)
		}
		return err
	case kindReturned:
		s.returnedAll()
		return nil
	}
	return fmt.Errorf("handover: a frame of kind %d in a stream", f.kind)
}

// acknowledged says that a batch is served by the successor.
func (t *transfer) acknowledged(s *stream, payload []byte) error {
	batch, err := number(payload)
	if err != nil {
		return err
	}
	sessions, silent := s.arrived()
	t.handed.Add(int64(sessions))
	t.progress.Store(int64(t.lived.now()))
	for {
		was := t.silence.Load()
		if int64(silent) <= was || t.silence.CompareAndSwap(was, int64(silent)) {
			break
		}
	}
	t.opt.Sessions.Imported(s.shard, batch)
	return t.opt.Fault.at(OldAck)
}

// readControl reads the control connection: what sessions in the successor need of the
// bus it answers, the rest is for run.
func (t *transfer) readControl() {
	for {
		f, err := t.c.read()
		if err != nil {
			t.fail(broken(err))
			return
		}
		if t.link.serve(&f) {
			CloseAll(f.fds)
			continue
		}
		select {
		case t.frames <- f:
		default: // a peer that sends what nobody awaits
			CloseAll(f.fds)
			t.fail(fmt.Errorf("handover: too many control frames (kind %d)", f.kind))
			return
		}
	}
}

// restart serves belfry restart.
func (o *Old) restart(c *conn, payload []byte) {
	var q Request
	if err := json.Unmarshal(payload, &q); err != nil {
		return
	}
	o.asking.Add(1)
	defer o.asking.Done()
	r := o.Restart(q.Binary, func(p Progress) { _ = c.write(kindProgress, mustJSON(&p)) })
	_ = c.write(kindDone, mustJSON(&r))
}
