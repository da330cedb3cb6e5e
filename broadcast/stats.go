package broadcast

import "sync/atomic"

// Stats are counters since the start and, where marked, present values.
// Every message that does not arrive is in exactly one of the Lost counters
// of the node that lost it; Gaps are what receivers saw missing, so a loss on
// the way is in a Lost counter of the sender, or in none, and in Gaps of
// every receiver.
type Stats struct {
	Published       uint64 // messages that Publish accepted
	RefusedOutbox   uint64 // messages refused because the outbox was full
	RefusedNATS     uint64 // messages refused because nothing can be sent through this NATS server
	RefusedLocal    uint64 // messages refused because the local mailboxes were full
	Sent            uint64 // bus messages that the NATS server confirmed
	Received        uint64 // bus messages received, beacons excluded
	Delivered       uint64 // received messages handed to the local sessions
	Malformed       uint64 // received messages dropped because subject, header or payload is invalid
	Duplicates      uint64 // received copies dropped because the message was delivered before
	LostUnconfirmed uint64 // sent, then the connection broke: lost, or arrived without our knowing
	LostTooLarge    uint64 // refused by a NATS server that allows less than the one before
	LostShutdown    uint64 // still in the outbox, or received and not dispatched, at Close
	LostReceive     uint64 // dropped by nats.go because the receive channel was full
	LostOverload    uint64 // received, but the local mailboxes stayed full
	LostFault       uint64 // met a fault of belfry on their way
	Gaps            uint64 // numbers of other nodes' messages that never came, each counted once
	Reconnects      uint64 // times the connection to NATS came back
	Denied          uint64 // subscriptions or messages that NATS permissions refused
	Switches        uint64 // changes between single user buckets and the wildcard
	DuplicateNodes  uint64 // other processes seen that use this node's id
	Faults          uint64 // panics caught, each at the cost of one message or one step at most
	LeftEarly       uint64 // topics left before Linger was over, because more than MaxLingering lingered

	OutboxMessages int      // now: places taken
	OutboxBytes    int      // now
	Subscriptions  int      // now: NATS subscriptions
	Topics         int      // now: topics subscribed, lingering ones included
	Lingering      int      // now: topics subscribed without a subscriber here
	Buckets        int      // now: user buckets that hold somebody
	Peers          int      // now: other nodes heard of lately
	PeerNames      []string // now: names of these
	Unheard        []string // now: names of nodes that others hear and this one does not
	Wildcard       bool     // now: all user buckets by one subscription
	Connected      bool     // now: NATS is reachable
}

// counters are the running totals behind Stats, touched by any goroutine.
type counters struct {
	published, refusedOutbox, refusedLocal       atomic.Uint64
	sent, received, delivered                    atomic.Uint64
	malformed, duplicates                        atomic.Uint64
	lostUnconfirmed, lostTooLarge, lostShutdown  atomic.Uint64
	lostReceive, lostOverload, gaps              atomic.Uint64
	reconnects, denied, switches, duplicateNodes atomic.Uint64
	refusedNATS, leftEarly, faults, lostFault    atomic.Uint64
	subscriptions, topics, lingering, peers      atomic.Int64
}

func (c *counters) fill(s *Stats) {
	s.Published += c.published.Load()
	s.RefusedOutbox += c.refusedOutbox.Load()
	s.RefusedNATS += c.refusedNATS.Load()
	s.RefusedLocal += c.refusedLocal.Load()
	s.Sent += c.sent.Load()
	s.Received += c.received.Load()
	s.Delivered += c.delivered.Load()
	s.Malformed += c.malformed.Load()
	s.Duplicates += c.duplicates.Load()
	s.LostUnconfirmed += c.lostUnconfirmed.Load()
	s.LostTooLarge += c.lostTooLarge.Load()
	s.LostShutdown += c.lostShutdown.Load()
	s.LostReceive += c.lostReceive.Load()
	s.LostOverload += c.lostOverload.Load()
	s.Gaps += c.gaps.Load()
	s.Reconnects += c.reconnects.Load()
	s.Denied += c.denied.Load()
	s.Switches += c.switches.Load()
	s.DuplicateNodes += c.duplicateNodes.Load()
	s.Subscriptions += int(c.subscriptions.Load())
	s.Topics += int(c.topics.Load())
	s.Peers += int(c.peers.Load())
	s.Lingering += int(c.lingering.Load())
	s.Faults += c.faults.Load()
	s.LostFault += c.lostFault.Load()
	s.LeftEarly += c.leftEarly.Load()
}
