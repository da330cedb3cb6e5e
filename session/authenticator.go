package session

import (
	"bytes"
	"fmt"
	"net/netip"
	"time"

	"belfry/message"
	"belfry/ws"
)

// Authenticator decides who a client is and what it may do: the third of the four
// steps of an upgrade.
type Authenticator interface {
	// Authenticate is called on a shard's goroutine and must not block. If it needs
	// time it returns pending, and calls later exactly once, from another
	// goroutine. a and its request are valid until Authenticate returns;
	// a.Request.Clone stays valid.
	Authenticate(a *Attempt, later func(Grant, *ws.Refusal)) (g Grant, refusal *ws.Refusal, pending bool)
}

// Attempt is a request to become a session.
type Attempt struct {
	Request *ws.Request
	// Remote returns the client's address, also behind a proxy. It may cost a
	// system call, and may be called only until Authenticate returns.
	Remote   func() netip.AddrPort
	Encoding string // name of the encoding that the client will speak: "belfry.v1", "plain"
}

// Grant is what an authenticator grants to a client. The server checks every
// field, whatever authenticator it comes from.
type Grant struct {
	UID    string   // "": the session has no user
	Topics []string // subscriptions from the start, which need no permission; must not be changed any more
	Asked  []string // those of Topics that only a pattern permits: they end when no pattern does any more

	// Subscribe and Publish are patterns of topics (message.CompilePatterns) that
	// the client may subscribe and publish to, beside those that everybody may.
	Subscribe, Publish []string

	Issued  time.Time     // when the credentials were issued; zero: not known. Server.Expire compares it
	Expires time.Time     // when the session ends unless it is renewed; zero: never
	Meta    []byte        // a JSON object of at most MaxMeta bytes, which hooks are told; nil: none
	Limits  SessionLimits // where the session's limits differ from those of Options

	DeviceClass string // what Options.MaxPerClass counts: "phone", "web"; "": none. A renewal does not change it
}

// MaxMeta limits Grant.Meta, in bytes.
const MaxMeta = 1 << 10

// SessionLimits are limits of one session. 0 means that of Options; a negative
// value means none.
type SessionLimits struct {
	PingInterval, Idle, IdleRead, IdleWrite time.Duration

	Topics   int // subscriptions
	Messages int // a second, as Rates.Messages, with five times as many at once
}

// Open admits every client. A client is subscribed to the topics of its ?topic=
// parameters if Topics allows them. With Unproven every ?uid= is believed, which is
// for development only; otherwise a request with ?uid= is refused. Unknown
// parameters are ignored.
type Open struct {
	Unproven bool
	Topics   *message.Patterns // nil: none
}

// Authenticate implements Authenticator. It answers at once, so later may be nil.
func (a *Open) Authenticate(at *Attempt, _ func(Grant, *ws.Refusal)) (g Grant, refusal *ws.Refusal, pending bool) {
	claimed, user := false, ""
	if a.Topics.ForUsers() { // the uid may come behind the topics
		uid, _ := at.Request.Query("uid")
		user = string(uid)
	}
	at.Request.QueryEach(func(key, value []byte) bool {
		switch {
		case string(key) == "uid":
			g.UID, refusal = a.user(string(value), claimed)
			claimed = true
		case string(key) == "topic":
			topic := string(value)
			refusal = a.mayHave(topic, user)
			g.Topics = append(g.Topics, topic)
		case bytes.EqualFold(key, []byte("uid")):
			refusal = ws.BadRequest(fmt.Sprintf("%s: the parameter for a user id is uid, in lower case", key)).WithCause(CauseUID)
		case bytes.EqualFold(key, []byte("topic")):
			refusal = ws.BadRequest(fmt.Sprintf("%s: the parameter for a topic is topic, in lower case", key)).WithCause(CauseTopic)
		}
		return refusal == nil
	})
	g.Asked = g.Topics
	return g, refusal, false
}

// user checks the user id that a client claims. again says that the request has
// claimed one before.
func (a *Open) user(uid string, again bool) (string, *ws.Refusal) {
	if !a.Unproven {
		return "", ws.Unauthorized("uid: a user id needs proof, and no setting of auth says how clients prove one (serve --dev believes it)").WithCause(CauseUID)
	}
	if again {
		return "", ws.BadRequest("uid: the parameter is repeated; a session has one user").WithCause(CauseUID)
	}
	if err := message.CheckUID(uid); err != nil {
		return "", ws.BadRequest(err.Error() + ofQuery).WithCause(CauseUID)
	}
	return uid, nil
}

// mayHave checks a topic that a client asks for.
func (a *Open) mayHave(topic, uid string) *ws.Refusal {
	if err := message.CheckTopic(topic); err != nil {
		return ws.BadRequest(err.Error() + ofQuery).WithCause(CauseTopic)
	}
	if !a.Topics.Match(topic, uid) {
		return ws.Forbidden(fmt.Sprintf("topic: %q is not open to everybody here: clients may have what auth.subscribe lists", topic)).WithCause(CauseTopic)
	}
	return nil
}

// ofQuery explains why a name may differ from what the client meant.
const ofQuery = " (in a query + is a space and %2B a plus)"
