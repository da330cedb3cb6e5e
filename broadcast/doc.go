// Package broadcast carries messages between nodes: a message published on
// one node is delivered to the sessions of that node at once and to those of
// every other node over NATS.
//
// Node is what the rest of the program uses. It checks a message, delivers it
// to the local sessions and hands it to a Bus; NATS is the one implementation
// of that seam, by default with a server embedded in the process. docs/bus.md
// specifies subjects, headers and promises so that any NATS client can publish.
//
// The promises: order per publishing node and target; no duplicates; at most
// once between nodes, with every loss counted in Stats.
//
// # Locks
//
// In this order, outer first; no other pair is ever held together:
//
//  1. stripes (stripes.go), ascending by index: held over Local.Deliver and
//     the commit to the outbox, so that both see messages to one target in the
//     same order. Local.Deliver must therefore not call Publish.
//  2. outbox.mu (outbox.go): held for a few assignments.
//
// interest.mu (interest.go) is a leaf of its own: shards take it in JoinTopic
// and LeaveTopic, so nothing that can wait is done under it. No lock of ours is
// held while nats.go is called, and no method that shards or publishers call
// touches the NATS connection, whose own lock is held across socket writes.
package broadcast
