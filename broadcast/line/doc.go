// Package line passes a connection to a NATS server on from one process to the next,
// while it is open. The server notices nothing: its subscriptions stay, and each message
// is received by exactly one of the two processes, in order.
//
// A Dialer makes nats.go use a Conn, which follows the protocol in both directions. In
// the old process, Conn.Stop ends reading behind the last byte of an operation, and
// Conn.Freeze ends writing. Conn.State and Conn.Descriptor are then all that the next
// process needs. There, Dialer.Inherit makes the next connection of nats.go the
// inherited one: the Conn answers nats.go's greeting in place of the server, keeps back
// SUB lines for subjects to which the connection is subscribed, and translates the
// numbers of subscriptions (sids), which nats.go counts from 1.
//
// A connection with TLS or over WebSocket cannot be passed on, because a Conn sees only
// what is encrypted: Conn.Stop returns ErrOpaque.
package line
