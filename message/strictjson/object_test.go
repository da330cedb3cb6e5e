package strictjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"belfry/message"
)

func TestParse(t *testing.T) {
	const line = "\r\n{ \"a\" :\t[1, {\"b\":\"]}\\\"\"}] , \"\\u0062\\/\":-1.50e3,\"\":\"\\ud800\", \"c\":{\"x\":1,\"x\":2} } "
	var o Object
	if err := o.Parse([]byte(line)); err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, f := range o.Fields() {
		got += fmt.Sprintf("%s=%s;", f.Name, f.Value)
	}
	if want := `a=[1, {"b":"]}\""}];b/=-1.50e3;="\ud800";c={"x":1,"x":2};`; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	if v := o.Value("b/"); string(v) != "-1.50e3" {
		t.Errorf("b/ is %q", v)
	}
	if v := o.Value("A"); v != nil {
		t.Errorf("A is %q; case matters", v)
	}
}

// Parse says what is wrong with an object, and keeps the fields before the error.
func TestParseRefusals(t *testing.T) {
	seventeen := `{"f0":0`
	for i := 1; i <= MaxFields; i++ {
		seventeen += fmt.Sprintf(`,"f%d":0`, i)
	}
	for _, c := range []struct {
		in, want string
		fields   int
	}{
		{``, "not a JSON object", 0},
		{`  `, "not a JSON object", 0},
		{`[]`, "not a JSON object", 0},
		{`null`, "not a JSON object", 0},
		{`hello`, "not a JSON object", 0},
		{"{\"a\":\"\xff\"}", "not valid UTF-8", 0},
		{"\ufeff{}", "not a JSON object", 0},
		{`{`, "not valid JSON at byte 1: it ends too early", 0},
		{`{"a":1`, "not valid JSON at byte 6: it ends too early", 0},
		{`{"a":1 `, "it ends too early", 0},
		{"{\"a\":1\r\n\t ,", "it ends too early", 1},
		{`{"a":1,"b":"`, "it ends too early", 1},
		{`{"a":1,}`, "not valid JSON at byte 6: ", 1},
		{`{"a":1]`, "invalid character ']'", 0},
		{`{"a":1:2}`, "invalid character ':'", 0},
		{`{"a":"1""b":2}`, "invalid character '\"'", 0},
		{`{"a":{}{}}`, "invalid character '{'", 0},
		{`{"a":1,"b":x}`, "not valid JSON at byte 11: invalid character 'x'", 1},
		{`{"a":1,b:2}`, "invalid character 'b'", 1},
		{`{"a":1,2:3}`, "string", 1},
		{`{"a" 1}`, "invalid character '1'", 0},
		{`{"a":01}`, "invalid character '1'", 0},
		{`{"b":-0,"a":-01}`, "invalid character '1'", 1},
		{`{"a":1.}`, "invalid", 0},
		{`{"a":truefalse}`, "invalid", 0},
		{`{"a":"\x"}`, "invalid", 0},
		{"{\"a\":\"\t\"}", "invalid character '\\t'", 0},
		{`{"a":1}{}`, "not valid JSON at byte 7: something follows the object", 1},
		{`{"a":1} x`, "something follows the object", 1},
		{`{"a":1},`, "something follows the object", 1},
		{"{\"a\":1}\x00", "something follows the object", 1},
		{`{"a":1,"b":2,"\u0061":3}`, "a: given more than once", 2},
		{`{"a":1,"a":2`, "it ends too early", 1},
		{seventeen + `}`, "more than 16 fields", MaxFields},
		{seventeen + `x`, "more than 16 fields", MaxFields},
	} {
		var o Object
		err := o.Parse([]byte(c.in))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %s", c.in, err, c.want)
		}
		if n := len(o.Fields()); n != c.fields {
			t.Errorf("%s: %d fields; want %d", c.in, n, c.fields)
		}
	}
}

func TestParseAllocations(t *testing.T) {
	p := []byte(`{"type":"pub","ref":2,"to":{"topic":"news"},"data":"x\n"}`)
	least := math.Inf(1) // of many runs: the pool may drop a decoder, under the race detector often
	for range 100 {
		least = min(least, testing.AllocsPerRun(1, func() {
			var o Object
			if err := o.Parse(p); err != nil {
				t.Fatal(err)
			}
		}))
	}
	if least > 0 {
		t.Errorf("%v allocations", least)
	}
}

