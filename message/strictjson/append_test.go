package strictjson

import (
	"encoding/json"
	"testing"
	"unicode/utf8"
)

func TestStringsAreEscaped(t *testing.T) {
	for in, want := range map[string]string{
		"":                 `""`,
		"a\"b\\c/":         `"a\"b\\c/"`,
		"\n\r\t\b\f\x00":   `"\n\r\t\u0008\u000c\u0000"`,
		"\x1f\x7f ":        "\"\\u001f\x7f \"",
		"\u2028x\u2029":    `"\u2028x\u2029"`,
		"grüße 🦉<&>":       `"grüße 🦉<&>"`,
		"\xff\xc3":         `"\ufffd\ufffd"`,
		"\xed\xa0\x80":     `"\ufffd\ufffd\ufffd"`,
		"\ufffd":           "\"\ufffd\"",
		"\u2027\u202a\xe2": "\"\u2027\u202a\\ufffd\"",
	} {
		if got := string(AppendString(nil, in)); got != want {
			t.Errorf("string %q: got %s, want %s", in, got, want)
		}
		if got := string(AppendString(nil, []byte(in))); got != want {
			t.Errorf("bytes %q: got %s, want %s", in, got, want)
		}
	}
}

// encoding/json reads what AppendString writes.
func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "plain", "\"\\\n\t\x00\x7f", "grüße \U0001F514", "a\xffb\xc3", "\u2028</script>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		if err := json.Unmarshal(AppendString(nil, s), &got); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		want := string([]rune(s)) // bytes that are not UTF-8 become U+FFFD
		if got != want || utf8.ValidString(s) && got != s {
			t.Errorf("%q became %q", s, got)
		}
	})
}
