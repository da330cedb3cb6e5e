package broadcast

import (
	"context"

	"belfry/session"
)

// Message is session.Message under the name this package's users know.
type Message = session.Message

// Local is the node's own sessions; session.Server is one.
type Local interface {
	// Prepare does for m whatever can fail or take long: Deliver is called
	// under locks.
	Prepare(m *session.Message) (*session.Prepared, error)
	// Deliver hands p to the local sessions it is for, to all of them or,
	// when it returns an error, to none. It must neither block nor publish. It
	// may be called again with what it refused.
	Deliver(p *session.Prepared) error
}

// Bus carries messages to the other nodes and back. All methods may be called
// from any goroutine and none but Drain and Close waits for the network.
type Bus interface {
	session.Interest

	// Reserve takes places in the outbox for everything m needs on the bus,
	// all or nothing. Errors: *session.OverloadedError, *session.TooLargeError.
	Reserve(m *Message) (Reservation, error)
	// Start begins to receive. receive is called from one goroutine, in
	// order, with messages of other nodes and of foreign publishers; while it
	// runs nothing else is received. Start is called once.
	Start(receive func(*Message))
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
