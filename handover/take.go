package handover

import (
	"encoding/binary"
	"fmt"

	"belfry/message"
)

// start starts the goroutines that read and write.
func (s *Successor) start() {
	s.workers.Add(2 + 2*len(s.streams))
	go func() { defer s.workers.Done(); s.readControl() }()
	go func() {
		defer s.workers.Done()
		if err := s.bus.out.write(func() error { return nil }); err != nil {
			s.fail(err)
		}
	}()
	for _, st := range s.streams {
		go func() {
			defer s.workers.Done()
			if err := st.write(func() error { return nil }); err != nil {
				s.fail(err)
			}
		}()
		go func() {
			defer s.workers.Done()
			s.fail(s.readStream(st)) // it returns when the stream has ended
		}()
	}
}

func (s *Successor) readControl() {
	defer close(s.controlRead)
	for {
		f, err := s.c.read()
		if err != nil {
			s.fail(err)
			return
		}
		if s.bus.serve(&f) {
			CloseAll(f.fds)
			continue
		}
		s.frames <- f // the old process sends a handful in all
	}
}

// readStream passes on what the old process sends to a shard, in order.
func (s *Successor) readStream(st *stream) error {
	for {
		f, err := st.c.read()
		if err != nil {
			return err
		}
		switch f.kind {
		case kindBatch:
			err = s.batch(st, &f)
		case kindMessage:
			err = s.message(st, &f)
		case kindFence:
			CloseAll(f.fds)
			if s.fenced.Add(1) == int64(len(s.streams)) {
				close(s.fences)
			}
		case kindReturn:
			CloseAll(f.fds)
			if s.returning.Add(1) == int64(len(s.streams)) {
				s.taker.SendBack(sendBack{s})
			}
		default:
			CloseAll(f.fds)
			err = fmt.Errorf("handover: a frame of kind %d in a stream", f.kind)
		}
		if err != nil {
			return err
		}
	}
}

func (s *Successor) batch(st *stream, f *frame) error {
	b, err := parseBatch(st.shard, f)
	if err != nil {
		return err
	}
	if err := s.opt.Fault.at(NewBatch); err != nil {
		CloseAll(b.FDs)
		return err
	}
	number, sessions := b.Number, b.Sessions
	s.taker.Import(b, func(err error) {
		if err != nil {
			s.giveUpOn(fmt.Errorf("shard %d cannot take over a batch: %w", st.shard, err))
			return
		}
		s.sessions.Add(int64(sessions))
		if err := s.opt.Fault.at(NewImported); err != nil {
			s.giveUpOn(err)
			return
		}
		s.say(st.shard, kindImported, binary.AppendUvarint(nil, number))
	})
	return nil
}

// giveUpOn tells the old process that it has to go on. It never blocks: a shard calls it.
func (s *Successor) giveUpOn(err error) {
	go func() { _ = s.c.write(kindAbort, []byte(err.Error())) }()
}

func (s *Successor) message(st *stream, f *frame) error {
	CloseAll(f.fds)
	m, err := parseMessage(f.payload)
	if err != nil {
		return err
	}
	s.taker.ImportMessage(st.shard, m)
	return s.opt.Fault.at(NewMessage)
}

// sendBack gives sessions back to the old process, which has copies of their
// descriptors.
type sendBack struct{ s *Successor }

// Batch implements Outgoing.
func (o sendBack) Batch(b *Batch) {
	back := *b
	back.FDs = nil
	if err := o.s.streams[b.Shard].put(item{batch: &back}); err != nil {
		o.s.fail(err)
	}
}

// Message implements Outgoing. The old process has the messages itself.
func (o sendBack) Message(int, *message.Message) {}

// Empty implements Outgoing: the shard has given everything back.
func (o sendBack) Empty(shard, left int) {
	o.s.say(shard, kindReturned, nil)
	if o.s.unsent.Add(-1) == 0 {
		close(o.s.sentBack)
	}
}
