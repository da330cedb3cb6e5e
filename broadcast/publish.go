package broadcast

import (
	"context"
	"errors"

	"belfry/message"
)

// Publish sends m to its target on every node: to the local sessions before it
// returns, to the other nodes soon after. It sets m.ID if that is empty; an id
// that the caller sets must be unique. m and its payload must not be changed
// afterwards. Publish never waits for the network. Prepared.Deliver must not call
// it.
//
// Errors: *message.FieldError for invalid input, *message.TooLargeError and
// *message.OverloadedError; the message was then not delivered anywhere. A
// *message.FaultError is a fault of belfry; it says whether some sessions may
// have received the message.
func (n *Node) Publish(m *message.Message) error {
	_, err := n.PublishWithin(context.Background(), m, message.Wait{})
	return err
}

// PublishWithin is Publish for a caller that can wait while the local shards of m
// are busy, within w or until ctx is done. It reports whether it waited. If
// the caller has gone away after the wait, PublishWithin does not publish and
// returns a *message.OverloadedError: the caller got no answer, so it will
// publish the message again.
func (n *Node) PublishWithin(ctx context.Context, m *message.Message, w message.Wait) (waited bool, err error) {
	local := n.local.Load()
	if local == nil {
		return false, &message.OverloadedError{What: "starting", RetryAfter: retryAfter}
	}
	var p prepared
	defer p.leave()
	if waited, err = n.prepare(ctx, *local, m, w, &p); err != nil {
		return waited, err
	}
	return waited, n.commit(&p)
}

// prepared is a message that is ready to be delivered and has its places in the
// outbox.
type prepared struct {
	target      message.Target
	here        Prepared // nil if the message is not for sessions of this node
	reservation Reservation
}

// leave releases what Prepared.Await holds for the message.
func (p *prepared) leave() {
	if p.here != nil {
		p.here.Leave()
	}
}

// prepare does everything that can fail or take long, without a lock. It takes
// the places in the outbox last.
func (n *Node) prepare(ctx context.Context, local Local, m *message.Message, w message.Wait, p *prepared) (waited bool, err error) {
	defer func() {
		if v := recover(); v != nil {
			n.faults.report("prepare", v)
			err = &message.FaultError{}
		}
	}()
	if err := m.Check(n.opt.MaxPayload); err != nil {
		return false, err
	}
	here, err := n.localPart(m)
	if err != nil {
		return false, err
	}
	if m.ID == "" {
		m.ID = n.ids.next()
	}
	if here != nil {
		if p.here, err = local.Prepare(here); err != nil {
			return false, err
		}
		if waited, err = p.here.Await(ctx, w); err != nil {
			return waited, err
		}
		if waited && gone(ctx, w) {
			return true, &message.OverloadedError{What: "shard", RetryAfter: retryAfter, Err: context.Canceled}
		}
	}
	p.target = m.Target
	p.reservation, err = n.bus.Reserve(m)
	var full *message.OverloadedError
	switch {
	case !errors.As(err, &full):
	case full.Unavailable:
		n.count.refusedNATS.Add(1)
	default:
		n.count.refusedOutbox.Add(1)
	}
	return waited, err
}

// gone reports whether the publisher has gone away or was stopped.
func gone(ctx context.Context, w message.Wait) bool {
	return ctx.Err() != nil || w.Gone != nil && w.Gone()
}

// commit delivers to the local sessions and commits to the bus, both under the
// target's stripes, so that both see the same order. In every case it unlocks the
// stripes and uses or gives back the places in the outbox.
func (n *Node) commit(p *prepared) (err error) {
	delivered, committed := false, false
	defer func() {
		v := recover()
		switch {
		case v == nil:
		case delivered: // local clients have the message: publishing it again would duplicate it
			n.count.lostFault.Add(1)
			n.count.published.Add(1)
		default:
			err = &message.FaultError{Uncertain: true}
		}
		if v != nil {
			n.faults.report("publish", v)
		}
		if !committed {
			p.reservation.Cancel()
		}
	}()
	set := n.stripes.of(p.target)
	n.stripes.lock(set)
	defer n.stripes.unlock(set)
	if p.here != nil {
		if err := p.here.Deliver(); err != nil {
			n.count.refusedLocal.Add(1)
			return &message.OverloadedError{What: "mailbox", RetryAfter: retryAfter, Err: err}
		}
	}
	delivered = true
	p.reservation.Commit()
	committed = true
	n.count.published.Add(1)
	return nil
}

// localPart returns the message for this node's sessions: m itself, nil if m is
// for none of them, or a copy of m whose target is the sessions of this node (a
// session id contains its node).
func (n *Node) localPart(m *message.Message) (*message.Message, error) {
	if m.Target.Scope != message.ScopeSessions {
		return m, nil
	}
	var here []string
	for _, sid := range m.Target.Names {
		node, err := n.opt.NodeOf(sid)
		if err != nil {
			return nil, err
		}
		if node == n.id {
			here = append(here, sid)
		}
	}
	switch len(here) {
	case 0:
		return nil, nil
	case len(m.Target.Names):
		return m, nil
	}
	part := *m
	part.Target.Names = here
	if part.ID == "" { // the part and the message must have the same id
		m.ID = n.ids.next()
		part.ID = m.ID
	}
	return &part, nil
}
