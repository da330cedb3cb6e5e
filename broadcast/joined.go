package broadcast

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

// Join opens the connection to NATS of a held node before the process before ends, and
// subscribes to everything that the sessions here want. It is called after Start, when
// the sessions are here, with the token of the other process's Expect. What comes is kept
// until Take, up to Options.PendingBytes. After an error, and if there is no Take, the
// node must be closed.
func (n *Node) Join(ctx context.Context, token string) error {
	b := n.nats
	if b == nil || b.server != nil || !n.opt.Held || n.local.Load() == nil {
		return errors.New("bus: Join is for a node with an external NATS that was opened as held and has started")
	}
	if err := b.join(ctx, token); err != nil {
		return fmt.Errorf("bus: cannot join before the hand-over: %w", err)
	}
	return nil
}

// joined is what comes to a node that has joined and not taken over.
type joined struct {
	token  string
	resume chan struct{} // ends the pause of the goroutine that takes control messages
	end    chan struct{} // closed to end collect
	ended  chan struct{}
	bytes  int
	halves [2]joinedHalf
}

// joinedHalf is owned by collect until it has ended.
type joinedHalf struct {
	marked bool
	seen   chan struct{} // closed when the marker has come
	early  map[uint64]int
	kept   []*nats.Msg
}

func (b *NATS) join(ctx context.Context, token string) error {
	b.passing.mu.Lock()
	defer b.passing.mu.Unlock()
	switch {
	case b.stopped():
		return errClosed
	case b.nc != nil:
		return errors.New("it is connected already")
	}
	j := &joined{token: token, resume: make(chan struct{}), end: make(chan struct{}), ended: make(chan struct{})}
	for i := range j.halves {
		j.halves[i].seen, j.halves[i].early = make(chan struct{}), make(map[uint64]int)
	}
	if err := b.pause(ctx, b.pauses.control, j.resume, func() {}); err != nil {
		return err
	}
	b.passing.taking.Store(true) // up does nothing before Take
	if err := b.connect(); err != nil {
		return err
	}
	if !b.nc.IsConnected() {
		return fmt.Errorf("no connection to NATS: %w", b.nc.LastError())
	}
	b.passing.joined = j
	b.wg.Add(1)
	go b.collect(j)
	b.interest.subscribeAhead()
	if err := b.mark(token); err != nil {
		return err
	}
	for i := range j.halves {
		select {
		case <-j.halves[i].seen:
		case <-b.stop:
			return errClosed
		case <-ctx.Done():
			return fmt.Errorf("the marker has not come: %w", ctx.Err())
		}
	}
	return nil
}

// mark publishes the markers, over a connection of its own: what is published over the
// one of a node does not come back to it.
func (b *NATS) mark(token string) error {
	access, err := b.access()
	if err != nil {
		return err
	}
	nc, err := nats.Connect(strings.Join(b.opt.URLs, ","), append(access, nats.NoReconnect())...)
	if err != nil {
		return fmt.Errorf("connect to NATS for a marker: %w", err)
	}
	defer nc.Close()
	for _, subject := range []string{b.self, controlSubject(b.id)} {
		if err := nc.PublishMsg(&nats.Msg{Subject: subject, Header: nats.Header{headerProbe: {markerBegin + token}}}); err != nil {
			return fmt.Errorf("marker: %w", err)
		}
	}
	return nc.FlushTimeout(flushWait)
}

// collect keeps what comes, until Take.
func (b *NATS) collect(j *joined) {
	defer b.wg.Done()
	defer close(j.ended)
	for {
		in, commands := b.in, b.commands
		if j.bytes > b.opt.PendingBytes {
			in, commands = nil, nil // nats.go drops what comes, and counts it
		}
		select {
		case m := <-in:
			j.take(0, m)
		case m := <-commands:
			j.take(1, m)
		case <-j.end:
			return
		case <-b.stop:
			return
		}
	}
}

func (j *joined) take(half int, m *nats.Msg) {
	h := &j.halves[half]
	switch {
	case h.marked:
		h.kept = append(h.kept, m)
		j.bytes += m.Size()
	case isMarker(m, j.token):
		h.marked = true
		close(h.seen)
	case m.Header[headerSeq] == nil && m.Header[headerProbe] == nil:
		h.early[digest(j.token, m)]++
	}
}

// filter knows what the process before has received.
type filter struct {
	token         string
	self          uint32
	before, since map[uint64]int // of the process before
	early         map[uint64]int // of this one, before the marker
	until         time.Time
}

// drop reports whether a message is not to be delivered: the process before has received
// or published it.
func (f *filter) drop(m *nats.Msg) bool {
	if v := m.Header[headerNode]; len(v) == 1 && v[0] == nodeString(f.self) {
		return true
	}
	if m.Subject == subjectBeacon {
		if b, err := parseBeacon(m.Data); err == nil && b.node == f.self {
			return true
		}
	}
	if m.Header[headerSeq] != nil || m.Header[headerProbe] != nil {
		return false // the numbers tell
	}
	k := digest(f.token, m)
	switch {
	case f.since[k] > 0:
		f.since[k]--
		return true
	case f.before[k] == 1 && f.early[k] == 0: // the marker overtook it on the way to this process
		delete(f.before, k)
		return true
	}
	return false
}

// passes reports whether a message is to be handled, and ends the filter when nothing
// that the process before has received can come any more.
func passes(f **filter, m *nats.Msg, now time.Time) bool {
	if *f == nil {
		return true
	}
	if now.After((*f).until) {
		*f = nil
		return true
	}
	return !(*f).drop(m)
}

// replay handles what came since Join and the process before has not received. The
// goroutines that receive do not run.
func (b *NATS) replay(j *joined, s *overlapState) {
	close(j.end)
	<-j.ended
	if n := b.connection(); n > 0 {
		b.log.Warn("the connection to NATS broke before the hand-over: messages possibly lost", zap.Uint64("reconnects", n))
	}
	f := func(half int) *filter {
		return &filter{token: j.token, self: b.id, before: s.Before[half], since: s.Since[half], early: j.halves[half].early,
			until: b.opt.clock.now().Add(lateWait)}
	}
	b.receiver.late, b.lateCommands = f(0), f(1)
	for _, m := range j.halves[0].kept {
		b.receiver.handle(m)
	}
	for _, m := range j.halves[1].kept {
		b.commandHeard(m)
	}
	b.log.Info("taken over with a connection that overlapped", zap.Int("messages", len(j.halves[0].kept)))
	b.passing.joined = nil
	close(j.resume)
}
