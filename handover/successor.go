package handover

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"belfry/message"
	"belfry/poller"
)

// SuccessorOptions are what a successor says of itself. Fault, Limits and Log may be
// zero.
type SuccessorOptions struct {
	Socket  string // the old process's control socket
	Facts   Facts
	Version string
	Limits  Limits
	Log     *zap.Logger
	Fault   Fault

	lowest, highest int // of the formats, for tests; 0: those of this program
}

// Successor is the process that takes over.
type Successor struct {
	opt     SuccessorOptions
	log     *zap.Logger
	c       *conn
	process *process // the old one
	streams []*stream
	bus     *remote
	marks   *Marks
	taker   Taker
	began   time.Time

	// In is what this process opens with.
	In *Inheritance

	sessions    atomic.Int64
	took        atomic.Int64 // ns, from Dial until it served
	returning   atomic.Int64 // streams in which everything was asked back
	failOnce    sync.Once
	failed      chan struct{} // closed at the first failure
	failure     error         // that one
	frames      chan frame
	controlRead chan struct{} // closed when the control connection has ended
	sentBack    chan struct{} // closed when every shard has given everything back
	unsent      atomic.Int64  // shards that have not
	fenced      atomic.Int64  // streams in which no message comes any more
	fences      chan struct{} // closed when that is all of them
	workers     sync.WaitGroup
}

// Dial asks the process at the control socket for what it serves. The error is a
// *Refusal if the two do not fit.
func Dial(o SuccessorOptions) (*Successor, error) {
	o.Limits.fill()
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.highest == 0 {
		o.lowest, o.highest = LowestFormat, HighestFormat
	}
	sock, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: o.Socket, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("--takeover %s: %w: is the process that serves alive, and control.socket of it the same?", o.Socket, err)
	}
	s := &Successor{opt: o, c: newConn(sock), began: time.Now(), failed: make(chan struct{}), frames: make(chan frame, 16), controlRead: make(chan struct{}), sentBack: make(chan struct{}), fences: make(chan struct{})}
	s.log = o.Log.With(zap.Int("pid", os.Getpid()))
	if err := s.ask(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// ask says hello and reads the answer.
func (s *Successor) ask() error {
	cred, err := peerOf(s.c.sock)
	if err != nil {
		return fmt.Errorf("handover: %w", err)
	}
	if s.process, err = openProcess(int(cred.Pid)); err != nil {
		return err
	}
	s.log = s.log.With(zap.Int("old", s.process.pid))
	if err := s.at(NewDial); err != nil {
		return err
	}
	h := hello{s.opt.lowest, s.opt.highest, s.opt.Version, os.Getpid(), s.opt.Facts}
	if err := s.c.write(kindHello, mustJSON(&h)); err != nil {
		return fmt.Errorf("handover: hello: %w", err)
	}
	_ = s.c.sock.SetReadDeadline(time.Now().Add(s.opt.Limits.Hello))
	f, err := s.c.read()
	if err != nil {
		return fmt.Errorf("handover: the process %d has not answered: %w", s.process.pid, err)
	}
	_ = s.c.sock.SetReadDeadline(time.Time{})
	if f.kind != kindInheritance {
		CloseAll(f.fds)
		return refused(&f)
	}
	if err := s.inherit(&f); err != nil {
		return err
	}
	s.bus = newRemote(s.c)
	s.log.Info("hot restart: takes over", zap.String("node", s.In.Node), zap.String("from_version", s.In.Version), zap.Int("format", s.In.Format))
	return s.at(NewInherit)
}

// refused returns the error in a frame that is no inheritance.
func refused(f *frame) error {
	switch f.kind {
	case kindRefusal:
		r := new(Refusal)
		if err := json.Unmarshal(f.payload, r); err != nil {
			return fmt.Errorf("handover: a refusal that cannot be read: %w", err)
		}
		return r
	case kindAbort:
		return fmt.Errorf("the process that serves goes on: %s", f.payload)
	}
	return fmt.Errorf("handover: a frame of kind %d instead of an inheritance", f.kind)
}

// inherit reads the inheritance and takes the streams out of its descriptors.
func (s *Successor) inherit(f *frame) error {
	in := new(Inheritance)
	if err := json.Unmarshal(f.payload, in); err != nil {
		CloseAll(f.fds)
		return fmt.Errorf("handover: the inheritance cannot be read: %w", err)
	}
	if in.Shards != s.opt.Facts.Shards || len(f.fds) != in.Shards+1+len(in.Files) {
		CloseAll(f.fds)
		return fmt.Errorf("handover: an inheritance with %d descriptors for %d shards and %d files", len(f.fds), in.Shards, len(in.Files))
	}
	in.FDs = f.fds[in.Shards+1:]
	s.In = in
	var err error
	if s.marks, err = openMarks(f.fds[in.Shards], in.Slots); err != nil {
		CloseAll(f.fds[:in.Shards])
		return err
	}
	for shard, fd := range f.fds[:in.Shards] {
		c, err := connOf(fd)
		if err != nil {
			CloseAll(f.fds[shard+1 : in.Shards])
			return err
		}
		s.streams = append(s.streams, newStream(c, shard))
	}
	s.unsent.Store(int64(in.Shards))
	return nil
}

// at says that a step is done.
func (s *Successor) at(step Step) error {
	s.log.Debug("hot restart", zap.String("step", string(step)))
	return s.opt.Fault.at(step)
}

func (s *Successor) fail(err error) {
	s.failOnce.Do(func() {
		s.failure = err
		close(s.failed)
	})
}

// Close ends the connections to the old process.
func (s *Successor) Close() {
	s.c.close()
	for _, st := range s.streams {
		st.close()
	}
	if s.bus != nil {
		s.bus.out.close()
		s.bus.end()
	}
	s.workers.Wait()
	if s.In != nil {
		CloseAll(s.In.FDs) // that no part has taken
		s.In.FDs = nil
	}
	if s.process != nil {
		s.process.close()
	}
}

// Run takes over the sessions and then the node. It returns nil when this process
// serves. After an error this process has to end; the old one goes on.
func (s *Successor) Run(t Taker, n Node) error {
	s.taker = t
	s.start()
	if err := s.at(NewOpen); err != nil {
		return s.giveUp(err)
	}
	if err := s.c.write(kindReady, nil); err != nil {
		return fmt.Errorf("handover: ready: %w", err)
	}
	if err := s.at(NewReady); err != nil {
		return s.giveUp(err)
	}
	for {
		select {
		case f := <-s.frames:
			if done, err := s.control(&f, n); done || err != nil {
				return err
			}
		case <-s.failed:
			return s.orphaned(s.failure, n)
		}
	}
}

// control does what the old process says. done says that this process serves.
func (s *Successor) control(f *frame, n Node) (done bool, err error) {
	switch f.kind {
	case kindOverlap:
		return false, s.overlap(string(f.payload), n)
	case kindHeritage:
		return false, s.prepare(f, n)
	case kindCommit:
		return true, s.serve(n)
	case kindAbort:
		return false, s.giveBack(string(f.payload))
	}
	CloseAll(f.fds)
	return false, s.giveUp(fmt.Errorf("handover: a frame of kind %d", f.kind))
}

// overlap joins the bus beside the old process.
func (s *Successor) overlap(token string, n Node) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.opt.Limits.Export)
	err := n.Overlap(ctx, token)
	cancel()
	if err == nil {
		err = s.at(NewOverlap)
	}
	if err != nil {
		return s.giveUp(err)
	}
	if err := s.c.write(kindOverlaps, nil); err != nil {
		s.fail(err) // see orphaned
	}
	return nil
}

