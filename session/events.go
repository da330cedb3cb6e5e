package session

import (
	"time"

	"belfry/message"
	"belfry/ws"
)

// Route names which events of a session are wanted, by whom: a number of the
// Events. 0: none; such a session costs nothing.
type Route uint16

// Events is told what happens to sessions, so that it can tell backends. Every
// method is called on the goroutine of the session's shard and must not block.
// For one session the calls come in order: Opened, then Received, Subscribed and
// Unsubscribed, then Closed, which comes exactly once for each Opened.
type Events interface {
	// Match is called once in each upgrade, before the authenticator. It returns
	// the route of the session, and up to MaxKept bytes of the request (headers,
	// cookies) that Client.Kept repeats. r is valid until Match returns.
	Match(r *ws.Request, encoding string) (route Route, keep []byte)

	// Opened is called when a session is open.
	Opened(c *Client)
	// Received takes a message of a client. With pause the session is not read
	// until Server.Resume is called with its id, so that the client is slowed down
	// by TCP and nothing piles up here.
	Received(c *Client, m *Inbound) (pause bool)
	// Subscribed and Unsubscribed are called after commands of the client.
	Subscribed(c *Client, topic string)
	Unsubscribed(c *Client, topic string)
	// Closed is called when a session has ended. lasted is the time since Opened.
	Closed(c *Client, r Reason, lasted time.Duration)
}

// MaxKept limits what Events.Match may keep of a request, in bytes.
const MaxKept = 4 << 10

// Inbound is a message of a client for a backend. The callee may keep it.
type Inbound struct {
	Event    string       // what the client names it; "" for none
	Topic    string       // "" for none
	Ref      string       // the client's name for the command; "" for none
	RPC      bool         // the data of the answer is the reply to Ref
	Answered bool         // the client awaits one Server.Reply with Ref: every message of an encoding with commands
	Kind     message.Kind // of Payload
	JSON     bool         // Payload is a JSON value
	Payload  []byte
}
