package session

import (
	"bytes"
	"fmt"

	"belfry/message"
	"belfry/ws"
)

// Authenticator decides who a client is and what it may have: the second of
// the three steps of an upgrade.
type Authenticator interface {
	// Authenticate is called on a shard's goroutine and must not block. What
	// takes time is done elsewhere: it then returns pending, and calls later
	// exactly once, from another goroutine. r is valid until Authenticate
	// returns; r.Clone lasts.
	Authenticate(r *ws.Request, later func(Grant, *ws.Refusal)) (g Grant, refusal *ws.Refusal, pending bool)
}

// Grant is what a client was found to be.
type Grant struct {
	UID    string   // "": nobody in particular
	Topics []string // subscribed to from the start; must not be changed any more
}

// Open admits everybody. A client is subscribed to the topics of its ?topic=
// parameters if Topics allows them. With Unproven it is believed whatever
// ?uid= it claims, which is for development only; without, a claim is refused.
// Parameters that it does not know are ignored.
type Open struct {
	Unproven bool
	Topics   message.TopicRules
}

// Authenticate implements Authenticator.
func (a *Open) Authenticate(r *ws.Request, _ func(Grant, *ws.Refusal)) (g Grant, refusal *ws.Refusal, pending bool) {
	claimed := false
	r.QueryEach(func(key, value []byte) bool {
		switch {
		case string(key) == "uid":
			g.UID, refusal = a.user(string(value), claimed)
			claimed = true
		case string(key) == "topic":
			topic := string(value)
			refusal = a.mayHave(topic)
			g.Topics = append(g.Topics, topic)
		case bytes.EqualFold(key, []byte("uid")):
			refusal = ws.BadRequest(fmt.Sprintf("%s: the parameter for a user id is uid, in lower case", key)).WithCause(CauseUID)
		case bytes.EqualFold(key, []byte("topic")):
			refusal = ws.BadRequest(fmt.Sprintf("%s: the parameter for a topic is topic, in lower case", key)).WithCause(CauseTopic)
		}
		return refusal == nil
	})
	return g, refusal, false
}

// user checks a uid that a client claims.
func (a *Open) user(uid string, again bool) (string, *ws.Refusal) {
	if !a.Unproven {
		return "", ws.Unauthorized("uid: a user id needs proof, and this server has no way to check one (serve --dev believes it)").WithCause(CauseUID)
	}
	if again {
		return "", ws.BadRequest("uid: the parameter is repeated; a session has one user").WithCause(CauseUID)
	}
	if err := message.CheckUID(uid); err != nil {
		return "", ws.BadRequest(err.Error() + ofQuery).WithCause(CauseUID)
	}
	return uid, nil
}

func (a *Open) mayHave(topic string) *ws.Refusal {
	if err := message.CheckTopic(topic); err != nil {
		return ws.BadRequest(err.Error() + ofQuery).WithCause(CauseTopic)
	}
	if !a.Topics.Allow(topic) {
		return ws.Forbidden(fmt.Sprintf("topic: %q is not open to everybody here: clients may have what session.open_topics lists", topic)).WithCause(CauseTopic)
	}
	return nil
}

// ofQuery explains a name that is not what the client thought it wrote.
const ofQuery = " (in a query + is a space and %2B a plus)"
