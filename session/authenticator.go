package session

import (
	"fmt"
	"strings"
)

// Authenticator decides who a client is and what it may have: the second of
// the three steps of an upgrade.
type Authenticator interface {
	// Authenticate is called on a shard's goroutine and must not block. What
	// takes time is done elsewhere: it then returns pending, and calls later
	// exactly once, from another goroutine. r is valid until Authenticate
	// returns; r.Clone lasts.
	Authenticate(r *Request, later func(Grant, *Refusal)) (g Grant, refusal *Refusal, pending bool)
}

// Grant is what a client was found to be.
type Grant struct {
	UID    string   // "": nobody in particular
	Topics []string // subscribed to from the start; must not be changed any more
}

// Open admits everybody. A client is subscribed to the topics of its ?topic=
// parameters if TopicRules has them. With Unproven it is believed whatever
// ?uid= it claims, which is for development only; without, a claim is refused.
type Open struct {
	Unproven bool
	Topics   TopicRules
}

// Authenticate implements Authenticator.
func (a *Open) Authenticate(r *Request, _ func(Grant, *Refusal)) (g Grant, refusal *Refusal, pending bool) {
	if uid, ok := r.Query("uid"); ok {
		if !a.Unproven {
			return g, Unauthorized("uid: a user id needs proof, and this server has no way to check one (serve --dev believes it)").Because(CauseUID), false
		}
		g.UID = string(uid)
		if err := CheckUID(g.UID); err != nil {
			return g, malformed(err.Error()).Because(CauseUID), false
		}
	}
	r.QueryAll("topic", func(v []byte) bool {
		topic := string(v)
		if err := CheckTopic(topic); err != nil {
			refusal = malformed(err.Error()).Because(CauseTopic)
		} else if !a.Topics.Allow(topic) {
			refusal = Forbidden(fmt.Sprintf("topic: %q is not open to everybody here", topic)).Because(CauseTopic)
		}
		g.Topics = append(g.Topics, topic)
		return refusal == nil
	})
	return g, refusal, false
}

// TopicRules say which topics any client may subscribe to.
type TopicRules struct {
	all      bool
	exact    map[string]bool
	prefixes []string
}

// CompileTopics reads rules: a topic, "public.*" for all that begin with
// "public.", or "*" for all. It returns a *FieldError for anything else.
func CompileTopics(rules []string) (TopicRules, error) {
	t := TopicRules{exact: map[string]bool{}}
	for _, rule := range rules {
		prefix, wild := strings.CutSuffix(rule, "*")
		switch {
		case rule == "*":
			t.all = true
		case wild:
			if err := CheckTopic(prefix + "x"); err != nil || !strings.HasSuffix(prefix, ".") {
				return t, &FieldError{"open_topics", fmt.Sprintf("%q is neither a topic, nor one with .* behind it, nor *", rule)}
			}
			t.prefixes = append(t.prefixes, prefix)
		default:
			if err := CheckTopic(rule); err != nil {
				return t, &FieldError{"open_topics", err.Error()}
			}
			t.exact[rule] = true
		}
	}
	return t, nil
}

// Allow says whether any client may subscribe to topic.
func (t *TopicRules) Allow(topic string) bool {
	if t.all || t.exact[topic] {
		return true
	}
	for _, p := range t.prefixes {
		if strings.HasPrefix(topic, p) {
			return true
		}
	}
	return false
}
