package strictjson

import (
	"errors"
	"strings"
	"testing"

	"belfry/message"
)

func TestStrings(t *testing.T) {
	for in, want := range map[string]string{
		`""`:                                   "",
		`"a\\b"`:                               `a\b`,
		`"\ufffd"`:                             "\ufffd",
		`"\\ud800"`:                            `\ud800`,
		`"grüße 🦉"`:                            "grüße 🦉",
		`"\ud83d\ude00\/\b\f\n\r\t\"\\\u00E9"`: "\U0001F600/\b\f\n\r\t\"\\é",
	} {
		if got, err := String("f", []byte(in)); err != nil || got != want {
			t.Errorf("%s: %q, %v", in, got, err)
		}
		if got, err := Bytes("f", []byte(in)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", in, got, err)
		}
	}
}

func TestStringRefusals(t *testing.T) {
	for in, problem := range map[string]string{
		`null`: "must be a string", `1`: "must be a string", `["a"]`: "must be a string", `{}`: "must be a string", `true`: "must be a string",
		`"\ud800"`: "surrogate", `"\udc00"`: "surrogate", `"\ud800\ud800"`: "surrogate", `"\ud800x"`: "surrogate",
		`"\udc00\ud800"`: "surrogate", `"\ud83dA"`: "surrogate", `"\\\ud83e\ud83e"`: "surrogate", `"\ud83e\n0000"`: "surrogate",
	} {
		_, err := String("f", []byte(in))
		f, ok := errors.AsType[*message.FieldError](err)
		if !ok || f.Field != "f" || !strings.Contains(f.Detail, problem) {
			t.Errorf("String of %s: %v", in, err)
		}
		if _, err := Bytes("f", []byte(in)); err == nil || err.Error() != f.Error() {
			t.Errorf("Bytes of %s: %v", in, err)
		}
	}
}

// What is returned is a copy.
func TestValuesAreCopies(t *testing.T) {
	p := []byte(`{"a":"text","b":["x","y"],"to":{"user":"ann"}}`)
	var o Object
	if err := o.Parse(p); err != nil {
		t.Fatal(err)
	}
	s, _ := String("a", o.Value("a"))
	b, _ := Bytes("a", o.Value("a"))
	list, _ := Strings("b", o.Value("b"))
	to, _ := Target(o.Value("to"))
	clear(p)
	if s != "text" || string(b) != "text" || strings.Join(list, " ") != "x y" || len(to.Names) != 1 || to.Names[0] != "ann" {
		t.Errorf("%q %q %q %q", s, b, list, to.Names)
	}
}

func TestStringsRefusals(t *testing.T) {
	many := func(n int) string { return "[" + strings.TrimSuffix(strings.Repeat(`"a",`, n), ",") + "]" }
	if list, err := Strings("f", []byte(many(message.MaxTargetNames))); err != nil || len(list) != message.MaxTargetNames {
		t.Errorf("%d names: %v", len(list), err)
	}
	if list, err := Strings("f", []byte(`[ ]`)); err != nil || len(list) != 0 {
		t.Errorf("%q, %v", list, err)
	}
	for _, c := range []struct{ in, want string }{
		{many(message.MaxTargetNames + 1), "f: more than 256 names; allowed are 1 to 256"},
		{`"a"`, "f: must be an array of strings"},
		{`{"a":1}`, "f: must be an array of strings"},
		{`null`, "f: must be an array of strings"},
		{`["a",null]`, "f[1]: must be a string"},
		{`["a","b",["c"]]`, "f[2]: must be a string"},
		{`["\ud800"]`, "f[0]: holds half a surrogate pair"},
	} {
		_, err := Strings("f", []byte(c.in))
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%.40s: %v; want %s", c.in, err, c.want)
		}
		if f, ok := errors.AsType[*message.FieldError](err); !ok || f.Field != "f" {
			t.Errorf("%.40s: %#v; want a *message.FieldError that names the array", c.in, err)
		}
	}
}
