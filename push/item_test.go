package push

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"belfry/message"
)

func TestItem(t *testing.T) {
	tests := []struct {
		line string
		want message.Message
	}{
		{`{"to":{"all":true},"text":"hi"}`, message.Message{Target: message.ToAll(), Payload: []byte("hi")}},
		{`{"text":"a\"b\u00e9\n","to":{"topic":"a/b"}}`, message.Message{Target: message.ToTopics("a/b"), Payload: []byte("a\"bé\n")}},
		{`{"to":{"topics":["a","b"]},"json":{ "x" : [1, 2.50, "\u00e9"] }}`, message.Message{Target: message.ToTopics("a", "b"), Payload: []byte(`{ "x" : [1, 2.50, "\u00e9"] }`)}},
		{`{"to":{"user":"J\u00f6rg /.."},"json":null}`, message.Message{Target: message.ToUsers("Jörg /.."), Payload: []byte(`null`)}},
		{`{"to":{"users":["a","b"]},"json":"s"}`, message.Message{Target: message.ToUsers("a", "b"), Payload: []byte(`"s"`)}},
		{`{"to":{"session":"` + testSID + `"},"base64":"/wD+"}`, message.Message{Target: message.ToSessions(testSID), Kind: message.Binary, Payload: []byte("\xff\x00\xfe")}},
		{`{"to":{"sessions":["` + testSID + `"]},"text":""}`, message.Message{Target: message.ToSessions(testSID)}},
		{"\t{ \"to\" : { \"all\" : true } , \"text\" : \"x\" , \"exclude\" : \"" + testSID + "\" , \"key\" : \"k\" } ", message.Message{Target: message.Target{Exclude: testSID}, Key: "k", Payload: []byte("x")}},
		{`{"exclude":"` + testSID + `","to":{"user":"a"},"text":""}`, message.Message{Target: message.Target{Scope: message.ScopeUsers, Names: []string{"a"}, Exclude: testSID}}},
		{`{"t\u006f":{"all":true},"text":"x"}`, message.Message{Target: message.ToAll(), Payload: []byte("x")}},
		{`{"to":{"all":true},"base64":""}`, message.Message{Target: message.ToAll(), Kind: message.Binary}},
	}
	for _, tt := range tests {
		line := []byte(tt.line)
		it, p := parseItem(line, 100)
		if p != nil {
			t.Errorf("%s: %+v", tt.line, p)
			continue
		}
		m := &it.m
		for i := range line {
			line[i] = 'X' // if the message kept a part of line, it shows
		}
		if fmt.Sprintf("%+v", *m) != fmt.Sprintf("%+v", tt.want) {
			t.Errorf("%s\n got %+v\nwant %+v", tt.line, *m, tt.want)
		}
	}
}

