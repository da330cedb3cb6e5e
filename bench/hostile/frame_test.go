package hostile

import (
	"bytes"
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
