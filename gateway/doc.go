// Package gateway tells backends what clients do: it turns messages of clients, and
// news of their sessions, into HTTP calls, and the answers into messages for the
// clients. It implements session.Events.
//
// Shards hand events over and never wait. Each session that has events here has a
// queue, and one event of it is in flight at a time, so a backend sees the events of
// a session in order, and a client sees the answers in order. A session without
// events has nothing here. An event waits for a call of its route; the calls are
// bounded in number and bytes for each route and for the node. What a client sends
// faster than backends take stays in its socket: Received pauses the session.
//
// Package webhook makes the calls: CloudEvents, signatures, retries, breakers.
package gateway