// prepare takes the state of the node.
func (s *Successor) prepare(f *frame, n Node) error {
	h := new(Heritage)
	if err := json.Unmarshal(f.payload, h); err != nil || len(h.Files) != len(f.fds) {
		CloseAll(f.fds)
		return s.giveUp(fmt.Errorf("handover: the state of the node cannot be read: %v", err))
	}
	h.FDs = f.fds
	if err := s.at(NewHeritage); err != nil {
		return s.giveUp(err)
	}
	if err := n.Inherit(h); err != nil {
		return s.giveUp(err)
	}
	select {
	case <-s.fences:
	case <-s.failed:
		return nil // see orphaned
	}
	if err := s.c.write(kindPrepared, nil); err != nil {
		s.fail(err) // see orphaned
		return nil
	}
	if err := s.at(NewPrepared); err != nil {
		return s.giveUp(err)
	}
	return nil
}

// serve begins to serve; the old process does not any more.
func (s *Successor) serve(n Node) error {
	if err := s.at(NewCommit); err != nil {
		return s.giveUp(err)
	}
	if err := n.Serve(); err != nil {
		return s.giveUp(err)
	}
	s.bus.end()
	if err := s.at(NewServe); err != nil {
		return s.giveUp(err)
	}
	if err := s.c.write(kindCommitted, nil); err != nil {
		// The old process has ended, or it kills this one and goes on.
		if !s.process.ended(aloneTime) {
			return err
		}
		s.log.Warn("hot restart: the old process ended before it was told", zap.Error(err))
	}
	s.took.Store(int64(time.Since(s.began)))
	s.log.Info("hot restart: serves", zap.Int64("sessions", s.sessions.Load()), zap.Duration("took", time.Since(s.began)))
	return nil
}

// Taken returns how many sessions were taken over, and how long that took. Any goroutine,
// also after Close.
func (s *Successor) Taken() (sessions int64, took time.Duration) {
	return s.sessions.Load(), time.Duration(s.took.Load())
}

// Marks returns memory with a byte for each slot of a shard. What the taker writes there
// the old process reads if this one dies: not 0 means that it cannot go on with the
// session. The memory stays until this process ends.
func (s *Successor) Marks(shard int) []byte { return s.marks.Of(shard) }

// Ended says that a shard has closed connections that it took over.
func (s *Successor) Ended(shard int, ids []poller.ID) {
	s.say(shard, kindEnded, appendIDs(make([]byte, 0, 8*len(ids)), ids))
}

// Sent names messages that a shard was given and has sent.
func (s *Successor) Sent(shard int, numbers []uint64) {
	s.say(shard, kindSent, appendNumbers(nil, numbers))
}

// say never blocks. After the hand-over it does nothing.
func (s *Successor) say(shard int, k kind, payload []byte) {
	if err := s.streams[shard].put(item{kind: k, payload: payload}); err != nil {
		s.fail(err)
	}
}

// JoinTopic asks the old process for a topic's messages; see Predecessor. It returns
// false after the hand-over: then the node has a bus of its own.
func (s *Successor) JoinTopic(topic []byte, ready func()) bool { return s.bus.joinTopic(topic, ready) }

// LeaveTopic is the reverse.
func (s *Successor) LeaveTopic(topic []byte) bool { return s.bus.leaveTopic(topic) }

// Publish publishes a message of a client through the old process. ok is false after
// the hand-over.
func (s *Successor) Publish(m *message.Message, wait time.Duration) (err error, ok bool) {
	return s.bus.publish(m, wait)
}