// A pooled decoder must not refer to memory that may be unmapped later.
func TestReleasedDecoderForgets(t *testing.T) {
	d := newDecoder([]byte(`{"a":1}`))
	if _, err := d.ReadValue(); err != nil {
		t.Fatal(err)
	}
	d.release()
	if d.src.Cap() != 0 || len(d.UnreadBuffer()) != 0 || cap(d.UnreadBuffer()) != 0 {
		t.Errorf("%d bytes of the source, %d of the buffer", d.src.Cap(), cap(d.UnreadBuffer()))
	}
}

// A client may send a deeply nested value: parsing it must not grow the stack of
// the shard's goroutine.
func TestDeepValuesNeedNoStack(t *testing.T) {
	p := []byte(`{"a":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `,"b":1}`)
	stack := make(chan uint64)
	go func() { // a new goroutine has a small stack
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		var o Object
		if err := o.Parse(p); err != nil || len(o.Value("a")) != 18000 || string(o.Value("b")) != "1" {
			t.Errorf("%d bytes, %v", len(o.Value("a")), err)
		}
		runtime.ReadMemStats(&after)
		stack <- after.StackInuse - min(before.StackInuse, after.StackInuse)
	}()
	if grown := <-stack; grown > 256<<10 {
		t.Errorf("%d bytes of stack", grown)
	}
}

func TestShorten(t *testing.T) {
	for in, want := range map[string]string{
		"":                            "",
		strings.Repeat("x", 32):       strings.Repeat("x", 32),
		strings.Repeat("x", 33):       strings.Repeat("x", 32) + "…",
		"x" + strings.Repeat("é", 16): "x" + strings.Repeat("é", 15) + "…",
	} {
		if got := Shorten(in); got != want {
			t.Errorf("%q became %q", in, got)
		}
	}
}

// Parse accepts what encoding/json accepts and finds the same fields, except
// where it is stricter on purpose.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{}`, ` { } `, `{"a":1}`, `{"a" : [1, {"b":"]}\""}], "c":"\u00e9\ud83d\ude00","d":null}`,
		`{"a":-1.5e3,"b":true}`, "{\"\\\\\":{\"x\":[]}\t,\r\"y\":\"\\\\\"}", `{"a":"\ud800"}`, `{"a":"\ud800\u0041"}`,
		`[]`, `[1,"a,]",[2],{}]`, `{"a":[ "x" , "y" ]}`, `{"a":1,"a":2}`, `{"a":1}{}`, `{"a":1,`, `{"\ud800":1}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		var o Object
		err := o.Parse(p)
		var want map[string]json.RawMessage
		stdErr := json.Unmarshal(p, &want)
		if err != nil {
			if stdErr == nil && want != nil && !refusedOnPurpose(err) {
				t.Fatalf("%s: %v", p, err)
			}
			return
		}
		if stdErr != nil || !utf8.Valid(p) {
			t.Fatalf("accepted %q: %v", p, stdErr)
		}
		if len(o.Fields()) != len(want) {
			t.Fatalf("%s: %d fields, want %d", p, len(o.Fields()), len(want))
		}
		for _, f := range o.Fields() {
			if string(f.Value) != string(want[string(f.Name)]) {
				t.Fatalf("%s: %q is %s, want %s", p, f.Name, f.Value, want[string(f.Name)])
			}
			sameValue(t, f.Value)
		}
	})
}

// refusedOnPurpose reports whether encoding/json accepts what err refuses.
func refusedOnPurpose(err error) bool {
	_, repeated := errors.AsType[*message.FieldError](err)
	return repeated || err == ErrUTF8 || err == ErrTooManyFields
}

// sameValue compares String and Strings with encoding/json.
func sameValue(t *testing.T, value []byte) {
	if got, err := String("f", value); err == nil {
		var want string
		if json.Unmarshal(value, &want) != nil || got != want {
			t.Fatalf("%s is %q, want %q", value, got, want)
		}
	} else if value[0] == '"' && !strings.Contains(strings.ToLower(string(value)), `\ud`) {
		t.Fatalf("%s: %v", value, err)
	}
	if got, err := Strings("f", value); err == nil {
		var want []string
		if json.Unmarshal(value, &want) != nil || fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Fatalf("%s is %q, want %q", value, got, want)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	p := []byte(`{"to":{"user":"0123456789abcdef"},"json":{"price":123.45,"symbol":"BELL"}}`)
	b.ReportAllocs()
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		var o Object
		if err := o.Parse(p); err != nil {
			b.Fatal(err)
		}
	}
}
