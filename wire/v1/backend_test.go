package v1

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"belfry/message"
	"belfry/wire"
)

// sendFault says what an accepted send or rpc should not have been accepted with.
func sendFault(cmd wire.Command) error {
	switch {
	case cmd.Op == wire.OpRPC && cmd.Ref == "":
		return errors.New("an rpc without a ref")
	case len(cmd.Event) > maxEvent:
		return fmt.Errorf("an event of %d bytes", len(cmd.Event))
	case cmd.JSON && (cmd.Kind != message.Text || !json.Valid(cmd.Payload)):
		return errors.New("JSON that is none")
	case cmd.Kind == message.Text && message.KindOf(cmd.Payload) != message.Text:
		return errors.New("text that is not UTF-8")
	case cmd.Topic != "":
		return message.CheckTopic(cmd.Topic)
	}
	return nil
}

func TestCommandsForBackends(t *testing.T) {
	for in, want := range map[string]wire.Command{
		`{"type":"auth","ref":1,"token":"a.b.c"}`: {Op: wire.OpAuth, Ref: "1", Payload: []byte("a.b.c")},
		`{"type":"send"}`:                         {Op: wire.OpSend},
		`{"type":"send","data":""}`:               {Op: wire.OpSend, Payload: []byte{}},
		`{"type":"send","ref":"r","event":"orders.create","topic":"a.b","data":"caf\u00e9"}`: {Op: wire.OpSend, Ref: `"r"`,
			Event: "orders.create", Topic: "a.b", Payload: []byte("café")},
		`{"type":"send","data": {"a": [1, null]} }`:           {Op: wire.OpSend, JSON: true, Payload: []byte(`{"a": [1, null]}`)},
		`{"type":"rpc","ref":1,"data":[]}`:                    {Op: wire.OpRPC, Ref: "1", JSON: true, Payload: []byte(`[]`)},
		`{"type":"rpc","ref":1,"data":null}`:                  {Op: wire.OpRPC, Ref: "1", JSON: true, Payload: []byte(`null`)},
		`{"type":"rpc","ref":1,"data":-1.5e3,"binary":false}`: {Op: wire.OpRPC, Ref: "1", JSON: true, Payload: []byte(`-1.5e3`)},
		`{"type":"rpc","ref":1,"binary":true,"data":"AP8="}`:  {Op: wire.OpRPC, Ref: "1", Kind: message.Binary, Payload: []byte{0, 255}},
	} {
		got, rest, err := Encoding{}.Command([]byte(in), message.Text)
		if err != nil || len(rest) > 0 {
			t.Errorf("%s: %q, %v", in, rest, err)
		} else if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", in, got, want)
		}
	}
}

func TestCommandsForBackendsRefused(t *testing.T) {
	long := strings.Repeat("e", maxEvent+1)
	for _, c := range []struct{ in, field, ref, text string }{
		{`{"type":"auth","token":"a"}`, "ref", "", "needs one"},
		{`{"type":"auth","ref":1}`, "token", "1", "missing"},
		{`{"type":"auth","ref":1,"token":""}`, "token", "1", "empty"},
		{`{"type":"auth","ref":1,"token":{"secret":1}}`, "token", "1", "must be a string"},
		{`{"type":"auth","ref":1,"token":"secret","uid":"u"}`, "uid", "1", "allowed are type, ref, token"},
		{`{"type":"rpc","data":""}`, "ref", "", "needs one"},
		{`{"type":"rpc","ref":1,"to":{"topic":"a"}}`, "to", "1", "allowed are type, ref, event, topic, data, binary"},
		{`{"type":"send","ref":1,"event":""}`, "event", "1", "0 bytes long; allowed are 1 to 128"},
		{`{"type":"send","ref":1,"event":"` + long + `"}`, "event", "1", "129 bytes long"},
		{`{"type":"send","ref":1,"event":"a\u0000"}`, "event", "1", "control character at byte 1"},
		{`{"type":"send","ref":1,"event":7}`, "event", "1", "must be a string"},
		{`{"type":"send","ref":1,"topic":"a.>"}`, "topic", "1", "outside"},
		{`{"type":"send","ref":1,"topic":""}`, "topic", "1", "0 bytes"},
		{`{"type":"send","ref":1,"binary":true,"data":{}}`, "data", "1", "must be a string"},
		{`{"type":"send","ref":1,"binary":1}`, "binary", "1", "true or false"},
		{`{"type":"send","ref":1,"binary":1,"data":{}}`, "binary", "1", "true or false"},
		{`{"type":"send","ref":1,"data":"\ud83e"}`, "data", "1", "surrogate"},
	} {
		cmd, _, err := Encoding{}.Command([]byte(c.in), message.Text)
		refused, ok := errors.AsType[*wire.CommandError](err)
		if !ok {
			t.Errorf("%s: %v; want a *wire.CommandError", c.in, err)
			continue
		}
		if refused.Code != badRequest || refused.Field != c.field || refused.Ref != c.ref || !strings.Contains(refused.Text, c.text) {
			t.Errorf("%s:\n got %+v\nwant field %q, ref %q, text with %q", c.in, *refused, c.field, c.ref, c.text)
		}
		if strings.Contains(refused.Text, "secret") || !reflect.DeepEqual(cmd, wire.Command{}) {
			t.Errorf("%s: %q repeats the credentials, or the command has %+v", c.in, refused.Text, cmd)
		}
	}
}

