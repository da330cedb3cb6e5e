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
// method is called on the goroutine of the session's shard, must not block, and must
// not call the Server's methods that wait for a shard; Resume, Reply, SendTo and the
// others in orders.go may be called. For one session the calls come in order: Opened,
// then Received, Subscribed and Unsubscribed, then Closed, which comes exactly once
// for each Opened, however the session ends. A panic costs the session, but for one in
// Closed, which costs nothing.
type Events interface {
	// Match is called once in each upgrade, before the authenticator. It returns
	// the route of the session, and up to MaxKept bytes (headers, cookies) that
	// Client.Kept repeats; more than that is not kept, and counted. Both r and keep are
	// used only until Match and its caller return. Without a route nothing of the
	// session is told, and Match is the only call.
	Match(r *ws.Request, encoding string) (route Route, keep []byte)

	// Opened is called when a session is open.
	Opened(c *Client)
	// Received takes a message of a client. Its answer is Server.Reply, exactly once,
	// if m.Answered is set.
	//
	// With pause the session is not decoded and not read until Server.Resume is called
	// with its id, so that the client is slowed down by TCP and nothing piles up here.
	// What was received already, at most 64 KiB, waits undecoded and counts in
	// Poller.InboundBytes. Received is called again before Resume only if the payload
	// of m holds more commands. A paused session is pinged, and is not closed because
	// nothing is read of it; it ends like any other at shutdown, by Server.Close, and
	// when its client is gone. What the client had sent then is lost.
	//
	// The bytes of m are the callee's: it counts and bounds them, and should answer
	// with the error "unavailable" what it cannot hold.
	Received(c *Client, m *Inbound) (pause bool)
	// Subscribed and Unsubscribed are called when commands of the client begin and end
	// a subscription, and Unsubscribed also when the client lost the permission for it.
	// They are not called for the topics of Opened, for what backends do by
	// Server.Subscribe, Unsubscribe, Join and Leave, and not for the topics that end with
	// the session.
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
