package hostile

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// A client's frames have a mask, and the shortest form of their length.
func TestAppendFrame(t *testing.T) {
	for _, c := range []struct {
		final bool
		op    byte
		n     int
		head  []byte
	}{
		{true, opPing, 0, []byte{0x89, 0x80, 0, 0, 0, 0}},
		{false, opText, 125, []byte{0x01, 0x80 | 125, 0, 0, 0, 0}},
		{true, opContinuation, 126, []byte{0x80, 0x80 | 126, 0, 126, 0, 0, 0, 0}},
		{true, opText, 65_535, []byte{0x81, 0x80 | 126, 0xFF, 0xFF, 0, 0, 0, 0}},
		{true, opText, 65_536, []byte{0x81, 0x80 | 127, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}},
	} {
		payload := bytes.Repeat([]byte{'x'}, c.n)
		got := appendFrame([]byte("before"), c.final, c.op, payload)
		if want := append(append([]byte("before"), c.head...), payload...); !bytes.Equal(got, want) {
			t.Errorf("op %d, %d bytes: head %x", c.op, c.n, got[6:min(len(got), 6+len(c.head))])
		}
	}
}

// The server's output is understood wherever it is split.
func TestReceivedSplit(t *testing.T) {
	var stream []byte
	for _, text := range []string{`{"type":"ack"}`, `{"type":"err","code":"rate_limited"}`, `{"type":"err","code":"rate_limited"}`} {
		stream = append(stream, 0x81, byte(len(text)))
		stream = append(stream, text...)
	}
	stream = append(stream, 0x88, 2, 0x03, 0xF0)
	for at := range len(stream) + 1 {
		var r received
		r.take(stream[:at])
		r.take(stream[at:])
		if r.limited != 2 || r.closed != "close 1008" || len(r.rest) != 0 {
			t.Fatalf("split at %d: %d limited, %q, %d bytes left", at, r.limited, r.closed, len(r.rest))
		}
	}
}

// With permessage-deflate messages may be compressed, wherever they are split;
// without it that is a violation. Pongs are counted.
func TestReceivedDeflate(t *testing.T) {
	stream := []byte{0x80 | rsv1 | opText, 3, 'x', 'y', 'z', 0x80 | opPong, 0, 0x80 | rsv1 | opBinary, 1, 'x', 0x80 | opPong, 1, 'p'}
	for at := range len(stream) + 1 {
		for _, deflate := range []bool{true, false} {
			r, p := received{deflate: deflate}, bytes.Clone(stream)
			r.take(p[:at:at])
			r.take(p[at:])
			if deflate && (r.closed != "" || r.pongs != 2 || len(r.rest) != 0) || !deflate && r.closed == "" {
				t.Fatalf("split at %d, deflate %v: %d pongs, %q, %d bytes left", at, deflate, r.pongs, r.closed, len(r.rest))
			}
		}
	}
}

func TestReceivedViolation(t *testing.T) {
	var r received
	r.take([]byte{0x81, 0x80, 0, 0, 0, 0})
	if r.closed == "" {
		t.Error("a masked frame of a server is not noticed")
	}
}

func TestRepeat(t *testing.T) {
	if got := repeat([]byte("abc"), 7); string(got) != "abcabc" {
		t.Errorf("%q", got)
	}
	if got := repeat([]byte("abc"), 1); string(got) != "abc" {
		t.Errorf("at least one: %q", got)
	}
}

// clientFrame is a frame of a client.
type clientFrame struct {
	head    byte // FIN, RSV and opcode
	payload []byte
}

// clientFrames reads what appendFrame writes, whose masks are zero.
func clientFrames(t *testing.T, p []byte) (frames []clientFrame) {
	t.Helper()
	for len(p) > 0 {
		at, n := 2, int(p[1]&0x7F)
		switch n {
		case 126:
			at, n = 4, int(binary.BigEndian.Uint16(p[2:]))
		case 127:
			at, n = 10, int(binary.BigEndian.Uint64(p[2:]))
		}
		if at += 4; p[1]&0x80 == 0 || len(p) < at+n || !bytes.Equal(p[at-4:at], make([]byte, 4)) {
			t.Fatalf("not a frame: %x", p[:min(len(p), 14)])
		}
		frames = append(frames, clientFrame{p[0], p[at : at+n]})
		p = p[at+n:]
	}
	return frames
}
