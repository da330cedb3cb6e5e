package message

import (
	"fmt"
	"strings"
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

// KindOf returns Text if p is valid UTF-8 and Binary otherwise. It decides for
// messages that do not name their kind.
func KindOf(p []byte) Kind {
	if utf8.Valid(p) {
		return Text
	}
	return Binary
}

// Scope says what kind of names a Target has.
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

// MaxTargetNames is the largest number of names in one Target.
const MaxTargetNames = 256

// MaxExcludedTopics is the largest number of Target.ExcludeTopics.
const MaxExcludedTopics = 16

// Target says which sessions receive a message. A session that matches several
// names receives the message once.
type Target struct {
	Scope Scope
	Names []string // 1 to MaxTargetNames; none for ScopeAll

	Exclude       string   // id of a session that does not receive it; "" for none
	ExcludeTopics []string // sessions subscribed to one of these do not receive it; up to MaxExcludedTopics
}

// ToAll returns the target of every session.
func ToAll() Target { return Target{Scope: ScopeAll} }

// ToTopics returns the target of the sessions that subscribed to one of the
// topics. The target keeps names.
func ToTopics(names ...string) Target { return Target{Scope: ScopeTopics, Names: names} }

// ToUsers returns the target of the sessions of these users. It keeps uids.
func ToUsers(uids ...string) Target { return Target{Scope: ScopeUsers, Names: uids} }

// ToSessions returns the target of the sessions with these ids. It keeps sids.
func ToSessions(sids ...string) Target { return Target{Scope: ScopeSessions, Names: sids} }

// Check returns a *FieldError if the target has too few or too many names, or a
// name that is not valid for its scope.
func (t Target) Check() error {
	if t.Exclude != "" {
		if err := CheckSID(t.Exclude); err != nil {
			return &FieldError{"exclude", "not a session id"}
		}
	}
	if n := len(t.ExcludeTopics); n > MaxExcludedTopics {
		return &FieldError{"exclude_topics", fmt.Sprintf("%d names; allowed are up to %d", n, MaxExcludedTopics)}
	}
	for _, name := range t.ExcludeTopics {
		if err := CheckTopic(name); err != nil {
			return Renamed(err, "exclude_topics")
		}
	}
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
			err = CheckSID(name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Message is one push. The message and its payload must not be changed after
// they were given to sessions or to a bus: frames are built from them later and
// on other goroutines.
type Message struct {
	ID      string // unique in the cluster; shown to belfry.v1 clients
	Target  Target
	Kind    Kind
	Key     string // under the policy latest-only a message replaces a waiting one with the same key; "": the same target
	Op      uint32 // operation number, for encodings that have one; 0 for none
	Payload []byte

	// Received is the time at which the message came to this node. It serves to
	// measure latency and is not sent to other nodes. The zero time means that
	// the latency is not measured.
	Received time.Time

	// Report counts what becomes of the message on this node; nil: nobody wants
	// to know. Other nodes are asked for reports of their own.
	Report *Report
}

// Check validates a message. Every message is checked with it, whether it comes
// from the API, from the bus or from a client. Check returns a *FieldError, or a
// *TooLargeError if the payload has more than maxPayload bytes.
func (m *Message) Check(maxPayload int) error {
	if err := m.Target.Check(); err != nil {
		return err
	}
	if m.Key != "" {
		if err := CheckKey(m.Key); err != nil {
			return err
		}
	}
	if len(m.ID) > MaxIDLen || strings.ContainsFunc(m.ID, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return &FieldError{"id", fmt.Sprintf("allowed are up to %d printable ASCII characters without spaces", MaxIDLen)}
	}
	if len(m.Payload) > maxPayload {
		return &TooLargeError{What: "payload", Size: len(m.Payload), Max: maxPayload}
	}
	switch m.Kind {
	case Binary:
	case Text:
		if !utf8.Valid(m.Payload) {
			return &FieldError{"payload", "text that is not valid UTF-8; send it as binary"}
		}
	default:
		return &FieldError{"kind", "allowed are text and binary"}
	}
	return nil
}

// Topic returns the topic that m is for. It returns "" if m is for no topic, or
// for several: then it is not known which of them a session subscribed to.
func (m *Message) Topic() string {
	if m.Target.Scope != ScopeTopics || len(m.Target.Names) != 1 {
		return ""
	}
	return m.Target.Names[0]
}
