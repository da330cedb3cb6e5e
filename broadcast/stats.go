package broadcast

import "sync/atomic"

// Stats are counters since the start and, where marked with "now", present
// values. A node counts every message that it loses in exactly one of its Lost
// counters. Gaps are the messages that a receiving node found missing. So a
// message lost between nodes is in Gaps of every receiving node, and it may be in
// a Lost counter of the sending node.
type Stats struct {
	Published       uint64 // messages that Publish accepted
	RefusedOutbox   uint64 // messages refused because the outbox was full
	RefusedNATS     uint64 // messages refused because this NATS server cannot carry them
	RefusedLocal    uint64 // messages refused because the local mailboxes were full
	Sent            uint64 // bus messages that the NATS server confirmed
	Received        uint64 // bus messages received, beacons excluded
	Delivered       uint64 // received messages handed to the local sessions
	Malformed       uint64 // received messages dropped because subject, header or payload is invalid
	Duplicates      uint64 // received copies dropped because the message was delivered before
	LostUnconfirmed uint64 // messages sent when the connection broke before NATS confirmed them; they may have arrived
	LostTooLarge    uint64 // messages that NATS refused when they were sent, as a server with a smaller max_payload does
	LostShutdown    uint64 // messages in the outbox, or received and not dispatched, at Close
	LostReceive     uint64 // messages that nats.go dropped because the receive channel was full
	LostOverload    uint64 // received messages lost because the local mailboxes stayed full
	LostFault       uint64 // messages lost by a fault of belfry
	Gaps            uint64 // numbered messages of other nodes that did not arrive, each counted once
	Reconnects      uint64 // reconnects to NATS
	Denied          uint64 // subscriptions or messages that NATS permissions refused
	DuplicateNodes  uint64 // other processes seen that use this node's id
	Faults          uint64 // panics caught; each cost at most one message or one step
	ControlSent     uint64 // control messages that NATS took
	ControlReceived uint64 // control messages received
	ControlDropped  uint64 // commands and answers not handled because too many waited
	ControlUnknown  uint64 // commands of a kind that this node does not know
	ControlLate     uint64 // commands not run, and answers dropped, because nobody waits for the answer any more
	ControlTimeouts uint64 // nodes that were asked and did not answer in time
	LeftEarly       uint64 // topics unsubscribed before Linger was over, because more than MaxLingering lingered

	OutboxMessages int      // now: places taken
	OutboxBytes    int      // now: bytes of these messages
	Subscriptions  int      // now: NATS subscriptions
	Topics         int      // now: topics subscribed, lingering ones included
	Lingering      int      // now: topics subscribed without a local subscriber
	Buckets        int      // now: user buckets with a local session
	Peers          int      // now: other nodes whose beacons arrive
	PeerNames      []string // now: names of these nodes
	Unheard        []string // now: names of nodes whose beacons other nodes receive and this node does not
	Connected      bool     // now: connected to NATS

	Routes RouteStats // pushes to users
}

// counters are the totals behind Stats. Any goroutine may change them.
type counters struct {
	published, refusedOutbox, refusedLocal      atomic.Uint64
	sent, received, delivered                   atomic.Uint64
	malformed, duplicates                       atomic.Uint64
	lostUnconfirmed, lostTooLarge, lostShutdown atomic.Uint64
	lostReceive, lostOverload, gaps             atomic.Uint64
	reconnects, denied, duplicateNodes          atomic.Uint64
	refusedNATS, leftEarly, faults, lostFault   atomic.Uint64
	subscriptions, topics, lingering, peers     atomic.Int64
	controlSent, controlReceived, controlLate   atomic.Uint64
	controlDropped, controlUnknown              atomic.Uint64
	controlTimeouts, controlLost                atomic.Uint64 // lost: dropped by nats.go
	routes                                      routeCounters
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
	s.DuplicateNodes += c.duplicateNodes.Load()
	s.Subscriptions += int(c.subscriptions.Load())
	s.Topics += int(c.topics.Load())
	s.Peers += int(c.peers.Load())
	s.Lingering += int(c.lingering.Load())
	s.Faults += c.faults.Load()
	s.LostFault += c.lostFault.Load()
	s.LeftEarly += c.leftEarly.Load()
	s.ControlSent += c.controlSent.Load()
	s.ControlReceived += c.controlReceived.Load()
	s.ControlDropped += c.controlDropped.Load() + c.controlLost.Load()
	s.ControlUnknown += c.controlUnknown.Load()
	s.ControlLate += c.controlLate.Load()
	s.ControlTimeouts += c.controlTimeouts.Load()
}
