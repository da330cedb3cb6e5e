package message

import "encoding/json"

// Membership says that a message tells the subscribers of its topic about each other.
// Its payload is a JSON object with at least one field and without "type" and "topic".
// Encodings that have no words for it write nothing.
type Membership uint8

const (
	NoMembership Membership = iota // a message of a publisher
	MemberJoin                     // sessions that have subscribed
	MemberLeave                    // sessions that are not subscribed any more
	MemberCount                    // only how many there are
)

// String returns "join", "leave", "count", or "" for NoMembership.
func (m Membership) String() string {
	switch m {
	case MemberJoin:
		return "join"
	case MemberLeave:
		return "leave"
	case MemberCount:
		return "count"
	}
	return ""
}

// ParseMembership is the reverse of String. It knows no "".
func ParseMembership(s string) (m Membership, ok bool) {
	for m = MemberJoin; m <= MemberCount; m++ {
		if m.String() == s {
			return m, true
		}
	}
	return NoMembership, false
}

// checkMembership checks a message with a Membership.
func (m *Message) checkMembership() error {
	switch {
	case m.Topic() == "":
		return &FieldError{"membership", "the message must have exactly one topic"}
	case m.Kind != Text || len(m.Payload) < len(`{"":0}`) || m.Payload[0] != '{' || m.Payload[1] != '"' || !json.Valid(m.Payload):
		return &FieldError{"payload", "of join, leave and count: must be a JSON object with a field, without spaces around it"}
	}
	return nil
}
