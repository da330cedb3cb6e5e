package v1

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	gobwas "github.com/gobwas/ws"

	"belfry/message"
	"belfry/wire"
	"belfry/wire/websocket"
)

// readOneFrame parses p with gobwas and fails unless p is exactly one whole,
// unmasked, final frame.
func readOneFrame(t testing.TB, p []byte) gobwas.Frame {
	t.Helper()
	r := bytes.NewReader(p)
	h, err := gobwas.ReadHeader(r)
	if err != nil {
		t.Fatalf("not a frame: %v (%x)", err, p)
	}
	if h.Length != int64(r.Len()) {
		t.Fatalf("%d bytes follow a header that says %d", r.Len(), h.Length)
	}
	if !h.Fin || h.Masked || h.Rsv != 0 {
		t.Fatalf("header %+v; want final, unmasked, without reserved bits", h)
	}
	return gobwas.Frame{Header: h, Payload: p[len(p)-r.Len():]}
}

// written returns what an encoding says in frames of a WebSocket, behind dst.
func written[T any](dst []byte, say func(Encoding, *wire.Writer, T), x T) []byte {
	var w wire.Writer
	w.Reset(websocket.Transport{}, dst)
	say(Encoding{}, &w, x)
	return w.Bytes()
}

// readObject returns the JSON in the one text frame that p is.
func readObject(t testing.TB, p []byte) string {
	t.Helper()
	f := readOneFrame(t, p)
	if f.Header.OpCode != gobwas.OpText {
		t.Fatalf("opcode %v; want text", f.Header.OpCode)
	}
	if !utf8.Valid(f.Payload) || !json.Valid(f.Payload) {
		t.Fatalf("not JSON in UTF-8: %q", f.Payload)
	}
	return string(f.Payload)
}

func TestObjects(t *testing.T) {
	sid, key := message.SID{Node: 1, Shard: 2, Conn: 3}, [32]byte{4}
	session := sid.Format(&key)
	for _, c := range []struct {
		name, want string
		got        []byte
	}{
		{"msg to all", `{"type":"msg","id":"m1","data":"hi"}`,
			written(nil, Encoding.Message, &message.Message{ID: "m1", Payload: []byte("hi")})},
		{"msg to a topic", `{"type":"msg","id":"m1","topic":"news","data":"hi"}`,
			written(nil, Encoding.Message, &message.Message{ID: "m1", Target: message.ToTopics("news"), Payload: []byte("hi")})},
		{"msg to topics", `{"type":"msg","id":"m1","topics":["a","b"],"data":""}`,
			written(nil, Encoding.Message, &message.Message{ID: "m1", Target: message.ToTopics("a", "b")})},
		{"msg to a user does not name them", `{"type":"msg","id":"m1","data":"hi"}`,
			written(nil, Encoding.Message, &message.Message{ID: "m1", Target: message.ToUsers("ann"), Payload: []byte("hi")})},
		{"msg without id", `{"type":"msg","data":"hi"}`,
			written(nil, Encoding.Message, &message.Message{Payload: []byte("hi")})},
		{"binary msg", `{"type":"msg","id":"m1","binary":true,"data":"AP8B/g=="}`,
			written(nil, Encoding.Message, &message.Message{ID: "m1", Kind: message.Binary, Payload: []byte{0, 255, 1, 254}})},
		{"join", `{"type":"join","topic":"room.7","count":1,"members":[{"session":"s"}]}`,
			written(nil, Encoding.Message, &message.Message{ID: "m1", Target: message.ToTopics("room.7"), Membership: message.MemberJoin, Payload: []byte(`{"count":1,"members":[{"session":"s"}]}`)})},
		{"count", `{"type":"count","topic":"room.7","count":7}`,
			written(nil, Encoding.Message, &message.Message{Target: message.ToTopics("room.7"), Membership: message.MemberCount, Payload: []byte(`{"count":7}`)})},
		{"hello", `{"type":"hello","session":"` + session + `","ping":0,"pong":0}`,
			written(nil, Encoding.Hello, &wire.Hello{SID: sid, Key: &key})},
		{"whole hello", `{"type":"hello","session":"` + session + `","uid":"a\"b","topics":["a","b"],"ping":25,"pong":2.5}`,
			written(nil, Encoding.Hello, &wire.Hello{SID: sid, Key: &key, UID: `a"b`, Topics: []string{"a", "b"}, PingInterval: 25 * time.Second, PongTimeout: 2500 * time.Millisecond})},
		{"ack", `{"type":"ack"}`, written(nil, Encoding.Reply, &wire.Reply{})},
		{"ack of a pub", `{"type":"ack","ref":"r\u0031","id":"m1"}`, written(nil, Encoding.Reply, &wire.Reply{Ref: `"r\u0031"`, ID: "m1"})},
		{"err", `{"type":"err","ref":1.0,"code":"forbidden","field":"topic","message":"no"}`,
			written(nil, Encoding.Reply, &wire.Reply{Ref: "1.0", Err: &wire.CommandError{Code: "forbidden", Text: "no", Field: "topic"}})},
		{"err with its own ref", `{"type":"err","ref":7,"code":"bad_request","message":"no"}`,
			written(nil, Encoding.Reply, &wire.Reply{Err: &wire.CommandError{Code: "bad_request", Text: "no", Ref: "7"}})},
		{"bye", `{"type":"bye","code":1001,"reason":"shutdown","reconnect":true,"after":3.2}`,
			written(nil, Encoding.Bye, &wire.Bye{Code: 1001, Reason: "shutdown", Reconnect: true, After: 3200 * time.Millisecond})},
		{"final bye", `{"type":"bye","code":4006,"reason":"user_sessions","reconnect":false,"after":0}`,
			written(nil, Encoding.Bye, &wire.Bye{Code: 4006, Reason: "user_sessions"})},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := readObject(t, c.got); got != c.want {
				t.Errorf("\n got %s\nwant %s", got, c.want)
			}
		})
	}
}

