package session

import (
	"unsafe"

	"belfry/offheap"
)

// record is the session's part of a connection's record in the shard's slab; the
// poller has the other part. No Go pointers.
type record struct {
	state   state
	variant uint8 // index in protocols.variants
	flags   flags
	count   uint16 // memberships
	reason  Reason

	grant     uint32      // index in shard.grants + 1; 0: nothing was granted that differs from the default
	fanoutRun uint32      // the last fan-out run that visited the session
	uid       offheap.Str // 0: none
	userHash  uint32      // half-closed: bytes discarded since
	newer     uint32      // the next younger session of the user, slot + 1
	older     uint32      // the next older one
	topics    uint32      // first membership + 1

	openedAt uint32 // Unix seconds
	pingedAt uint32 // tick, while flagPinged; closing: bytes received since; half-closed: tick of that
	// side is an index: in shard.halfOpen (+ 1) while the request is not complete, in
	// shard.upgrades while the upgrade waits, in shard.buckets if flagMetered.
	// Without flagMetered 0 means none.
	side uint32
}

const recordSize = int(unsafe.Sizeof(record{}))

type state uint8

const (
	stateHead       state = iota // the request is not complete
	stateAuth                    // the authenticator has not decided yet
	stateJoin                    // the bus is still subscribing
	stateOpen                    // a session
	stateClosing                 // our close frame is out, the peer's is awaited
	stateHalfClosed              // shut down for writing; input is discarded
	stateProxy                   // a PROXY header has to come before the request
	stateLogin                   // the request was accepted, and the client has to log in
	stateHanded                  // frozen: another process has the connection
)

type flags uint16

const (
	flagEcho      flags = 1 << iota // /echo: gets its own messages back, and no others
	flagPinged                      // a ping is not answered yet
	flagSession                     // counted as a session, and in the tables
	flagWaiting                     // counted as waiting: the request is complete
	flagMetered                     // has token buckets
	flagSlowed                      // is not read until it has tokens again
	flagReclaimed                   // its input was reclaimed; receiver.endInbound will end it
	flagLate                        // came beyond Options.ConnectRate
	flagRemote                      // shard.remotes has its client's address
	flagAuth                        // an auth command is in progress; it is not read meanwhile
	flagLeaving                     // it moves to another shard as soon as it has its messages
	flagKept                        // shard.eventing has a record of it
	flagHeld                        // is not read until Server.Resume
	flagInbound                     // shard.assembly has a message in progress
)

// flagsUnread are those of sessions that are not read for a while.
const flagsUnread = flagSlowed | flagAuth | flagHeld
