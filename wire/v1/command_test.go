package v1

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"strings"
	"testing"

	"belfry/message"
	"belfry/wire"
)

func TestCommandsAccepted(t *testing.T) {
	for in, want := range map[string]wire.Command{
		`{"type":"sub","ref":1,"topics":["a","b"]}`:                  {Op: wire.OpSub, Ref: "1", Topics: []string{"a", "b"}},
		` {"topic" : "a.b" , "ref" : "r" , "type":"sub"} `:           {Op: wire.OpSub, Ref: `"r"`, Topics: []string{"a.b"}},
		`{"type":"unsub","topic":"a"}`:                               {Op: wire.OpUnsub, Topics: []string{"a"}},
		`{"type":"presence","ref":7,"topic":"room.1"}`:               {Op: wire.OpPresence, Ref: "7", Topics: []string{"room.1"}},
		`{"type":"ping","ref":-1.50e3}`:                              {Op: wire.OpPing, Ref: "-1.50e3"},
		`{"type":"ping","ref":"\u0031\/"}`:                           {Op: wire.OpPing, Ref: `"\u0031\/"`},
		`{"type":"p\u0069ng","ref":""}`:                              {Op: wire.OpPing, Ref: `""`},
		`{"type":"pub","ref":2,"to":{"topic":"a"},"data":"x\u00e9"}`: {Op: wire.OpPub, Ref: "2", Target: message.ToTopics("a"), Payload: []byte("xé")},
		`{"type":"pub","to":{"all":true},"data":""}`:                 {Op: wire.OpPub, Target: message.ToAll(), Payload: []byte{}},
		`{"type":"pub","to":{"users":["u","v"]},"binary":false,"data":"\ud83e\udd89\ufffd"}`: {Op: wire.OpPub,
			Target: message.ToUsers("u", "v"), Payload: []byte("🦉\ufffd")},
		`{"type":"pub","to":{"topics":["a"]},"binary":true,"data":"AP8="}`: {Op: wire.OpPub, Target: message.ToTopics("a"),
			Kind: message.Binary, Payload: []byte{0, 255}},
	} {
		got, _, err := Encoding{}.Command([]byte(in), message.Text)
		if err != nil {
			t.Errorf("%s: %v", in, err)
		} else if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", in, got, want)
		}
	}
}

