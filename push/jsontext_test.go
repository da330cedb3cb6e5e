package push

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"
)

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "plain", "\"\\\n\t\x00\x7f", "grüße \U0001F514", "a\xffb\xc3", "\u2028</script>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		if err := json.Unmarshal(appendString(nil, s), &got); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if want := string(bytes.ToValidUTF8([]byte(s), []byte("\ufffd"))); got != want && utf8.ValidString(s) {
			t.Errorf("%q became %q", s, got)
		}
	})
}

// What the walk over an object finds is what encoding/json finds.
func FuzzWalk(f *testing.F) {
	for _, s := range []string{
		`{}`, ` { } `, `{"a":1}`, `{"a" : [1, {"b":"]}\""}], "c":"\u00e9\ud83d\ude00","d":null}`,
		`{"a":-1.5e3,"b":true}`, "{\"\\\\\":{\"x\":[]}\t,\r\"y\":\"\\\\\"}", `{"a":"\ud800"}`, `{"a":"\ud800\u0041"}`,
		`[]`, `[1,"a,]",[2],{}]`, ` [ "x" , "y" ] `,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if !json.Valid(b) || !utf8.Valid(b) {
			return
		}
		switch b[skipSpace(b, 0)] {
		case '{':
			var want map[string]json.RawMessage
			if err := json.Unmarshal(b, &want); err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			halves := false
			eachMember(b, func(name, value []byte) error {
				n, ok := unquote(name)
				halves = halves || !ok
				got[string(n)] = string(value)
				return nil
			})
			if halves {
				return // encoding/json makes U+FFFD of them
			}
			if len(got) != len(want) {
				t.Fatalf("%s: %d members, want %d", b, len(got), len(want))
			}
			for name, value := range want {
				if got[name] != string(value) {
					t.Fatalf("%s: %q is %q, want %q", b, name, got[name], value)
				}
			}
		case '[':
			var want []json.RawMessage
			if err := json.Unmarshal(b, &want); err != nil {
				t.Fatal(err)
			}
			var got []string
			eachElement(b, func(value []byte) error { got = append(got, string(value)); return nil })
			if len(got) != len(want) {
				t.Fatalf("%s: %d elements, want %d", b, len(got), len(want))
			}
			for i := range want {
				if got[i] != string(want[i]) {
					t.Fatalf("%s: element %d is %q, want %q", b, i, got[i], want[i])
				}
			}
		case '"':
			raw := bytes.TrimSpace(b)
			got, ok := unquote(raw)
			var want string
			if err := json.Unmarshal(raw, &want); err != nil {
				t.Fatal(err)
			}
			if ok && string(got) != want {
				t.Fatalf("%s is %q, want %q", raw, got, want)
			}
			if !ok && !bytes.ContainsRune([]byte(want), utf8.RuneError) {
				t.Fatalf("%s refused", raw)
			}
		}
	})
}

func TestUnquoteRefusesHalfPairs(t *testing.T) {
	for _, s := range []string{`"\ud800"`, `"\udc00"`, `"\ud800\ud800"`, `"\ud800x"`, `"\udc00\ud800"`, `"\ud83dA"`} {
		if p, ok := unquote([]byte(s)); ok {
			t.Errorf("%s gave %q", s, p)
		}
	}
	if p, ok := unquote([]byte(`"\ud83d\ude00\/\b\f\n\r\t\"\\\u00E9"`)); !ok || string(p) != "\U0001F600/\b\f\n\r\t\"\\é" {
		t.Errorf("%q %v", p, ok)
	}
}
