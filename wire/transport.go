package wire

import (
	"time"

	"belfry/message"
	"belfry/ws"
)

// Payload is what an encoding writes and a transport sends as one frame.
type Payload struct {
	Kind message.Kind
	Data []byte // borrowed: valid only during the call

	// For transports with fields for them (SSE); the others do not send them.
	ID    string // id of the message; "" for none
	Event string // the message's topic; "" if it has none or several
}

// Close says why the server closes a connection.
type Close struct {
	Code      uint16        // close code of RFC 6455 §7.4, or one of this server (docs/protocol.md)
	Text      string        // for people; the transport may cut it
	Reconnect bool          // whether the client should connect again
	After     time.Duration // earliest time to connect again; only with Reconnect
}

// Transport carries payloads to a client and back. The Append methods append to
// dst and return the extended slice. A transport that lacks an operation appends
// nothing.
type Transport interface {
	// Name returns the label for logs and metrics.
	Name() string
	// Answers returns whether clients can answer pings and a close. If they cannot
	// (SSE), pings only keep the connection alive, a session is not closed for
	// silence, and the server does not wait for an answer to AppendClose.
	Answers() bool

	// AppendAccept appends the HTTP response that accepts r. The transport's
	// endpoint has chosen the variant before, and the server has checked that the
	// request's Origin may connect. So a response that pages read with fetch or
	// EventSource may name this Origin in Access-Control-Allow-Origin.
	AppendAccept(dst []byte, r *ws.Request) []byte
	// AppendRefusal appends the HTTP response that refuses a request for this
	// transport. accept is the response of AppendAccept, which was not sent; it is
	// empty only if AppendAccept appends nothing. date is the value of the field
	// Date. The connection is closed after the response. AppendRefusal is not
	// called for a request that is refused before its endpoint has chosen a
	// variant, or whose Origin may not connect: the server answers it with
	// ws.AppendRefusal.
	AppendRefusal(dst, accept []byte, refusal *ws.Refusal, date []byte) []byte

	// AppendFrame appends p as one frame. A broadcast calls it once, and all
	// clients of the variant get the same bytes.
	AppendFrame(dst []byte, p Payload) []byte
	// AppendPing and AppendPong append control frames. Control frames are sent
	// before data that waits for a slow client. If several with the same first
	// byte wait, only the newest is sent.
	AppendPing(dst []byte) []byte
	AppendPong(dst, payload []byte) []byte
	// AppendClose appends the last frame of a connection. If it appends nothing,
	// the server does not wait for an answer of the client.
	AppendClose(dst []byte, c *Close) []byte
	// AppendCloseReply appends the answer to the client's close frame. code is the
	// code of this frame, ws.CloseNoStatus if it had none.
	AppendCloseReply(dst []byte, code uint16) []byte

	// NewDecoder returns a decoder for one shard.
	NewDecoder() Decoder
}

// Decoder reads what clients send. One goroutine uses it for many connections in
// turn, so it must not keep anything of a connection between two calls, except
// in the connection's ws.Inbound.
type Decoder interface {
	// Next decodes the next event of a client. p is all that was received and not
	// consumed yet; Next consumes the first n bytes of it. p and the payload of
	// the event are valid until the next call. in is nil unless a message is in
	// progress or Next has asked for an Inbound. No field of limits is 0 except
	// Deflate, which the transport sets by itself. The result must not depend on
	// how the input was split.
	//
	// Next returns a message that lies complete in p without a copy. It consumes
	// the payload of any other message as it arrives: if in is nil, it consumes
	// nothing and returns ws.EventAssemble, and is called again with an Inbound;
	// it begins the message with Begin and continues with Take as long as in is
	// Active. With ws.EventNone it may leave at most ws.MaxTail bytes unconsumed,
	// for example an incomplete header.
	//
	// A decoder that inflates sets Event.Inflated to the work that this took, so
	// that the rates of the session limit it.
	//
	// Only events that a client sends are returned: a ping is answered with
	// AppendPong, ws.EventClose with AppendCloseReply. A *ws.ProtocolError closes
	// the connection with the error's close code, ws.ErrNoMemory because the
	// server has no memory, and any other error with 1002.
	Next(p []byte, in *ws.Inbound, limits ws.Limits) (n int, ev ws.Event, err error)
}
