package handover

import (
	"encoding/binary"
	"errors"
	"time"

	"belfry/message"
)

// A message is a list of fields, each a tag (number<<3 | type) and a value: a varint
// (type 0), or a length and bytes (type 2), as in protocol buffers. Fields with the zero
// value are left out, and fields with an unknown number are skipped. Times are
// nanoseconds since 1970: both processes have the clock of one machine.
//
// Message.Report is not sent: it counts for an answer of the old process, which names
// this node as silent.
const (
	fieldID         = 1
	fieldScope      = 2
	fieldName       = 3 // repeated
	fieldExclude    = 4
	fieldWithout    = 5 // repeated
	fieldKind       = 6
	fieldKey        = 7
	fieldOp         = 8
	fieldPayload    = 9
	fieldMembership = 10
	fieldReceived   = 11
	fieldExpires    = 12
	fieldSpread     = 13
)

const (
	typeVarint = 0
	typeBytes  = 2
)

var errMessage = errors.New("handover: not a message")

// appendMessage appends m.
func appendMessage(b []byte, m *message.Message) []byte {
	b = appendText(b, fieldID, m.ID)
	b = appendNumber(b, fieldScope, uint64(m.Target.Scope))
	for _, name := range m.Target.Names {
		b = appendField(b, fieldName, name)
	}
	b = appendText(b, fieldExclude, m.Target.Exclude)
	for _, topic := range m.Target.ExcludeTopics {
		b = appendField(b, fieldWithout, topic)
	}
	b = appendNumber(b, fieldKind, uint64(m.Kind))
	b = appendText(b, fieldKey, m.Key)
	b = appendNumber(b, fieldOp, uint64(m.Op))
	b = appendText(b, fieldPayload, m.Payload)
	b = appendNumber(b, fieldMembership, uint64(m.Membership))
	b = appendTime(b, fieldReceived, m.Received)
	b = appendTime(b, fieldExpires, m.Expires)
	return appendNumber(b, fieldSpread, uint64(m.Spread))
}

func appendNumber(b []byte, field int, v uint64) []byte {
	if v == 0 {
		return b
	}
	return binary.AppendUvarint(binary.AppendUvarint(b, uint64(field)<<3|typeVarint), v)
}

// appendTime appends the times after 1970; the zero time and all before are left out.
func appendTime(b []byte, field int, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	return appendNumber(b, field, uint64(max(t.UnixNano(), 0)))
}

func appendText[T string | []byte](b []byte, field int, v T) []byte {
	if len(v) == 0 {
		return b
	}
	return appendField(b, field, v)
}

func appendField[T string | []byte](b []byte, field int, v T) []byte {
	b = binary.AppendUvarint(b, uint64(field)<<3|typeBytes)
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

// field is one field of a message: v of a varint, p of bytes.
type field struct {
	number int
	v      uint64
	p      []byte
}

// nextField reads a field from the start of b and returns the rest.
func nextField(b []byte) (f field, rest []byte, err error) {
	tag, b, err := uvarint(b)
	if err != nil || tag>>3 > 1<<20 {
		return f, nil, errMessage
	}
	f.number = int(tag >> 3)
	if f.v, b, err = uvarint(b); err != nil {
		return f, nil, err
	}
	switch tag & 7 {
	case typeVarint:
		return f, b, nil
	case typeBytes:
		if f.v > uint64(len(b)) {
			return f, nil, errMessage
		}
		f.p = b[:f.v]
		return f, b[f.v:], nil
	}
	return f, nil, errMessage
}

func uvarint(b []byte) (v uint64, rest []byte, err error) {
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, nil, errMessage
	}
	return v, b[n:], nil
}

// parseMessage reads a message. It keeps b.
func parseMessage(b []byte) (*message.Message, error) {
	m := new(message.Message)
	for len(b) > 0 {
		f, rest, err := nextField(b)
		if err != nil {
			return nil, err
		}
		if !setField(m, &f) {
			return nil, errMessage
		}
		b = rest
	}
	return m, nil
}

// setField puts a field into m. It returns false if the value cannot be one.
func setField(m *message.Message, f *field) bool {
	switch f.number {
	case fieldID:
		m.ID = string(f.p)
	case fieldScope:
		m.Target.Scope = message.Scope(f.v)
		return f.v <= uint64(message.ScopeSessions)
	case fieldName:
		m.Target.Names = append(m.Target.Names, string(f.p))
		return len(m.Target.Names) <= message.MaxTargetNames
	case fieldExclude:
		m.Target.Exclude = string(f.p)
	case fieldWithout:
		m.Target.ExcludeTopics = append(m.Target.ExcludeTopics, string(f.p))
		return len(m.Target.ExcludeTopics) <= message.MaxExcludedTopics
	case fieldKind:
		m.Kind = message.Kind(f.v)
		return f.v <= uint64(message.Binary)
	case fieldKey:
		m.Key = string(f.p)
	case fieldOp:
		m.Op = uint32(f.v)
		return f.v <= 1<<32-1
	case fieldPayload:
		m.Payload = f.p
	case fieldMembership:
		m.Membership = message.Membership(f.v)
		return f.v <= uint64(message.MemberCount)
	case fieldReceived:
		m.Received = time.Unix(0, int64(f.v))
		return f.v < 1<<63
	case fieldExpires:
		m.Expires = time.Unix(0, int64(f.v))
		return f.v < 1<<63
	case fieldSpread:
		m.Spread = time.Duration(f.v)
		return f.v <= uint64(message.MaxSpread)
	}
	return true
}
