package websocket

import (
	"errors"
	"strings"
	"testing"

	"belfry/message"
	"belfry/wire"
	"belfry/ws"
)

// masked makes the frame of a server a client's, with a masking key of zeros.
func masked(frame []byte) []byte {
	size := 2
	switch frame[1] {
	case 126:
		size = 4
	case 127:
		size = 10
	}
	out := append([]byte(nil), frame[:size]...)
	out[1] |= 0x80
	return append(append(out, 0, 0, 0, 0), frame[size:]...)
}

var limits = ws.Limits{MaxMessage: 100 << 10, MaxFragments: 10}

// TestDeflate sends messages through a Deflate and back, and checks its totals.
func TestDeflate(t *testing.T) {
	d := newDeflate(t, DeflateOptions{DeflateOptions: ws.DeflateOptions{MinSize: 100}})
	decoder := d.NewDecoder()
	long := strings.Repeat("hello ", 1000)
	sent := 0
	for _, c := range []struct {
		kind message.Kind
		op   ws.OpCode
		data string
	}{
		{message.Text, ws.OpText, long},
		{message.Binary, ws.OpBinary, long},
		{message.Text, ws.OpText, "short"},
	} {
		frame := d.AppendFrame(nil, wire.Payload{Kind: c.kind, Data: []byte(c.data)})
		sent += len(frame)
		if got := len(frame) < len(c.data); got != (c.data == long) {
			t.Errorf("%d bytes became a frame of %d", len(c.data), len(frame))
		}
		in := masked(frame)
		n, ev, err := decoder.Next(in, nil, limits)
		if err != nil || n != len(in) || ev.Type != ws.EventMessage || ev.Op != c.op || ev.Compressed || string(ev.Payload) != c.data {
			t.Fatalf("%d of %d bytes, %v with %d bytes, %v", n, len(in), ev.Type, len(ev.Payload), err)
		}
		if got := ev.Inflated > 0; got != (c.data == long) || ev.Inflated > len(c.data) {
			t.Errorf("inflated by %d", ev.Inflated)
		}
	}
	st := d.Stats()
	if st.Compressed != 2 || st.Inflated != 2 || st.Received != uint64(2*len(long)) || st.CompressTime <= 0 || st.InflateTime <= 0 {
		t.Errorf("%+v", st)
	}
	const headers = 3 * 2 // bytes
	if want := 2*len(long) + len("short") + headers - sent; st.Saved != uint64(want) {
		t.Errorf("saved %d bytes, want %d", st.Saved, want)
	}
}

// TestDeflateLimit: a message that is too large after inflating is an error.
func TestDeflateLimit(t *testing.T) {
	d := newDeflate(t, DeflateOptions{})
	in := masked(d.AppendFrame(nil, wire.Payload{Data: make([]byte, limits.MaxMessage+1)}))
	_, _, err := d.NewDecoder().Next(in, nil, limits)
	if fault, ok := errors.AsType[*ws.ProtocolError](err); !ok || fault.Violation != ws.TooBig {
		t.Errorf("%v", err)
	}
}

// TestTransportDoesNotInflate: without deflate a compressed message is an error.
func TestTransportDoesNotInflate(t *testing.T) {
	d := newDeflate(t, DeflateOptions{})
	in := masked(d.AppendFrame(nil, wire.Payload{Data: make([]byte, 10000)}))
	if _, _, err := (Transport{}).NewDecoder().Next(in, nil, limits); err == nil {
		t.Error("accepted")
	}
}
