// Package session is the WebSocket side of belfry: the upgrade, frames,
// heartbeats, sessions, the tables of users and topics, and the encodings in
// which messages go out. It stands on package poller, which knows only bytes,
// sockets and timers, and knows nothing of where messages come from.
package session
