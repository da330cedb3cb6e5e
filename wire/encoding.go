package wire

import (
	"errors"
	"time"

	"belfry/message"
)

// Encoding gives payloads a meaning. Message, Hello, Bye and Reply write to w: in
// most cases one payload, sometimes none or several. Their arguments are borrowed.
type Encoding interface {
	// Name returns the label for logs and metrics.
	Name() string

	// Message writes a pushed message. A broadcast calls it once for all clients
	// of a variant.
	Message(w *Writer, m *message.Message)
	// Hello writes the first payload of a session: its id, user and topics.
	Hello(w *Writer, h *Hello)
	// Bye writes the announcement that the server closes the session.
	Bye(w *Writer, b *Bye)
	// Reply writes the answer to a command.
	Reply(w *Writer, r *Reply)

	// Command reads the first command in a client's payload p. rest is the part
	// of p behind it; Command is called again with rest until it is empty. The
	// error is ErrNoCommands if the encoding has no commands: its payloads are
	// data then. It is a *CommandError if p does not begin with a valid command;
	// Reply then writes the error, and the rest of p is discarded.
	//
	// p is borrowed, so a Command holds only copies.
	Command(p []byte, kind message.Kind) (c Command, rest []byte, err error)
}

// InBand is an Encoding whose clients send their credentials in the first message
// instead of the HTTP request. This message must be one OpLogin and nothing else.
// Until then the client is connected and has no session; time and number of
// frames are limited. Hello grants the login. A Reply with an error refuses it,
// and the transport's AppendClose follows without a Bye.
type InBand interface {
	Encoding
	// LoginFirst does nothing. It marks the encoding as InBand.
	LoginFirst()
}

// Acknowledger is an Encoding whose clients can acknowledge a message (OpAck). Message
// asks them to if m.Report.Ack is set.
type Acknowledger interface {
	Encoding
	// Acknowledges does nothing. It marks the encoding as Acknowledger.
	Acknowledges()
}

// ErrNoCommands means that an encoding has no commands.
var ErrNoCommands = errors.New("wire: this encoding has no commands")

// Hello tells a client about its session, once: after its connection was accepted
// or, with an InBand encoding, after its login was granted.
type Hello struct {
	SID          message.SID   // of Session
	Key          *[32]byte     // of Session
	UID          string        // "" if the session has none
	Ref          string        // Ref of the OpLogin, or OpAuth, that was granted; "" for none
	Topics       []string      // subscriptions at the start
	PingInterval time.Duration // 0: the server sends no pings
	PongTimeout  time.Duration // how long a ping may stay unanswered
	Expires      time.Time     // when the session ends unless it is renewed (OpAuth); zero: never
}

// Session returns the session id. It is made only for encodings that ask for it.
func (h *Hello) Session() string { return h.SID.Format(h.Key) }

// Bye announces that the server closes the session. The transport's AppendClose
// follows.
type Bye struct {
	Code      uint16        // the close code that follows
	Reason    string        // label of the close code
	Reconnect bool          // whether the client should connect again
	After     time.Duration // earliest time to connect again
}

// Op is the operation of a command.
type Op uint8

const (
	OpSub      Op = iota + 1 // subscribe to Topics
	OpUnsub                  // unsubscribe from Topics
	OpPub                    // publish Payload to Target
	OpPing                   // ask for an answer
	OpLogin                  // log in with the credentials in Payload
	OpAuth                   // renew the session, or log in, with the credentials in Payload
	OpSend                   // send Payload to the backend (Event, Topic)
	OpRPC                    // the same, and its answer is the reply to Ref
	OpAck                    // acknowledge the message ID; it is not answered
	OpPresence               // who is subscribed to the topic in Topics; the answer is the reply to Ref
)

// Command is a client's request to the server.
type Command struct {
	Op      Op
	Ref     string         // the client's name for the command, repeated in the Reply; "" for none
	ID      string         // of OpAck: id of the message
	Topics  []string       // of OpSub and OpUnsub, and one of OpPresence; the server checks their names
	Target  message.Target // of OpPub
	Event   string         // of OpSend and OpRPC: what the message is, for routing; "" for none
	Topic   string         // of OpSend and OpRPC: the topic it is about; "" for none
	Kind    message.Kind   // of OpPub, OpSend and OpRPC
	JSON    bool           // of OpSend and OpRPC: Payload is a JSON value
	Payload []byte         // of OpPub, OpLogin, OpAuth, OpSend and OpRPC; the caller may keep it
}

// Reply answers a command: with success, or with an error if Err is set. Without a
// Ref and with Left it answers nothing: it tells the client that it has lost topics.
// So a command that may be answered with Left needs a Ref.
type Reply struct {
	Ref string
	ID  string // id of the message that an OpPub has published; "" otherwise

	Kind    message.Kind // of Data
	Data    []byte       // a backend's answer to an OpRPC; nil: none
	JSON    bool         // Data is exactly one JSON value in UTF-8
	Expires time.Time    // of an OpAuth: when the session ends now; zero: never
	Left    []string     // topics that the session has lost: they are no longer permitted, or a backend has ended the subscription

	Err *CommandError
}

// CommandError is the error of a command. The session stays open.
type CommandError struct {
	Code  string // machine-readable: "bad_request", "forbidden", "unavailable", …
	Text  string // for people, with the allowed values
	Field string // the field at fault, "" if none
	Ref   string // Ref of the command if it could be read
}

func (e *CommandError) Error() string { return e.Code + ": " + e.Text }