func TestCommandsRefused(t *testing.T) {
	many := strings.Repeat(`"a",`, maxCommandTopics) + `"a"`
	for _, c := range []struct{ in, field, ref, text string }{
		{``, "", "", "not a JSON object"},
		{`hello`, "", "", "not a JSON object"},
		{`[]`, "", "", "not a JSON object"},
		{`{`, "", "", "not a JSON object: it ends too early"},
		{`{"ref":1,"type":"ping"`, "", "1", "ends too early"},
		{`{"type":"ping","ref":1`, "", "", "ends too early"},
		{`{"type":"ping","ref":01}`, "", "", "invalid character '1'"},
		{`{"type":"ping","ref":-01}`, "", "", "invalid character '1'"},
		{`{"type":"ping","ref":1x}`, "", "", "invalid character 'x'"},
		{`{"type":"ping","ref":"a"b}`, "", "", "invalid character 'b'"},
		{`{"type":"ping","ref":"a""b"}`, "", "", "invalid character"},
		{`{"ref":1,"type":ping}`, "", "1", "invalid character 'p'"},
		{`{"ref":1,"type":"ping"]`, "", "1", "invalid character ']'"},
		{`{"ref":1,"type":"ping"} {}`, "", "1", "something follows"},
		{`{"ref":1}`, "type", "1", "missing"},
		{`{"type":1}`, "type", "", "must be a string"},
		{`{"type":null}`, "type", "", "must be a string"},
		{`{"type":"publish","ref":1}`, "type", "1", "sub, unsub, pub, send, rpc, ack, presence, auth and ping"},
		{`{"type":"ping","Ref":1}`, "Ref", "", "allowed are type, ref"},
		{`{"type":"ping","ref":null}`, "ref", "", "string or a number"},
		{`{"type":"ping","ref":{"a":1}}`, "ref", "", "string or a number"},
		{`{"type":"ping","ref":"` + strings.Repeat("r", 63) + `"}`, "ref", "", "65 bytes long; allowed are 1 to 64"},
		{`{"type":"ping","ref":1,"ref":2}`, "ref", "1", "more than once"},
		{`{"type":"ping","data":"x","ref":1}`, "data", "1", "allowed are type, ref"},
		{`{"type":"ping","b":1,"a":1}`, "a", "", "unknown here"},
		{`{"type":"ping","":1}`, "", "", "unknown here"},
		{`{"type":"sub","ref":1,"topic":"a","topics":["a"]}`, "topics", "1", "either"},
		{`{"type":"sub","ref":1}`, "topic", "1", "missing"},
		{`{"type":"presence","topic":"a"}`, "ref", "", "needs one"},
		{`{"type":"presence","ref":1}`, "topic", "1", "missing"},
		{`{"type":"presence","ref":1,"topics":["a"]}`, "topics", "1", "allowed are type, ref, topic"},
		{`{"type":"presence","ref":1,"topic":"a.*"}`, "topic", "1", "outside"},
		{`{"type":"sub","topic":"a b"}`, "topic", "", "outside"},
		{`{"type":"sub","topics":["a","b.>"]}`, "topics", "", "outside"},
		{`{"type":"sub","topics":[]}`, "topics", "", "0 names; allowed are 1 to 256"},
		{`{"type":"sub","topics":[` + many + `]}`, "topics", "", "more than 256 names"},
		{`{"type":"sub","topics":["a",null]}`, "topics", "", "topics[1]: must be a string"},
		{`{"type":"sub","topics":"a"}`, "topics", "", "array of strings"},
		{`{"type":"pub","data":"x"}`, "to", "", "missing"},
		{`{"type":"pub","to":"a","data":"x"}`, "to", "", "must be an object"},
		{`{"type":"pub","to":{},"data":"x"}`, "to", "", "0 fields"},
		{`{"type":"pub","to":{"topic":"a","user":"b"},"data":"x"}`, "to", "", "2 fields"},
		{`{"type":"pub","to":{"topic":"a","topic":"b"},"data":"x"}`, "to.topic", "", "more than once"},
		{`{"type":"pub","to":{"room":"a"},"data":"x"}`, "to.room", "", "unknown"},
		{`{"type":"pub","to":{"all":false},"data":"x"}`, "to.all", "", "must be true"},
		{`{"type":"pub","to":{"topic":""},"data":"x"}`, "to.topic", "", "0 bytes"},
		{`{"type":"pub","to":{"users":["a\u0000"]},"data":"x"}`, "to.users", "", "control character"},
		{`{"type":"pub","to":{"session":"x"},"data":"x"}`, "to.session", "", ""},
		{`{"type":"pub","to":{"topic":"a"}}`, "data", "", "missing"},
		{`{"type":"pub","to":{"topic":"a"},"data":{"a":1}}`, "data", "", "must be a string"},
		{`{"type":"pub","to":{"topic":"a"},"data":"x","binary":1}`, "binary", "", "true or false"},
		{`{"type":"pub","to":{"topic":"a"},"data":"AP8","binary":true}`, "data", "", "base64"},
		{`{"type":"pub","to":{"topic":"a"},"data":"AP\n8=","binary":true}`, "data", "", "a line break at byte 2"},
		{`{"type":"pub","to":{"topic":"a"},"data":"\ud83e"}`, "data", "", "surrogate"},
		{`{"type":"pub","to":{"topic":"a"},"data":"\\\ud83e\ud83e"}`, "data", "", "surrogate"},
		{`{"type":"pub","to":{"topic":"a"},"data":"\udd89\ud83e"}`, "data", "", "surrogate"},
		{`{"type":"pub","to":{"topic":"a"},"data":"\ud83e\n0000"}`, "data", "", "surrogate"},
		{"{\"type\":\"p\xff\"}", "", "", "UTF-8"},
		{`{"type":"ping","ref":1,"x":[` + many + `,` + many + `,` + many + `,` + many + `]}`, "x", "1", "more than 1024 JSON tokens; allowed are 0 to 1024 in"},
		{`{"type":"pub","data":[` + many + `,` + many + `,` + many + `,` + many + `]}`, "data", "", "send the JSON as text in one string"},
	} {
		_, _, err := Encoding{}.Command([]byte(c.in), message.Text)
		refused, ok := errors.AsType[*wire.CommandError](err)
		if !ok {
			t.Errorf("%s: %v; want a *wire.CommandError", c.in, err)
			continue
		}
		if refused.Code != badRequest || refused.Field != c.field || refused.Ref != c.ref || !strings.Contains(refused.Text, c.text) {
			t.Errorf("%s:\n got %+v\nwant field %q, ref %q, text with %q", c.in, *refused, c.field, c.ref, c.text)
		}
	}
	if _, _, err := (Encoding{}).Command([]byte(`{"type":"ping"}`), message.Binary); err == nil {
		t.Error("a binary command was accepted")
	}
}

