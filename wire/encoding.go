package wire

import (
	"errors"
	"time"

	"belfry/message"
)

// Encoding gives payloads a meaning. The methods that say something write to w,
// mostly one payload, sometimes none or several.
type Encoding interface {
	// Name is the label in logs and metrics.
	Name() string

	Message(w *Writer, m *message.Message)
	Hello(w *Writer, h *Hello)
	Bye(w *Writer, b *Bye)
	Reply(w *Writer, r *Reply)

	// Command reads the first command in a client's payload p. rest is what
	// follows it; while there is some, Command is called again with it. It
	// returns ErrNoCommands if the encoding has no commands (what its clients
	// send is data), and a *CommandError, which is answered by Reply, if p does
	// not begin with a command.
	//
	// p is borrowed: a Command may refer to it, except that Topics, Target and
	// Payload are copies.
	Command(p []byte, kind message.Kind) (c Command, rest []byte, err error)
}

// InBand is an Encoding whose clients do not say who they are in their HTTP
// request but in their first message, which is an OpLogin and nothing else.
// Until then a client is accepted and has no session; how long it may stay so,
// and how many frames it may send, is limited. Hello grants the login. A Reply
// with an error refuses it, and the transport's Close follows without a Bye.
type InBand interface {
	Encoding
	// LoginFirst does nothing; it tells these encodings from others.
	LoginFirst()
}

// ErrNoCommands says that an encoding has no commands.
var ErrNoCommands = errors.New("wire: this encoding has no commands")

// Hello is said once, right after the connection was accepted or, if the
// encoding is InBand, after the login was granted.
type Hello struct {
	Session      string        // session id
	UID          string        // "" if the session has none
	Ref          string        // of the OpLogin that Hello grants; "" for none
	Topics       []string      // subscriptions that it begins with
	PingInterval time.Duration // 0: the server sends no pings
	PongTimeout  time.Duration // how long a ping may stay unanswered
}

// Bye is said before the server closes a session on purpose. The transport's
// Close follows.
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
	OpLogin               // become the user that Payload, the credentials, proves
)

// Command is something that a client asks for.
type Command struct {
	Op      Op
	Ref     string         // the client's own number for it, given back in the Reply; "" for none
	Topics  []string       // of OpSub and OpUnsub
	Target  message.Target // of OpPub
	Kind    message.Kind   // of OpPub
	Payload []byte         // of OpPub and OpLogin; the caller may keep it
}

// Reply answers a command: an ack, or an error if Err is set.
type Reply struct {
	Ref string
	ID  string // id of the message that an OpPub made; "" otherwise
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
