// Package broadcast carries messages between nodes. A message that is published
// on one node is delivered to the sessions of that node at once, and over NATS
// to the sessions of every other node.
//
// The rest of the program uses Node. A Node checks a message, delivers it to the
// local sessions and hands it to a Bus. NATS is the one implementation of Bus;
// by default its server is embedded in the process. docs/bus.md specifies
// subjects, headers and promises, so that any NATS client can publish.
//
// The promises: order per publishing node and target; no duplicates; at most
// once between nodes, with every loss counted in Stats.
//
// # Locks
//
// Locks are taken in this order. No other two locks are held together:
//
//  1. stripes (stripes.go), ascending by index: held over Prepared.Deliver and
//     the commit to the outbox, so that both see messages to one target in the
//     same order. Prepared.Deliver must therefore not call Publish.
//  2. outbox.mu (outbox.go): held for a few assignments.
//
// Control.mu (control.go) is held for a few assignments, and neither taken under
// another lock nor while another is taken.
//
// interest.mu (interest.go) is taken while no other lock is held, and no other
// lock is taken under it. Shards take it in JoinTopic and LeaveTopic, so the code
// under it never waits. This package holds no lock while it calls nats.go. The
// methods that shards and publishers call do not use the NATS connection,
// because its own lock is held during socket writes.
package broadcast
