package session

import (
	"fmt"
	"time"
	"unicode/utf8"
)

// Kind says which data frame carries a payload (RFC 6455 §5.6).
type Kind uint8

const (
	Text   Kind = iota // UTF-8 text, opcode 0x1
	Binary             // any bytes, opcode 0x2
)

// String returns "text" or "binary".
func (k Kind) String() string {
	if k == Binary {
		return "binary"
	}
	return "text"
}

// KindOf returns Text if p is valid UTF-8 and Binary otherwise. It is how a
// message without an envelope is delivered.
func KindOf(p []byte) Kind {
	if utf8.Valid(p) {
		return Text
	}
	return Binary
}

// Scope says what the names of a Target are.
type Scope uint8

const (
	ScopeAll      Scope = iota // every session; no names
	ScopeTopics                // sessions subscribed to one of the topics
	ScopeUsers                 // sessions of one of the users
	ScopeSessions              // the sessions with these ids
)

// String returns the scope as it is spelt in the API: "all", "topic", "user"
// or "session".
func (s Scope) String() string {
	switch s {
	case ScopeTopics:
		return "topic"
	case ScopeUsers:
		return "user"
	case ScopeSessions:
		return "session"
	}
	return "all"
}

// MaxTargetNames bounds the names in one Target.
const MaxTargetNames = 256

// Target says who receives a message. A session that several names match
// receives it once.
type Target struct {
	Scope Scope
	Names []string // 1 to MaxTargetNames; none for ScopeAll
}

// ToAll, ToTopics, ToUsers and ToSessions build targets.
func ToAll() Target                    { return Target{Scope: ScopeAll} }
func ToTopics(names ...string) Target  { return Target{Scope: ScopeTopics, Names: names} }
func ToUsers(uids ...string) Target    { return Target{Scope: ScopeUsers, Names: uids} }
func ToSessions(sids ...string) Target { return Target{Scope: ScopeSessions, Names: sids} }

// Check returns a *FieldError if the target has too few or too many names or
// a name that is not valid for its scope.
func (t Target) Check() error {
	if t.Scope == ScopeAll {
		if len(t.Names) != 0 {
			return &FieldError{"to", "all takes no names"}
		}
		return nil
	}
	if n := len(t.Names); n < 1 || n > MaxTargetNames {
		return &FieldError{t.Scope.String(), fmt.Sprintf("%d names; allowed are 1 to %d", n, MaxTargetNames)}
	}
	for _, name := range t.Names {
		var err error
		switch t.Scope {
		case ScopeTopics:
			err = CheckTopic(name)
		case ScopeUsers:
			err = CheckUID(name)
		case ScopeSessions:
			err = CheckID(name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Message is one push on its way to its receivers. It and its payload must
// not be changed once it was handed to Deliver or to a bus: frames are built
// from it later and on other goroutines.
type Message struct {
	ID      string // unique for the cluster; shown to belfry.v1 clients
	Target  Target
	Exclude string // id of a session that does not receive it; "" for none
	Kind    Kind
	Key     string // what latest-only replaces by; "" means the target itself
	Payload []byte

	// Received is when the message came to this node, for the measurement of
	// latency; zero if that is not of interest. It is not sent on.
	Received time.Time
}

// FieldError is bad input: the field that is wrong and what it may be.
type FieldError struct {
	Field   string // as the caller spelt it: "topic", "uid", "exclude", …
	Problem string // what is wrong and what is allowed
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Problem }
