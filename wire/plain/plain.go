// Package plain is the encoding for clients that ask for no other: each message is
// one payload with exactly the pushed bytes, and the server sends no other
// payloads.
package plain

import (
	"belfry/message"
	"belfry/wire"
)

// Encoding implements wire.Encoding.
type Encoding struct{}

var _ wire.Encoding = Encoding{}

// Name is the subprotocol that selects the encoding by name. Clients that offer no
// subprotocol get the encoding too.
const Name = "belfry.plain"

// Name returns "plain".
func (Encoding) Name() string { return "plain" }

// Message writes the payload of m unchanged, and nothing if m has a Membership: the
// client could not tell it from a pushed message.
func (Encoding) Message(w *wire.Writer, m *message.Message) {
	if m.Membership != message.NoMembership {
		return
	}
	w.Frame(wire.Payload{Kind: m.Kind, Data: m.Payload, ID: m.ID, Event: m.Topic()})
}

// Hello writes nothing.
func (Encoding) Hello(*wire.Writer, *wire.Hello) {}

// Bye writes nothing: the client gets code and reason from the transport.
func (Encoding) Bye(*wire.Writer, *wire.Bye) {}

// Reply writes nothing.
func (Encoding) Reply(*wire.Writer, *wire.Reply) {}

// Command returns wire.ErrNoCommands.
func (Encoding) Command([]byte, message.Kind) (wire.Command, []byte, error) {
	return wire.Command{}, nil, wire.ErrNoCommands
}
