package session

import (
	"errors"

	"belfry/message"
	"belfry/ws"
)

// ErrNoCommands says that an encoding has no commands: what its clients send
// is data.
var ErrNoCommands = errors.New("session: this encoding has no commands")

// Plain is the encoding of clients that ask for no subprotocol: each message
// arrives as one WebSocket message that holds exactly the pushed bytes, and
// nothing else is ever sent in a data frame.
type Plain struct{}

var _ Encoding = Plain{}

// Name returns "plain".
func (Plain) Name() string { return "plain" }

// Subprotocol returns "".
func (Plain) Subprotocol() string { return "" }

// AppendMessage appends one text or binary frame that holds m's payload.
func (Plain) AppendMessage(dst []byte, m *message.Message) []byte {
	op := ws.OpText
	if m.Kind == message.Binary {
		op = ws.OpBinary
	}
	return ws.AppendFrame(dst, op, m.Payload)
}

// AppendHello appends nothing.
func (Plain) AppendHello(dst []byte, _ *Hello) []byte { return dst }

// AppendBye appends nothing: the close frame says all there is to say.
func (Plain) AppendBye(dst []byte, _ *Bye) []byte { return dst }

// AppendReply appends nothing.
func (Plain) AppendReply(dst []byte, _ *Reply) []byte { return dst }

// ParseCommand returns ErrNoCommands.
func (Plain) ParseCommand([]byte, message.Kind) (Command, error) { return Command{}, ErrNoCommands }