// An answer names what is wrong without repeating all of it.
func TestRefusalsAreShort(t *testing.T) {
	long := strings.Repeat("é", 30000)
	for _, in := range []string{
		`{"type":"` + long + `"}`,
		`{"type":"ping","` + long + `":1}`,
		`{"type":"ping","` + long + `":1,"` + long + `":1}`,
		`{"type":"pub","to":{"` + long + `":1},"data":""}`,
		`{"type":"sub","topic":"` + long + `"}`,
		`{"type":"pub","to":{"user":"` + long + `"},"data":""}`,
	} {
		_, _, err := Encoding{}.Command([]byte(in), message.Text)
		refused, ok := errors.AsType[*wire.CommandError](err)
		if !ok {
			t.Errorf("%.40s…: %v; want a *wire.CommandError", in, err)
			continue
		}
		if n := len(written(nil, Encoding.Reply, &wire.Reply{Ref: refused.Ref, Err: refused})); n > 512 {
			t.Errorf("%.40s…: an answer of %d bytes", in, n)
		}
	}
}

func FuzzCommand(f *testing.F) {
	f.Add([]byte(`{"type":"sub","ref":1,"topics":["a","b"]}`))
	f.Add([]byte(`{"type":"pub","ref":"x","to":{"topic":"a"},"data":"\ud83e\udd89"}`))
	f.Add([]byte(`{"type":"pub","to":{"users":["u"]},"binary":true,"data":"AP8="}`))
	f.Add([]byte(`{"type":"ping","ref":1e5}`))
	f.Add([]byte(`{"type":"auth","ref":1,"token":"a.b.c"}`))
	f.Add([]byte(`{"type":"send","event":"e","topic":"t","data":{"a":[1,null]}}`))
	f.Add([]byte(`{"type":"rpc","ref":1,"binary":true,"data":"AP8="}`))
	f.Fuzz(func(t *testing.T, p []byte) {
		cmd, _, err := Encoding{}.Command(p, message.Text)
		reply := &wire.Reply{Ref: cmd.Ref}
		if err != nil {
			refused, ok := errors.AsType[*wire.CommandError](err)
			if !ok {
				t.Fatalf("%v; want a *wire.CommandError", err)
			}
			reply = &wire.Reply{Ref: refused.Ref, Err: refused}
		} else if err := commandFault(cmd); err != nil {
			t.Fatalf("accepted %s: %v", p, err)
		}
		if len(reply.Ref) > maxRefLen {
			t.Errorf("a ref of %d bytes", len(reply.Ref))
		}
		readObject(t, written(nil, Encoding.Reply, reply))
	})
}

// commandFault says what an accepted command should not have been accepted
// with.
func commandFault(cmd wire.Command) error {
	switch cmd.Op {
	case wire.OpSub, wire.OpUnsub:
		if n := len(cmd.Topics); n < 1 || n > maxCommandTopics {
			return fmt.Errorf("%d topics", n)
		}
		for _, topic := range cmd.Topics {
			if err := message.CheckTopic(topic); err != nil {
				return err
			}
		}
	case wire.OpPub:
		if cmd.Kind == message.Text && message.KindOf(cmd.Payload) != message.Text {
			return errors.New("text that is not UTF-8")
		}
		return cmd.Target.Check()
	case wire.OpPing:
	case wire.OpPresence:
		if cmd.Ref == "" || len(cmd.Topics) != 1 {
			return fmt.Errorf("ref %q, %d topics", cmd.Ref, len(cmd.Topics))
		}
		return message.CheckTopic(cmd.Topics[0])
	case wire.OpAuth:
		if len(cmd.Payload) == 0 || cmd.Ref == "" {
			return errors.New("without a token or a ref")
		}
	case wire.OpSend, wire.OpRPC:
		return sendFault(cmd)
	default:
		return fmt.Errorf("op %d", cmd.Op)
	}
	return nil
}

