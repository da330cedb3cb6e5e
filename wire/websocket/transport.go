// Package websocket is the transport of RFC 6455, with and without
// permessage-deflate (RFC 7692), and its endpoint, which chooses the encoding by
// the subprotocol.
package websocket

import (
	"belfry/wire"
	"belfry/ws"
)

// Transport is WebSocket without extensions. It implements wire.Transport.
type Transport struct{}

var _ wire.Transport = Transport{}

// ping is the frame of every ping. It has no payload, because the server does not
// tell pongs apart.
var ping = ws.AppendFrame(nil, ws.OpPing, nil)

// Name returns "websocket".
func (Transport) Name() string { return "websocket" }

// Answers returns true.
func (Transport) Answers() bool { return true }

// AppendAccept appends the response with status 101 (RFC 6455 §4.2.2).
func (Transport) AppendAccept(dst []byte, r *ws.Request) []byte { return r.AppendAccept(dst) }

// AppendRefusal appends r as an HTTP response. It does not need accept.
func (Transport) AppendRefusal(dst, _ []byte, r *ws.Refusal, date []byte) []byte {
	return ws.AppendRefusal(dst, r, date)
}

// AppendFrame appends one text or binary frame.
func (Transport) AppendFrame(dst []byte, p wire.Payload) []byte {
	return ws.AppendFrame(dst, opcode(p.Kind), p.Data)
}

// AppendPing appends an empty ping.
func (Transport) AppendPing(dst []byte) []byte { return append(dst, ping...) }

// AppendPong appends a pong.
func (Transport) AppendPong(dst, payload []byte) []byte {
	return ws.AppendFrame(dst, ws.OpPong, payload)
}

// AppendClose appends a close frame.
func (Transport) AppendClose(dst []byte, c *wire.Close) []byte {
	return ws.AppendClose(dst, c.Code, c.Text)
}

// AppendCloseReply appends a close frame with the code of the client's (RFC 6455
// §5.5.1).
func (Transport) AppendCloseReply(dst []byte, code uint16) []byte {
	return ws.AppendClose(dst, code, "")
}

// NewDecoder returns a decoder without state.
func (Transport) NewDecoder() wire.Decoder { return decoder{} }

type decoder struct{}

func (decoder) Next(p []byte, in *ws.Inbound, limits ws.Limits) (int, ws.Event, error) {
	return ws.Next(p, in, limits)
}