// A frame's header is 2, 4 or 10 bytes long depending on what follows it; the
// payload is moved into place in each case and what dst held stays.
func TestMessageAroundFrameLengths(t *testing.T) {
	for _, n := range []int{0, 80, 100, 125, 126, 200, 65400, 65500, 65535, 65536, 70000} {
		text := strings.Repeat("é", n/2) + strings.Repeat("x", n%2)
		for _, room := range []int{0, n, 2*n + 200} {
			dst := append(make([]byte, 0, 6+room), "before"...)
			dst = written(dst, Encoding.Message, &message.Message{ID: "m", Payload: []byte(text)})
			if string(dst[:6]) != "before" {
				t.Fatalf("%d bytes: what dst held is gone: %q", n, dst[:6])
			}
			want := `{"type":"msg","id":"m","data":"` + text + `"}`
			if got := readObject(t, dst[6:]); got != want {
				t.Errorf("%d bytes into %d: got %d bytes of JSON, want %d", n, room, len(got), len(want))
			}
		}
	}
}

func TestMessageDoesNotAllocate(t *testing.T) {
	text := []byte(strings.Repeat("grüße \"\n\u2028🦉\xff", 200))
	var w wire.Writer
	dst := make([]byte, 0, 64<<10)
	for _, m := range []*message.Message{
		{ID: "m1", Payload: text},
		{ID: "m1", Target: message.ToTopics("a", "b", "c"), Payload: text},
		{ID: "m1", Target: message.ToTopics("a"), Kind: message.Binary, Payload: text},
	} {
		if n := testing.AllocsPerRun(100, func() { w.Reset(websocket.Transport{}, dst[:0]); Encoding{}.Message(&w, m) }); n != 0 {
			t.Errorf("%s to %s: %v allocations; want 0", m.Kind, m.Target.Scope, n)
		}
	}
	reply := &wire.Reply{Ref: "1", ID: "m1"}
	if n := testing.AllocsPerRun(100, func() { w.Reset(websocket.Transport{}, dst[:0]); Encoding{}.Reply(&w, reply) }); n != 0 {
		t.Errorf("reply: %v allocations; want 0", n)
	}
}

func FuzzMessage(f *testing.F) {
	f.Add("m1", "news", []byte("hello"), false)
	f.Add("m1", "", []byte("\x00\xff\xed\xa0\x80\u2028\"\\"), true)
	f.Add("\xff", "a.b", bytes.Repeat([]byte("é"), 40000), false)
	f.Fuzz(func(t *testing.T, id, topic string, payload []byte, binary bool) {
		m := &message.Message{ID: id, Payload: payload}
		if topic != "" {
			m.Target = message.ToTopics(topic)
		}
		if binary {
			m.Kind = message.Binary
		}
		raw := readObject(t, written(nil, Encoding.Message, m))
		var got struct {
			Type, ID, Topic, Data string
			Binary                bool
		}
		if err := json.Unmarshal([]byte(raw), &got); err != nil {
			t.Fatal(err)
		}
		data := []byte(got.Data)
		if binary {
			var err error
			if data, err = base64.StdEncoding.DecodeString(got.Data); err != nil {
				t.Fatal(err)
			}
		} else {
			payload = []byte(asJSONText(string(payload)))
		}
		if got.Type != "msg" || got.Binary != binary || got.ID != asJSONText(id) || got.Topic != asJSONText(topic) {
			t.Errorf("got %+v from %+v", got, m)
		}
		if !bytes.Equal(data, payload) {
			t.Errorf("data %q; want %q", data, payload)
		}
	})
}

// asJSONText puts U+FFFD in the place of each byte that is not UTF-8.
func asJSONText(s string) string { return string([]rune(s)) }
