package session

import (
	"time"

	"belfry/message"
)

// Encoding turns what the server has to say into the bytes of one wire
// format, WebSocket framing included, and reads what clients say in it.
//
// Implementations hold no state of a connection and are called from several
// goroutines at once. A message is encoded once for all sessions that speak
// the encoding. The Append methods append to dst and return it; appending
// nothing means that the format has no such thing.
type Encoding interface {
	// Name is the label in logs and metrics.
	Name() string
	// Subprotocol is the WebSocket subprotocol that selects the encoding,
	// "" for the one used when a client asks for none.
	Subprotocol() string

	AppendMessage(dst []byte, m *message.Message) []byte
	AppendHello(dst []byte, h *Hello) []byte
	AppendBye(dst []byte, b *Bye) []byte
	AppendReply(dst []byte, r *Reply) []byte

	// ParseCommand reads one message of a client. It returns ErrNoCommands
	// if the encoding has none (all that plain clients send is data for a
	// gateway), and a *CommandError, which is answered with AppendReply, if
	// p is not a command. p is borrowed: whatever the Command keeps of it is
	// valid only until p's owner is called again, except Payload's copy.
	ParseCommand(p []byte, kind message.Kind) (Command, error)
}

// Hello is said once, right after the upgrade.
type Hello struct {
	Session      string        // session id
	UID          string        // "" if the session has none
	Topics       []string      // subscriptions made by the handshake
	PingInterval time.Duration // 0: the server sends no pings
	PongTimeout  time.Duration // how long a ping may stay unanswered
}

// Bye is said before the server closes a session on purpose.
type Bye struct {
	Code      uint16        // the close code that follows
	Reason    string        // the label in the registry of close codes
	Reconnect bool          // whether to come back
	After     time.Duration // not earlier than this
}

// Op is what a client's command asks for.
type Op uint8

const (
	OpSub   Op = iota + 1 // subscribe to Topics
	OpUnsub               // unsubscribe from Topics
	OpPub                 // publish Payload to Target
	OpPing                // be answered with an ack
)

// Command is one message of a client that asks for something.
type Command struct {
	Op      Op
	Ref     string         // the client's own number for it, given back in the Reply; "" for none
	Topics  []string       // of OpSub and OpUnsub
	Target  message.Target // of OpPub
	Kind    message.Kind   // of OpPub
	Payload []byte         // of OpPub; a copy that the caller may keep
}

// Reply answers a command: an ack, or an error if Err is set.
type Reply struct {
	Ref string
	ID  string // id of the message an OpPub made; "" otherwise
	Err *CommandError
}

// CommandError refuses a command. The session stays open.
type CommandError struct {
	Code  string // machine-readable: "bad_request", "forbidden", "too_many_topics", "unavailable", …
	Text  string // for people; names the field and the allowed range
	Field string // the field at fault, "" if none
	Ref   string // the client's number for the command if it could be read
}

func (e *CommandError) Error() string { return e.Code + ": " + e.Text }
