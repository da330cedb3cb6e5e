package wire

import (
	"time"

	"belfry/message"
	"belfry/ws"
)

// Payload is one unit that an encoding makes and a transport frames.
type Payload struct {
	Kind message.Kind
	Data []byte // borrowed: valid only during the call that it is given to

	// For transports that have a place for them (SSE); others leave them out.
	ID    string // id of the message; "" for none
	Event string // the topic; "" for none, or for several
}

// Close says how the server ends a connection on purpose.
type Close struct {
	Code      uint16        // close code of RFC 6455 §7.4 or of this server's registry
	Text      string        // for people; may be cut to what the transport has room for
	Reconnect bool          // whether the client is to come back by itself
	After     time.Duration // not earlier than this; only with Reconnect
}

// Transport carries payloads to a client and back. The Append methods append
// to dst and return it; a transport that has no such thing appends nothing.
type Transport interface {
	// Name is the label in logs and metrics.
	Name() string
	// Answers says whether clients can answer. Where they cannot (SSE), pings
	// only keep the connection alive, nothing is received for as long as the
	// client likes, and no answer to a Close is awaited.
	Answers() bool

	// AppendAccept appends the HTTP answer that accepts r, which the
	// transport's endpoint has chosen a variant for.
	AppendAccept(dst []byte, r *ws.Request) []byte
	// AppendRefusal appends the HTTP answer that refuses a request of this
	// transport. accept is what AppendAccept appended for it; date is the value
	// of the field Date. The connection is closed after it.
	AppendRefusal(dst, accept []byte, refusal *ws.Refusal, date []byte) []byte

	// AppendFrame appends p as one frame. For a broadcast it is called once,
	// and all clients of the variant get the same bytes.
	AppendFrame(dst []byte, p Payload) []byte
	// AppendPing and AppendPong append control frames, which go ahead of data
	// that waits for a slow client. Of several waiting ones with the same first
	// byte only the newest is sent.
	AppendPing(dst []byte) []byte
	AppendPong(dst, payload []byte) []byte
	// AppendClose appends the last frame of a connection. If it appends
	// nothing, the connection is shut down without waiting for an answer.
	AppendClose(dst []byte, c *Close) []byte
	// AppendCloseReply appends the answer to the client's close frame, whose
	// code is given; ws.CloseNoStatus if it had none.
	AppendCloseReply(dst []byte, code uint16) []byte

	// NewDecoder returns a decoder for one shard.
	NewDecoder() Decoder
}

// Decoder reads what clients send. It is used by one goroutine and for many
// connections in turn: what it keeps between two calls are buffers, nothing of
// a connection. What it has to remember of one is in the ws.Inbound.
type Decoder interface {
	// Next decodes the next event in p; ws.Next says how. limits has no field
	// that is 0.
	//
	// A message that lies whole in p is given out from there. Of any other
	// message Next may leave ws.MaxTail bytes, such as half a header, unconsumed
	// with ws.EventNone; its payload belongs in the ws.Inbound: Next asks for
	// one with ws.EventAssemble if in is nil, begins the message with Begin, and
	// continues it with Take while in is Active.
	//
	// An error that is a *ws.ProtocolError closes the connection with its code,
	// any other error with 1002.
	Next(p []byte, in *ws.Inbound, limits ws.Limits) (n int, ev ws.Event, err error)
}
