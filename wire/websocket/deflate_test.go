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
	d := newDeflate(t, ws.DeflateOptions{MinSize: 100})
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

// TestDeflateBuffers: the bytes of the buffers of all decoders are counted, also
// after a message that was refused, and never more than a message may have.
func TestDeflateBuffers(t *testing.T) {
	d := newDeflate(t, ws.DeflateOptions{MinSize: 1})
	decoders := []*inflating{d.NewDecoder().(*inflating), d.NewDecoder().(*inflating)}
	inflate := func(decoder *inflating, size int) {
		in := masked(d.AppendFrame(nil, wire.Payload{Data: make([]byte, size)}))
		_, _, _ = decoder.Next(in, nil, limits)
	}
	check := func(what string, least, most int) {
		t.Helper()
		sum := 0
		for _, decoder := range decoders {
			sum += decoder.inflater.Buffer()
		}
		if got := d.Stats().Buffers; got != int64(sum) || sum < least || sum > most {
			t.Errorf("%s: %d bytes counted, %d held; want %d to %d", what, got, sum, least, most)
		}
	}
	check("nothing", 0, 0)
	inflate(decoders[0], 90<<10)
	check("one", 90<<10, limits.MaxMessage)
	inflate(decoders[1], limits.MaxMessage+1)
	check("one, and one refused", 90<<10, 2*limits.MaxMessage)
	inflate(decoders[1], limits.MaxMessage)
	check("both", 90<<10+limits.MaxMessage, 2*limits.MaxMessage)
	inflate(decoders[0], 100) // gives the large buffer back
	check("a small one", limits.MaxMessage, limits.MaxMessage+64<<10)
}

// TestDeflateLimit: a message that is too large after inflating is an error.
func TestDeflateLimit(t *testing.T) {
	d := newDeflate(t, ws.DeflateOptions{})
	in := masked(d.AppendFrame(nil, wire.Payload{Data: make([]byte, limits.MaxMessage+1)}))
	_, _, err := d.NewDecoder().Next(in, nil, limits)
	if fault, ok := errors.AsType[*ws.ProtocolError](err); !ok || fault.Violation != ws.TooBig {
		t.Errorf("%v", err)
	}
}

// TestTransportDoesNotInflate: without deflate a compressed message is an error.
func TestTransportDoesNotInflate(t *testing.T) {
	d := newDeflate(t, ws.DeflateOptions{})
	in := masked(d.AppendFrame(nil, wire.Payload{Data: make([]byte, 10000)}))
	if _, _, err := (Transport{}).NewDecoder().Next(in, nil, limits); err == nil {
		t.Error("accepted")
	}
}
