package poller

// Handler is what a shard calls. All methods run on the shard's goroutine, one
// at a time. They must not block, and must not keep the slices they are given.
// A panic in a method is caught, and closes the connection that the call is for
// with ReasonPanic.
//
// A connection is named by its slot. A slot is valid until OnClose returns, Move
// is called or Detach returns true. An ID stays valid for longer: it never
// names another connection.
type Handler interface {
	// OnOpen starts a connection. If it was accepted, state is PortRange.State; if
	// it was adopted, state is Socket.State. Its Record is zero.
	OnOpen(slot uint32, state any)
	// OnMoved continues a connection that another shard has moved here. state is
	// that of Move. Its Record is zero.
	OnMoved(slot uint32, state any)
	// OnData gets all bytes that were received and not consumed yet, in one
	// piece, and returns how many it consumed. It may change them. The rest is
	// shown again, together with the bytes received next.
	OnData(slot uint32, p []byte) (consumed int)
	// OnTimer is called once when the shard's clock reaches the tick of SetTimer.
	OnTimer(slot uint32)
	// OnClose ends a connection. Its Record is still valid, but nothing can be
	// sent. err is nil if the handler called Close or the peer ended its side.
	OnClose(slot uint32, reason Reason, err error)

	// OnMail gets an item that was posted to the shard.
	OnMail(m Mail)
	// OnTick is called after the shard's clock has moved on, before the timers
	// of these ticks.
	OnTick()
	// OnWork is called in every turn for work that no event has caused. It
	// returns when the work is done or Expired is true, and says whether there
	// is more.
	OnWork() (more bool)
	// OnSubmitted is called when all staged sends were sent or queued.
	OnSubmitted()
	// OnSendFailed is called for a send that was refused. r is FramesFull,
	// BytesFull, NodeFull or ControlLost. It is called at the end of the turn and
	// never within another call. For a broken connection OnClose is called
	// instead. If the connection has moved since the send, the handler of its new
	// shard is told.
	OnSendFailed(slot uint32, r SendResult)
	// OnStop is the last call to the handler, after all connections were closed.
	OnStop()
}

// Refuser is a Handler that wants to know about moved or adopted sockets that
// were closed because the shard has no free slot.
type Refuser interface {
	// OnRefused gets the State of the socket.
	OnRefused(state any)
}

// HalfOpener is a Handler that wants to know which new connections have to wait
// for bytes from the client.
type HalfOpener interface {
	// OnHalfOpen is called for a connection that is still open and in this shard
	// after OnOpen or OnMoved and a first read. Usually the request has arrived by
	// then.
	OnHalfOpen(slot uint32)
}

// Reason says why a connection was closed.
type Reason uint8

const (
	ReasonHandler Reason = iota // the handler called Shard.Close, or broke its contract
	ReasonEOF                   // the peer ended its side
	ReasonRead                  // recv failed
	ReasonWrite                 // send failed
	ReasonPanic                 // the handler panicked
	ReasonStop                  // the loop was closed
)