func TestItemRefusals(t *testing.T) {
	many := func(n int) string { return strings.TrimSuffix(strings.Repeat(`"t",`, n), ",") }
	tests := []struct {
		line   string
		cause  Cause
		field  string
		detail string
	}{
		{`{"to":{"all":true},"text":"hi"`, CauseLine, "", "not valid JSON at byte 30: it ends too early"},
		{`{"to":{"all":true},"text":"hi"} {}`, CauseLine, "", "not valid JSON at byte 31: something follows the object"},
		{"{\"to\":{\"all\":true},\"text\":\"\xff\"}", CauseLine, "", "not valid UTF-8; send other bytes as base64"},
		{`[1]`, CauseLine, "", "not a JSON object; allowed is an object such as"},
		{`"text"`, CauseLine, "", "object"},
		{`{}`, CauseField, "to", "missing"},
		{`{"text":"x"}`, CauseField, "to", "missing"},
		{`{"to":{"all":true}}`, CauseField, "text", "one of text, json and base64"},
		{`{"to":{"all":true},"text":"x","json":1}`, CauseField, "json", "one of"},
		{`{"to":{"all":true},"text":"x","text":"y"}`, CauseField, "text", "more than once"},
		{`{"to":{"all":true},"to":{"all":true},"text":"x"}`, CauseField, "to", "more than once"},
		{`{"to":{"all":true},"key":"a","key":"a","text":"x"}`, CauseField, "key", "more than once"},
		{`{"to":{"all":true},"Text":"x"}`, CauseField, "Text", "unknown"},
		{`{"to":{"all":true},"text":"x","tll":5}`, CauseField, "tll", "unknown"},
		{`{"to":{"all":true},"text":5}`, CauseField, "text", "must be a string"},
		{`{"to":{"all":true},"text":"\ud800"}`, CauseField, "text", "surrogate"},
		{`{"to":{"all":true},"base64":"/wD"}`, CauseField, "base64", "padding"},
		{`{"to":{"all":true},"base64":"/wD+\n"}`, CauseField, "base64", "a line break at byte 4"},
		{`{"to":{"all":true},"base64":"/wD\r\n+"}`, CauseField, "base64", "a line break at byte 3"},
		{`{"to":{"all":true},"base64":"_-D+"}`, CauseField, "base64", "standard alphabet"},
		{`{"to":{"all":true},"base64":"/x=="}`, CauseField, "base64", "standard alphabet"}, // unused bits are not 0
		{`{"to":{"all":true},"text":"123456789012345678901"}`, CausePayloadTooLarge, "text", "21 bytes; allowed are at most 20"},
		{`{"to":{"all":true},"json":[1,2,3,4,5,6,7,8,9,10]}`, CausePayloadTooLarge, "json", "22 bytes"},
		{`{"to":{"all":true},"exclude":"x","text":"x"}`, CauseField, "exclude", "30"},
		{`{"to":{"all":true},"exclude":null,"text":"x"}`, CauseField, "exclude", "must be a string"},
		{`{"to":{"all":true},"key":"","text":"x"}`, CauseField, "key", "1 to 128"},
		{`{"to":{"all":false},"text":"x"}`, CauseField, "to.all", "true"},
		{`{"to":{},"text":"x"}`, CauseField, "to", "0 fields"},
		{`{"to":{"topic":"a","user":"b"},"text":"x"}`, CauseField, "to", "2 fields"},
		{`{"to":"all","text":"x"}`, CauseField, "to", "must be an object"},
		{`{"to":{"room":"a"},"text":"x"}`, CauseField, "to.room", "unknown"},
		{`{"to":{"topic":["a"]},"text":"x"}`, CauseField, "to.topic", "must be a string"},
		{`{"to":{"topic":"a..b"},"text":"x"}`, CauseField, "to.topic", "empty token"},
		{`{"to":{"topics":"a"},"text":"x"}`, CauseField, "to.topics", "must be an array"},
		{`{"to":{"topics":[]},"text":"x"}`, CauseField, "to.topics", "1 to 256"},
		{`{"to":{"topics":["a",1]},"text":"x"}`, CauseField, "to.topics[1]", "must be a string"},
		{`{"to":{"topics":[` + many(257) + `]},"text":"x"}`, CauseField, "to.topics", "1 to 256"},
		{`{"to":{"user":"a\u0000"},"text":"x"}`, CauseField, "to.user", "control"},
		{`{"to":{"session":"abc"},"text":"x"}`, CauseField, "to.session", "30"},
	}
	for _, tt := range tests {
		it, p := parseItem([]byte(tt.line), 20)
		if p == nil {
			t.Errorf("%s was accepted: %+v", tt.line, it.m)
			continue
		}
		if p.cause != tt.cause || p.field != tt.field || !strings.Contains(p.detail, tt.detail) {
			t.Errorf("%.80s\n got %v %q %q\nwant %v %q %q", tt.line, p.cause, p.field, p.detail, tt.cause, tt.field, tt.detail)
		}
	}
}

// No line makes the parser panic. An accepted line has a valid target and payload,
// and the problem of a refused line is valid JSON.
func FuzzItem(f *testing.F) {
	for _, s := range []string{
		`{"to":{"all":true},"text":"hi"}`, `{"to":{"topics":["a","b"]},"json":{ "x" : [1, 2.50] },"key":"k"}`,
		`{"to":{"session":"` + testSID + `"},"base64":"/wD+","exclude":"` + testSID + `"}`, `{"to":{"user":"\ud83d\ude00"},"text":""}`, `{"to":{}}`, `[]`, ``,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		it, p := parseItem(line, 1000)
		if (it == nil) == (p == nil) {
			t.Fatalf("%q: %v and %v", line, it, p)
		}
		if p != nil {
			if !json.Valid(p.appendJSON(nil)) {
				t.Fatalf("%q: problem %s", line, p.appendJSON(nil))
			}
			return
		}
		m := &it.m
		if err := m.Target.Check(); err != nil || len(m.Payload) > 1000 || m.Kind == message.Text && !utf8.Valid(m.Payload) {
			t.Fatalf("%q: %+v, %v", line, m, err)
		}
	})
}

func TestItemProblemOfPlainErrors(t *testing.T) {
	if p := asProblem(errors.New("x")); p.cause != CauseLine {
		t.Error(p.cause)
	}
}
