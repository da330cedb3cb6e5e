package poller

// Handler is what a shard calls. Every method runs on the shard's goroutine,
// one at a time, and must neither block nor keep the slices it is given. A
// panic in it is caught: the connection at hand is closed with CausePanic.
//
// A connection is named by its slot, which is valid until OnClose returns, Move
// was called or Detach returned true; ID and Lookup turn it into a name that
// outlives it.
type Handler interface {
	// OnOpen starts a connection that was accepted (state is the Endpoint's) or
	// adopted (state is the Socket's). Its Record is zero.
	OnOpen(slot uint32, state any)
	// OnMoved goes on with a connection that another shard has moved here with
	// state. Its Record is zero.
	OnMoved(slot uint32, state any)
	// OnData gets all bytes that were received and not consumed yet, in one
	// piece, and returns how many of them it consumed. It may change them.
	// What is left is shown again together with what comes next.
	OnData(slot uint32, p []byte) (consumed int)
	// OnTimer is called once when the time set by SetTimer has come.
	OnTimer(slot uint32)
	// OnClose ends a connection. Its Record is still there.
	OnClose(slot uint32, cause Reason, err error)

	// OnMail gets what was posted to the shard.
	OnMail(m Mail)
	// OnTick is called once a second of the shard's clock, before the timers.
	OnTick()
	// OnWork does a piece of work that is not due to any event, until done
	// or until Expired says so, and returns whether there is more.
	OnWork() (more bool)
	// OnSubmitted is called when all that was staged has been sent or queued.
	OnSubmitted()
	// OnSendFailed is called for a send that was refused: FramesFull, BytesFull,
	// NodeFull or ControlLost. It is called at the end of the turn, never
	// within another call. Of a connection that is broken OnClose tells
	// instead.
	OnSendFailed(slot uint32, r SendResult)
	// OnStop is the last call to the handler, after all connections were closed.
	OnStop()
}

// Refuser is a Handler that wants to know of sockets that came with a state and
// were closed because the shard has no slot left.
type Refuser interface{ OnRefused(state any) }

// HalfOpener is a Handler that wants to know which connections have to wait: those
// that are still open and the shard's own after OnOpen or OnMoved and a first
// read, which has mostly brought the request already.
type HalfOpener interface{ OnHalfOpen(slot uint32) }

// Reason says why the poller closed a connection.
type Reason uint8

const (
	ReasonHandler Reason = iota // Shard.Close was called
	ReasonEOF                   // the peer ended its side
	ReasonRead                  // recv failed
	ReasonWrite                 // send failed
	ReasonPanic                 // the handler panicked
	ReasonStop                  // the loop was closed
)
