// Package session holds the sessions of a node on shards: the upgrade,
// heartbeats, the tables of users and topics, delivery, and the encodings in
// which messages go out. It stands on package poller, which knows only bytes,
// sockets and timers, and on the codecs of package ws; it does not know where
// messages come from.
package session
