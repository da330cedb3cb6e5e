package message

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// TestCheck has each field checked at the door.
func TestCheck(t *testing.T) {
	sid := SID{Node: 1}.Format(new([32]byte))
	many := slices.Repeat([]string{"t"}, MaxTargetNames+1)
	for field, m := range map[string]Message{
		"":               {Target: Target{Exclude: sid, ExcludeTopics: many[:MaxExcludedTopics]}, ID: "id", Key: "a b", Op: 7, Payload: []byte("x")},
		"to":             {Target: Target{Names: []string{"x"}}},
		"topic":          {Target: ToTopics("a..b")},
		"uid":            {Target: ToUsers("a\n")},
		"session":        {Target: ToSessions(sid[1:])},
		"user":           {Target: ToUsers(many...)},
		"exclude":        {Target: Target{Exclude: "x"}},
		"exclude_topics": {Target: Target{ExcludeTopics: []string{"a", "*"}}},
		"key":            {Key: "\x01"},
		"id":             {ID: "a b"},
		"kind":           {Kind: 2},
	} {
		err := m.Check(1)
		var fe *FieldError
		if field == "" && err != nil || field != "" && (!errors.As(err, &fe) || fe.Field != field) {
			t.Errorf("%q: %v", field, err)
		}
	}
	for _, to := range []Target{{ExcludeTopics: many[:MaxExcludedTopics+1]}, ToTopics(), ToTopics(many...)} {
		if to.Check() == nil {
			t.Errorf("%d names, %d excluded: accepted", len(to.Names), len(to.ExcludeTopics))
		}
	}
	for _, m := range []Message{{Key: strings.Repeat("k", MaxUIDLen+1)}, {ID: strings.Repeat("i", MaxIDLen+1)}, {Payload: []byte("\xff")}} {
		if m.Check(9) == nil {
			t.Errorf("%+v: accepted", m)
		}
	}
	var large *TooLargeError
	if err := (&Message{Payload: []byte("xx")}).Check(1); !errors.As(err, &large) || large.Size != 2 || large.Max != 1 {
		t.Errorf("%v", err)
	}
}

// An event type is a message's topic only if every session that gets the
// message has subscribed to that topic.
func TestTopic(t *testing.T) {
	for want, to := range map[string]Target{"a": ToTopics("a"), "": ToTopics("a", "b")} {
		if got := (&Message{Target: to}).Topic(); got != want {
			t.Errorf("%v: %q, want %q", to, got, want)
		}
	}
	for _, to := range []Target{ToAll(), ToUsers("a"), ToSessions("a"), {Scope: ScopeTopics}} {
		if got := (&Message{Target: to}).Topic(); got != "" {
			t.Errorf("%v: %q", to, got)
		}
	}
}
