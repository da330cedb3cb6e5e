// Package plain is the encoding of clients that ask for nothing in particular:
// each message arrives as one payload that holds exactly the pushed bytes, and
// the server never says anything else in a payload.
package plain

import (
	"belfry/message"
	"belfry/wire"
)

// Encoding implements wire.Encoding.
type Encoding struct{}

var _ wire.Encoding = Encoding{}

// Name returns "plain".
func (Encoding) Name() string { return "plain" }

// Message writes m's payload as it is.
func (Encoding) Message(w *wire.Writer, m *message.Message) {
	w.Frame(wire.Payload{Kind: m.Kind, Data: m.Payload, ID: m.ID, Event: m.Topic()})
}

// Hello writes nothing.
func (Encoding) Hello(*wire.Writer, *wire.Hello) {}

// Bye writes nothing: the transport's Close says all there is to say.
func (Encoding) Bye(*wire.Writer, *wire.Bye) {}

// Reply writes nothing.
func (Encoding) Reply(*wire.Writer, *wire.Reply) {}

// Command returns wire.ErrNoCommands.
func (Encoding) Command([]byte, message.Kind) (wire.Command, []byte, error) {
	return wire.Command{}, nil, wire.ErrNoCommands
}
