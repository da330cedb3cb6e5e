package ws

import (
	"errors"
	"strings"
	"testing"
)

// A message that is begun and taken by a decoder of another protocol comes out
// whole, however it is split, and is checked like a frame's payload.
func TestInboundBeginAndTake(t *testing.T) {
	text := strings.Repeat("grüße ", 1000)
	for split := range len(text) {
		if split > 20 && split < len(text)-20 && split%97 != 0 {
			continue
		}
		var in Inbound
		in.Begin(OpText, len(text))
		n, ev, err := in.Take([]byte(text[:split]))
		if n != split || ev.Type != EventNone || err != nil || !in.Active() {
			t.Fatalf("split at %d: %d, %+v, %v", split, n, ev, err)
		}
		n, ev, err = in.Take([]byte(text[split:] + "more"))
		if n != len(text)-split || ev.Type != EventMessage || ev.Op != OpText || string(ev.Payload) != text || err != nil || in.Active() {
			t.Fatalf("split at %d: %d, %v of %d bytes, %v", split, n, ev.Type, len(ev.Payload), err)
		}
	}
	var in Inbound
	in.Begin(OpBinary, 2)
	if _, ev, err := in.Take([]byte("\xff\xff")); ev.Type != EventMessage || err != nil {
		t.Errorf("binary: %+v, %v", ev, err)
	}
	for _, bad := range []string{"\xff\xff", "a\xc3"} {
		var in Inbound
		in.Begin(OpText, 2)
		var pe *ProtocolError
		if _, _, err := in.Take([]byte(bad)); !errors.As(err, &pe) || pe.Violation != InvalidUTF8 {
			t.Errorf("%q: %v", bad, err)
		}
	}
	in = Inbound{Alloc: noRoom{}}
	in.Begin(OpText, 2)
	if _, _, err := in.Take([]byte("ab")); !errors.Is(err, ErrNoMemory) {
		t.Errorf("no room: %v", err)
	}
}

type noRoom struct{}

func (noRoom) Grow(buf []byte, _ int) ([]byte, bool) { return buf, false }
