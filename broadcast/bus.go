package broadcast

import (
	"context"

	"belfry/message"
)

// Local is the node's own sessions.
type Local interface {
	// Prepare does for m whatever can fail or take long: Deliver is called
	// under locks.
	Prepare(m *message.Message) (Prepared, error)
}

// Prepared is a message that is ready for the node's own sessions.
type Prepared interface {
	// Await waits, within w or until ctx is done, while the local sessions
	// that the message is for are behind, and says whether it had to. A
	// *message.OverloadedError says that too many wait already.
	Await(ctx context.Context, w message.Wait) (waited bool, err error)
	// Leave gives up what Await keeps for the message. It is called when the
	// message was delivered or given up.
	Leave()
	// Deliver hands the message to the local sessions it is for, to all of
	// them or, when it returns an error, to none. It must neither block nor
	// publish. After an error it may be called again.
	Deliver() error
}

// Interest is how the node's own sessions say what they want of the bus. No
// method blocks. The byte slices are borrowed until the call returns.
type Interest interface {
	// JoinUser counts one more session of uid. It returns true if messages
	// for uid already reach this node, or the bus is cut off and there is
	// nothing to wait for; otherwise w.UserReady(token) is called once later,
	// from another goroutine, when they do.
	JoinUser(uid []byte, w Waiter, token uint64) (ready bool)
	// LeaveUser takes one such session away.
	LeaveUser(uid []byte)
	// JoinTopic counts one more subscriber of topic. Its result and
	// w.TopicReady(token) are as with JoinUser.
	JoinTopic(topic []byte, w Waiter, token uint64) (ready bool)
	// LeaveTopic takes one such subscriber away. A token that still waits for
	// topic may or may not be called afterwards.
	LeaveTopic(topic []byte)
}

// Waiter is told when subscriptions are in place. Its methods may be called
// from any goroutine and never block; false means that the call has to be
// repeated a little later.
type Waiter interface {
	UserReady(token uint64) bool
	TopicReady(token uint64) bool
}

// Bus carries messages to the other nodes and back. All methods may be called
// from any goroutine and none but Drain and Close waits for the network.
type Bus interface {
	Interest

	// Reserve takes places in the outbox for everything m needs on the bus,
	// all or nothing. Errors: *message.OverloadedError, *message.TooLargeError.
	Reserve(m *message.Message) (Reservation, error)
	// Start begins to receive. receive is called from one goroutine, in
	// order, with messages of other nodes and of foreign publishers; while it
	// runs nothing else is received. Start is called once.
	Start(receive func(*message.Message))
	// Condition returns why messages do not reach other nodes now.
	Condition() Condition
	// Stats adds what the bus counted to s.
	Stats(s *Stats)
	// Drain refuses further messages and waits until those in the outbox
	// have left, or ctx ends.
	Drain(ctx context.Context) error
	// Close ends everything; what is still in the outbox is counted as lost.
	Close() error
}

// Reservation is a place in the outbox. Exactly one of its methods is called,
// once; only after a Commit that panicked Cancel is called too.
type Reservation interface {
	Commit() // sends the message; order on the bus is the order of commits
	Cancel() // gives the place back
}
