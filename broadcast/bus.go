package broadcast

import (
	"context"
	"time"

	"belfry/message"
)

// Local delivers messages to the sessions of this node.
type Local interface {
	// Prepare does the work for m that can fail or take long, because Deliver
	// is called under locks.
	Prepare(m *message.Message) (Prepared, error)
}

// Prepared is a message that is ready for the sessions of this node.
type Prepared interface {
	// Await waits while shards that the message is for are busy, within w or
	// until ctx is done. It reports whether it waited. It returns a
	// *message.OverloadedError if too many publishers already wait.
	Await(ctx context.Context, w message.Wait) (waited bool, err error)
	// Leave releases what Await holds for the message. It is called after the
	// message was delivered or given up.
	Leave()
	// Deliver hands the message to all shards that it is for, or to none if it
	// returns an error. It must neither block nor publish. It may be called
	// again after an error.
	Deliver() error
}

// Interest is told which users and topics the sessions of this node want from
// the bus. No method blocks. The byte slices are borrowed until the call
// returns.
type Interest interface {
	// JoinUser counts one more session of uid. It returns true if messages
	// for uid already reach this node, or if there is no connection to the
	// bus: then nothing can be waited for. Otherwise w.UserReady(token) is
	// called once, later and from another goroutine, when messages for uid
	// reach this node.
	JoinUser(uid []byte, w Waiter, token uint64) (ready bool)
	// LeaveUser counts one session of uid less.
	LeaveUser(uid []byte)
	// JoinTopic counts one more shard that has a subscriber of topic. ready and
	// w.TopicReady(token) have the same meaning as with JoinUser.
	JoinTopic(topic []byte, w Waiter, token uint64) (ready bool)
	// LeaveTopic counts one shard less that has subscribers of topic. TopicReady
	// may still be called for a token that waits.
	LeaveTopic(topic []byte)
}

// Waiter is told when subscriptions are in place. Its methods may be called from
// any goroutine and never block. They return false if the call must be repeated
// a little later.
type Waiter interface {
	UserReady(token uint64) bool
	TopicReady(token uint64) bool
}

// Bus carries messages between nodes. All methods may be called from any
// goroutine. Only Drain and Close wait for the network.
type Bus interface {
	Interest
	ControlBus

	// Reserve takes places in the outbox for every bus message that m needs,
	// or for none. Errors: *message.OverloadedError, *message.TooLargeError.
	Reserve(m *message.Message) (Reservation, error)
	// Start begins to receive. It is called once. receive is called from one
	// goroutine, in order, with messages of other nodes and of other NATS
	// clients. While receive runs, nothing else is received.
	Start(receive func(*message.Message))
	// Condition returns the reasons why messages do not reach other nodes now.
	Condition() Condition
	// Stats adds the counters of the bus to s.
	Stats(s *Stats)
	// Drain refuses further messages and waits until the messages in the
	// outbox are sent, or ctx is done.
	Drain(ctx context.Context) error
	// Close ends the bus. It counts the messages in the outbox as lost.
	Close() error
}

// Reservation holds places in the outbox for one message. Exactly one of its
// methods is called, once. The exception: after a Commit that panicked, Cancel
// is called too.
type Reservation interface {
	Commit() // sends the message; the order on the bus is the order of commits
	Cancel() // gives the places back
}

// ControlBus is the part of a Bus that carries control messages. A Control makes
// and reads them.
type ControlBus interface {
	// StartControl begins to receive. It is called once, before Start.
	StartControl(r ControlReceiver)
	// PublishControl sends a control message to all other nodes, SendControl to
	// one. Nothing is kept for later: without a connection they return an
	// error. They may wait for a write to a socket. p must not be changed
	// afterwards.
	PublishControl(p []byte) error
	SendControl(node uint32, p []byte) error
	// PublishPlain publishes p as it is, for NATS clients that subscribe to subject. It
	// keeps and waits as PublishControl does.
	PublishPlain(subject string, p []byte) error
	// Peers returns the other nodes that are present, sorted by name.
	Peers() []Peer
	// Alone reports whether no other node can exist.
	Alone() bool
	// Beacon publishes a beacon soon, and not only when the next one is due.
	Beacon()
	// Lease returns the silence after which a node is not among Peers.
	Lease() time.Duration
}

// ControlReceiver is told what a ControlBus receives. Its methods are called from
// goroutines of the bus, Received from one.
type ControlReceiver interface {
	// Received takes a control message, and may keep p.
	Received(p []byte)
	// PeerUp says that a node joined, restarted, or is back after silence.
	PeerUp(p Peer)
	// Up says that the connection is there, for the first time or again, and
	// that control messages arrive.
	Up()
	// Status returns what the next beacon says of this node.
	Status() Status
	// Heard takes what a beacon says of another node, after PeerUp.
	Heard(s Sighting)
	// ReportAsked says that a node asks what became of its message with this id
	// (message.Message.Report), and that everything that comes here of the message
	// has been received.
	ReportAsked(node uint32, id string)
}
