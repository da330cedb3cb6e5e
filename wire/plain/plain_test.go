package plain

import (
	"bytes"
	"errors"
	"testing"

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

func TestPlainMessageIsThePayload(t *testing.T) {
	big := bytes.Repeat([]byte("x"), 70000)
	for _, c := range []struct {
		name    string
		kind    message.Kind
		payload []byte
		op      gobwas.OpCode
	}{
		{"text", message.Text, []byte("hello"), gobwas.OpText},
		{"empty text", message.Text, nil, gobwas.OpText},
		{"binary", message.Binary, []byte{0, 0xff, 1}, gobwas.OpBinary},
		{"126 bytes", message.Text, big[:126], gobwas.OpText},
		{"64-bit length", message.Binary, big, gobwas.OpBinary},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &message.Message{ID: "1", Target: message.ToTopics("a"), Kind: c.kind, Payload: c.payload}
			got := written([]byte("before"), Encoding.Message, m)
			rest, ok := bytes.CutPrefix(got, []byte("before"))
			if !ok {
				t.Fatalf("what dst held is gone: %q", got[:6])
			}
			f := readOneFrame(t, rest)
			if f.Header.OpCode != c.op || !bytes.Equal(f.Payload, c.payload) {
				t.Errorf("opcode %v and %d bytes; want %v and %d", f.Header.OpCode, len(f.Payload), c.op, len(c.payload))
			}
		})
	}
}

func TestPlainSaysNothingElse(t *testing.T) {
	dst := []byte("before")
	dst = written(dst, Encoding.Hello, &wire.Hello{})
	dst = written(dst, Encoding.Bye, &wire.Bye{Code: 1001})
	dst = written(dst, Encoding.Reply, &wire.Reply{Ref: "1"})
	if string(dst) != "before" {
		t.Errorf("appended %q", dst)
	}
	if _, _, err := (Encoding{}).Command([]byte(`{"type":"ping"}`), message.Text); !errors.Is(err, wire.ErrNoCommands) {
		t.Errorf("Command: %v; want ErrNoCommands", err)
	}
	if p := (Encoding{}); p.Name() != "plain" {
		t.Errorf("name %q", p.Name())
	}
}

func TestPlainMessageDoesNotAllocate(t *testing.T) {
	m := &message.Message{Kind: message.Text, Payload: bytes.Repeat([]byte("x"), 1000)}
	var w wire.Writer
	dst := make([]byte, 0, 2000)
	say := func() {
		w.Reset(websocket.Transport{}, dst)
		Encoding{}.Message(&w, m)
	}
	if n := testing.AllocsPerRun(100, say); n != 0 {
		t.Errorf("%v allocations; want 0", n)
	}
}