// What a Command holds is a copy: the payload's buffer is used again.
func TestCommandIsACopy(t *testing.T) {
	p := []byte(`{"type":"rpc","ref":1,"event":"e","topic":"t","data":{"a":1}}`)
	cmd, _, err := Encoding{}.Command(p, message.Text)
	clear(p)
	if err != nil || cmd.Event != "e" || cmd.Topic != "t" || cmd.Ref != "1" || string(cmd.Payload) != `{"a":1}` {
		t.Errorf("%+v, %v", cmd, err)
	}
}

func TestAnswersOfBackends(t *testing.T) {
	expires := time.Unix(1800000000, 999)
	for want, r := range map[string]*wire.Reply{
		`{"type":"ack","ref":1,"expires":1800000000}`:                      {Ref: "1", Expires: expires},
		`{"type":"ack","ref":1,"expires":1800000000,"left":["a","b"]}`:     {Ref: "1", Expires: expires, Left: []string{"a", "b"}},
		`{"type":"left","topics":["a\"b"]}`:                                {Left: []string{`a"b`}},
		`{"type":"ack","ref":1,"data":""}`:                                 {Ref: "1", Data: []byte{}},
		`{"type":"ack","ref":1,"data":"a\"b"}`:                             {Ref: "1", Data: []byte(`a"b`)},
		`{"type":"ack","ref":1,"data":{"a": 1}}`:                           {Ref: "1", JSON: true, Data: []byte(`{"a": 1}`)},
		`{"type":"ack","ref":1,"binary":true,"data":"AP8="}`:               {Ref: "1", Kind: message.Binary, Data: []byte{0, 255}},
		`{"type":"err","ref":1,"code":"refused","message":"out of stock"}`: {Ref: "1", Err: &wire.CommandError{Code: "refused", Text: "out of stock"}},
	} {
		if got := readObject(t, written(nil, Encoding.Reply, r)); got != want {
			t.Errorf("\n got %s\nwant %s", got, want)
		}
	}
	again := readObject(t, written(nil, Encoding.Hello, &wire.Hello{Key: new([32]byte), Ref: "7"}))
	if !strings.HasSuffix(again, `,"pong":0,"ref":7}`) {
		t.Error(again)
	}
	hello := readObject(t, written(nil, Encoding.Hello, &wire.Hello{Key: new([32]byte), Expires: expires}))
	if !strings.HasSuffix(hello, `,"pong":0,"expires":1800000000}`) {
		t.Error(hello)
	}
}

// An answer is one JSON object whatever a backend has written, and its data can be
// read back.
func FuzzReply(f *testing.F) {
	f.Add(`"a"`, []byte("hello\xff"), byte(0), "left")
	f.Add("1", []byte(`{"a":[1,2]}`), byte(1), "")
	f.Add("", []byte{0, 255}, byte(2), "x.y")
	f.Fuzz(func(t *testing.T, ref string, data []byte, kind byte, left string) {
		if !json.Valid([]byte(ref)) || !utf8.ValidString(ref) { // Command has checked it
			ref = "1"
		}
		r := &wire.Reply{Ref: ref, Data: data}
		switch kind % 3 {
		case 1: // Server.Reply sets JSON only for what is JSON
			r.JSON = json.Valid(data) && message.KindOf(data) == message.Text
		case 2:
			r.Kind = message.Binary
		}
		if left != "" {
			r.Left = []string{left}
		}
		raw := readObject(t, written(nil, Encoding.Reply, r))
		var got struct {
			Type string
			Data json.RawMessage
			Left []string
		}
		if err := json.Unmarshal([]byte(raw), &got); err != nil {
			t.Fatal(err)
		}
		if got.Type != "ack" || (got.Data == nil) != (data == nil) || len(got.Left) != len(r.Left) {
			t.Fatalf("%s of %+v", raw, r)
		}
		if r.JSON && !sameJSON(got.Data, data) {
			t.Errorf("data %s; want %s", got.Data, data)
		}
	})
}

func sameJSON(a, b []byte) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}