// A command is read on the shard in one piece: what is sure to be refused costs
// no more than what is not.
func TestHostileCommandsAreCheap(t *testing.T) {
	filled := func(begin, piece, end string) []byte {
		return []byte(begin + strings.Repeat(piece, (64<<10-len(begin)-len(end))/len(piece)) + end)
	}
	distinct := []byte(`{"type":"ping"`)
	for i := 0; len(distinct) < 64<<10-16; i++ {
		distinct = fmt.Appendf(distinct, `,"%x":0`, i)
	}
	for name, p := range map[string][]byte{
		"fields":          append(distinct, '}'),
		"a field":         filled(`{"type":"ping"`, `,"a":0`, `}`),
		"fields of to":    filled(`{"type":"pub","data":"","to":{"topic":"a"`, `,"a":0`, `}}`),
		"topics":          filled(`{"type":"sub","topics":["a"`, `,"a"`, `]}`),
		"topics of a pub": filled(`{"type":"pub","data":"","to":{"topics":["a"`, `,"a"`, `]}}`),
		"members of x":    filled(`{"type":"ping","x":{"a":0`, `,"a":0`, `}}`),
		"brackets":        filled(`{"type":"ping","x":[[]`, `,[]`, `]}`),
		"depth":           filled(`{"type":"ping","x":`, `[`, `}`),
	} {
		var err error
		n := testing.AllocsPerRun(1, func() { _, _, err = Encoding{}.Command(p, message.Text) })
		if n > 50 || err == nil || !strings.Contains(err.Error(), "more than ") {
			t.Errorf("%s: %v allocations for %d bytes: %v", name, n, len(p), err)
		}
	}
}

var commandSamples = map[string]string{
	"ping":   `{"type":"ping","ref":1}`,
	"sub":    `{"type":"sub","ref":1,"topic":"news.sport"}`,
	"topics": `{"type":"sub","ref":1,"topics":["a` + strings.Repeat(`","a`, 63) + `"]}`,
	"pub":    `{"type":"pub","ref":2,"to":{"topic":"news.sport"},"data":"{\"price\":123.45,\"symbol\":\"BELL\"}"}`,
	"rpc":    `{"type":"rpc","ref":2,"event":"orders.create","data":{"price":123.45,"symbol":"BELL"}}`,
	"send":   `{"type":"send","ref":2,"event":"orders.create","topic":"orders","data":"{\"price\":123.45}"}`,
	"pub4k":  `{"type":"pub","ref":2,"to":{"user":"0123456789abcdef"},"data":"` + strings.Repeat("x", 4096) + `"}`,
}

// A command may have as many names as are allowed, and a list that is a little too
// long is answered with the number of names that is allowed.
func TestMostNamesAreNotTooManyTokens(t *testing.T) {
	names := `["` + strings.Repeat(`a","`, message.MaxTargetNames-1) + `a"]`
	for _, in := range []string{`{"type":"sub","topics":` + names + `}`, `{"type":"pub","data":"","to":{"topics":` + names + `}}`} {
		if _, _, err := (Encoding{}).Command([]byte(in), message.Text); err != nil {
			t.Error(err)
		}
	}
	names = `["` + strings.Repeat(`a","`, 3*message.MaxTargetNames) + `a"]`
	_, _, err := Encoding{}.Command([]byte(`{"type":"sub","topics":`+names+`}`), message.Text)
	if err == nil || !strings.Contains(err.Error(), "more than 256 names") {
		t.Error(err)
	}
}

// A command costs what it holds: its type, ref, names, payload, and the growth
// of a list.
func TestCommandAllocations(t *testing.T) {
	for name, most := range map[string]float64{"ping": 2, "sub": 4, "topics": 9, "pub": 5, "pub4k": 5, "send": 6, "rpc": 4} {
		p := []byte(commandSamples[name])
		least := math.Inf(1) // of many: the pool may lose a decoder, under the race detector often
		for range 100 {
			least = min(least, testing.AllocsPerRun(1, func() {
				if _, _, err := (Encoding{}).Command(p, message.Text); err != nil {
					t.Fatal(err)
				}
			}))
		}
		if least > most {
			t.Errorf("%s: %v allocations; want at most %v", name, least, most)
		}
	}
}

// What it costs a shard to read one command, and to refuse one of 64 KiB.
func BenchmarkCommand(b *testing.B) {
	samples := maps.Clone(commandSamples)
	samples["refused"] = `{"type":"ping","x":{"a":0` + strings.Repeat(`,"a":0`, 10900) + `}}`
	for name, sample := range samples {
		p := []byte(sample)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(p)))
			for b.Loop() {
				if _, _, err := (Encoding{}).Command(p, message.Text); (err != nil) != (name == "refused") {
					b.Fatal(err)
				}
			}
		})
	}
}
