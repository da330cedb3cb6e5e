package broadcast

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"belfry/broadcast/line"
)

// Take makes a held node go on as the node whose HandOver returned h and fds, in another
// process that has ended its part. It takes the descriptors. It is called after Start.
// When it returns, every topic that was joined before is subscribed, and the node is
// ready as the one before was. With an embedded NATS server that has ports, Take waits
// up to ten seconds until the process before has freed them. If the node has joined before
// (Join), Take delivers what came since and the process before has not received. If h is
// nil the process before has died, and the node begins like one that was just started.
func (n *Node) Take(h *Heritage, fds []int) error {
	b := n.nats
	if h == nil && b != nil {
		h = &Heritage{Version: heritageVersion, Node: n.id, Name: n.opt.NodeName, Instance: newInstance(), Started: micros(b.opt.clock.now())}
	}
	switch {
	case b == nil || !n.opt.Held || n.local.Load() == nil:
		line.CloseAll(fds)
		return errors.New("bus: Take is for a node that was opened as held and has started")
	case h.Node != n.id:
		line.CloseAll(fds)
		return fmt.Errorf("bus: what was handed over is of node %s, and this is %s", h.Name, n.opt.NodeName)
	case h.Version != heritageVersion:
		line.CloseAll(fds)
		return fmt.Errorf("bus: the state handed over has version %d; this program reads %d", h.Version, heritageVersion)
	}
	if err := b.take(h, fds, func() { n.control.instance.Store(&h.Instance) }); err != nil {
		return fmt.Errorf("bus: cannot take over: %w", err)
	}
	return nil
}

func (b *NATS) take(h *Heritage, fds []int, begin func()) error {
	b.passing.mu.Lock()
	defer b.passing.mu.Unlock()
	if err := b.mayTake(h); err != nil {
		line.CloseAll(fds)
		return err
	}
	begin()
	now := b.opt.clock.now()
	b.adopt(h, now)
	inherits := h.Line != nil && len(fds) == 1
	if inherits {
		if err := b.passing.dialer.Inherit(h.Line, fds[0]); err != nil { // it goes on with a connection of its own
			b.log.Error("the connection to NATS was not handed over", zap.Error(err))
			inherits = false
		}
	} else {
		line.CloseAll(fds)
	}
	b.passing.taking.Store(true)
	defer b.passing.taking.Store(false)
	if b.passing.joined == nil {
		if err := b.openAfter(); err != nil {
			return err
		}
	}
	b.interest.takeOver(h, inherits, now)
	if inherits {
		b.release()
	}
	b.passing.taking.Store(false)
	b.reachable.Store(b.reachable.Load() || h.Reachable)
	if b.nc.IsConnected() {
		b.up(b.nc, false)
	}
	if b.interest.unconfirmed {
		b.interest.confirm()
	}
	if b.interest.relays != nil {
		b.overhears()
	}
	if j := b.passing.joined; j != nil {
		b.replay(j, h.Overlap)
	}
	b.receiver.refuseAgain()
	b.Beacon() // the last one was before the hand-over, and the intervals begin anew
	b.box.closeFor("")
	if b.server.ports() { // routes and clients have to connect to the new server first
		b.sender.resume = time.Now().Add(b.opt.ReconnectPause)
	}
	b.wg.Add(3)
	go b.sender.run()
	go b.interest.run()
	go b.receiver.run()
	if !b.nc.IsConnected() { // it broke, and down or up have run, or will
		b.connected.Store(false)
	}
	return nil
}

// mayTake returns an error if the bus cannot go on with h. The caller holds passing.mu.
func (b *NATS) mayTake(h *Heritage) error {
	j := b.passing.joined
	switch {
	case b.stopped():
		return errClosed
	case b.nc != nil && j == nil:
		return errors.New("taken over already")
	case j != nil && (h.Overlap == nil || h.Overlap.Token != j.token):
		return errors.New("what was handed over does not say what this node may have received too: call Expect before Join, and HandOver behind both")
	}
	return nil
}

// release makes the inherited connection go on.
func (b *NATS) release() {
	ctx, cancel := context.WithTimeout(context.Background(), flushWait)
	defer cancel()
	err := line.Written(ctx, b.nc)
	ended, err2 := b.passing.dialer.Current().Release()
	if err = errors.Join(err, err2); err != nil { // nats.go connects again
		b.log.Error("the connection to NATS broke when it was taken over", zap.Error(err))
	}
	b.log.Info("connection to NATS taken over", zap.Int("subscriptions_ended", ended))
}

// takeOver subscribes to everything that was recorded. What the process before was
// subscribed to keeps the instant of that, also over a new connection: what was missed
// meanwhile is lost, and is counted. It runs before run.
func (i *interest) takeOver(h *Heritage, inherits bool, now time.Time) {
	defer i.bus.faults.caught("subscriptions")
	had := h.subjects()
	i.mu.Lock()
	topics, fixed := i.takeAll(nil), i.fixed
	i.fixed = nil
	i.mu.Unlock()
	i.unconfirmed = !inherits
	subscribe := func(subject string) *nats.Subscription {
		if _, ok := had[subject]; !ok {
			i.unconfirmed = true
		}
		return i.subscribe(subject)
	}
	for _, subject := range fixed {
		subscribe(subject)
	}
	for _, t := range topics {
		t.sub = subscribe(subjectTopic + t.name)
	}
	if i.joinRelays() {
		i.unconfirmed = true
	}
	begun := now
	if _, ok := had[subjectAll]; ok && h.Begun != 0 {
		begun = instant(h.Begun)
	}
	topics, i.ahead = append(topics, i.ahead...), nil
	i.markTopics(topics, now) // nobody waits: a held node says that topics are ready
	i.mu.Lock()
	for _, t := range topics {
		if _, ok := had[subjectTopic+t.name]; ok {
			t.from = h.since(t.name, now)
		}
	}
	i.mu.Unlock()
	i.notify(i.begin(begun))
}

// subscribeAhead subscribes to everything that was recorded, before takeOver.
func (i *interest) subscribeAhead() {
	defer i.bus.faults.caught("subscriptions")
	i.mu.Lock()
	topics, fixed := i.takeAll(nil), i.fixed
	i.fixed = nil
	i.mu.Unlock()
	for _, subject := range fixed {
		i.subscribe(subject)
	}
	for _, t := range topics {
		t.sub = i.subscribe(subjectTopic + t.name)
	}
	i.ahead = topics
	i.joinRelays()
	i.confirm()
}

// takeAll appends all topics that are queued. The caller holds mu.
func (i *interest) takeAll(dst []*topic) []*topic {
	for _, l := range []*topicList{&i.shared, &i.queued} {
		for l.n > 0 {
			t := l.first
			t.leave()
			dst = append(dst, t)
		}
	}
	return dst
}
