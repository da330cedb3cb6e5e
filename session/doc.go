// Package session holds the sessions of a node on shards: the upgrade, heartbeats,
// the tables of users and topics, delivery, and limits. It uses package poller,
// which knows only bytes, sockets and timers, and packages ws and wire for what
// goes over the wire. It does not know where messages come from.
//
// The file shard.go says which types a shard consists of; docs/architecture.md
// follows the paths through them.
package session
