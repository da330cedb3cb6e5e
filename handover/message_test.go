package handover

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"belfry/message"
)

// samples are messages with every field, alone and together.
func samples() []*message.Message {
	now := time.Unix(1_700_000_000, 123)
	return []*message.Message{
		{},
		{ID: "a1", Payload: []byte("x")},
		{Target: message.ToTopics("news", "a.b"), Kind: message.Binary, Payload: []byte{0, 255}, Op: 1<<32 - 1},
		{Target: message.ToUsers("u1"), Key: "k", Received: now, Expires: now.Add(time.Hour)},
		{Target: message.Target{Scope: message.ScopeSessions, Names: []string{"AAE"}, Exclude: "AAF", ExcludeTopics: []string{"t", "u"}}},
		{Target: message.ToTopics(""), Membership: message.MemberCount, Spread: message.MaxSpread},
	}
}

func TestMessage(t *testing.T) {
	for _, m := range samples() {
		got, err := parseMessage(appendMessage(nil, m))
		if err != nil {
			t.Fatalf("%+v: %v", m, err)
		}
		if !reflect.DeepEqual(got, m) {
			t.Errorf("got %+v\nwant %+v", got, m)
		}
	}
}

// A new field of message.Message must be sent, or be listed here with the reason.
func TestMessageFields(t *testing.T) {
	if n := reflect.TypeFor[message.Message]().NumField(); n != 11 {
		t.Errorf("message.Message has %d fields, message.go of this package knows 11 (Report is not sent)", n)
	}
	if n := reflect.TypeFor[message.Target]().NumField(); n != 4 {
		t.Errorf("message.Target has %d fields, message.go of this package knows 4", n)
	}
}

// A field of a later version is skipped.
func TestMessageUnknownField(t *testing.T) {
	b := appendField(appendNumber(nil, 99, 7), 100, "later")
	m, err := parseMessage(appendText(b, fieldID, "a"))
	if err != nil || m.ID != "a" {
		t.Errorf("%+v, %v", m, err)
	}
}

func FuzzMessage(f *testing.F) {
	for _, m := range samples() {
		b := appendMessage(nil, m)
		f.Add(b)
		for i := range b {
			f.Add(b[:i])
		}
	}
	f.Add(appendNumber(nil, fieldReceived, 1<<63))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMessage(b)
		if err != nil {
			return
		}
		// What was read is written in one way, which is read again as the same.
		once := appendMessage(nil, m)
		again, err := parseMessage(once)
		if err != nil {
			t.Fatalf("%x was written as %x: %v", b, once, err)
		}
		if twice := appendMessage(nil, again); !bytes.Equal(once, twice) {
			t.Fatalf("%x and %x", once, twice)
		}
	})
}
