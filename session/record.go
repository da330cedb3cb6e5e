package session

import (
	"unsafe"

	"belfry/offheap"
)

// record is what a shard's slab keeps of a session, behind what the poller
// keeps of its connection. It has no Go pointers.
type record struct {
	state   state
	variant uint8 // index in protocols.variants
	flags   flags
	reason  Reason

	fanoutRun uint32      // the broadcast pass that came by last
	uid       offheap.Str // 0: none
	userHash  uint32
	newer     uint32 // the next younger session of the user, slot + 1
	older     uint32 // the next older one
	topics    uint32 // first membership + 1
	count     uint16 // memberships
	awaited   uint16 // subscriptions of the bus that the upgrade waits for; once open, sub commands not answered yet

	openedAt uint32 // Unix seconds
	pingedAt uint32 // tick, while flagPinged
	inbound  uint32 // index of the message on its way in
	side     uint32 // index of the upgrade on its way, before, while its head is, index in shard.half + 1; once open, slot of the token buckets, if flagMetered
}

const recordSize = int(unsafe.Sizeof(record{}))

type state uint8

const (
	stateHead       state = iota // the request is on its way in
	stateAuth                    // the authenticator takes its time
	stateJoin                    // the bus is still subscribing
	stateOpen                    // a session
	stateClosing                 // our close frame is out, the peer's is awaited
	stateHalfClosed              // nothing that comes matters any more
	stateProxy                   // a PROXY header is to come before the request
	stateLogin                   // the request was accepted, and the client is to log in
)

type flags uint8

const (
	flagEcho      flags = 1 << iota // /echo: gets back what it sends, and no messages
	flagPinged                      // a ping is unanswered
	flagSession                     // counted as a session, and in the tables
	flagWaiting                     // counted as waiting: the request is all there
	flagMetered                     // has token buckets
	flagSlowed                      // is not read until it has tokens again
	flagReclaimed                   // gave up what it held of its input, and is about to be ended
	flagRemote                      // shard.remotes has its client's address
)
