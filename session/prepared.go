package session

import (
	"errors"

	"belfry/message"
	"belfry/poller"
)

var errEncoding = errors.New("session: the message could not be encoded")

// Prepared is a message that is encoded for all sessions of this node, which is
// what can fail or take long. Posting it is left. It may be delivered more than
// once.
type Prepared struct {
	Message  *message.Message // must not be changed any more
	delivery *delivery
}

// Prepare encodes m for the sessions of this node. It is called before any lock
// or place is taken: an Encoding that panics leaves none behind.
//
// The error is a fault of this server, which is in its log: nobody gets m.
func (s *Server) Prepare(m *message.Message) (*Prepared, error) {
	d, ok := s.newDelivery(m)
	if !ok {
		return nil, errEncoding
	}
	return &Prepared{Message: m, delivery: d}, nil
}

// Deliver hands the message to all sessions of this node that it is meant for. It
// returns a *message.OverloadedError, and then nobody gets the message; or nil, and
// then every session that is open gets it, short of what the policy for slow
// consumers drops. It does not block. Messages of one goroutine to one target
// arrive in their order.
func (p *Prepared) Deliver() error {
	s := p.delivery.srv
	switch t := p.Message.Target; t.Scope {
	case message.ScopeAll, message.ScopeTopics:
		return s.post(poller.LaneBulk, p, func(int) bool { return true })
	case message.ScopeUsers:
		if len(t.Names) == 1 {
			home, _ := s.homeOf(t.Names[0])
			return s.post(poller.LaneSingle, p, func(i int) bool { return i == home })
		}
	}
	homes := s.homes(p.Message.Target)
	return s.post(poller.LaneSingle, p, func(i int) bool { return homes[i] })
}

// post puts p into the mailboxes of the chosen shards: all or none.
func (s *Server) post(lane poller.Lane, p *Prepared, chosen func(i int) bool) error {
	d := p.delivery
	if waits := s.mailBytes.Add(d.size); waits > s.opt.MailboxBytes && waits > d.size {
		s.mailBytes.Add(-d.size)
		s.shards[0].counters.limit(limitMailbox)
		return &message.OverloadedError{What: "the room for messages that wait for shards (fanout.mailbox_bytes) is full"}
	}
	if !s.reserve(lane, chosen) {
		s.mailBytes.Add(-d.size)
		return &message.OverloadedError{What: "a shard's mailbox is full"}
	}
	s.pushes[p.Message.Target.Scope].Add(1)
	shards := int32(0)
	for i := range s.shards {
		if chosen(i) {
			shards++
		}
	}
	if d.shards.Store(shards); shards == 0 {
		s.mailBytes.Add(-d.size)
		return nil
	}
	mail := poller.Mail{Kind: mailDelivery, Ptr: d}
	for i, h := range s.shards {
		if chosen(i) {
			h.ps.Put(lane, mail)
		}
	}
	return nil
}

// reserve takes a place in a lane of each of the chosen shards, or none.
func (s *Server) reserve(lane poller.Lane, chosen func(i int) bool) bool {
	for i, h := range s.shards {
		if !chosen(i) || h.ps.Reserve(lane) {
			continue
		}
		for j := range i {
			if chosen(j) {
				s.shards[j].ps.Release(lane, 1)
			}
		}
		return false
	}
	return true
}
