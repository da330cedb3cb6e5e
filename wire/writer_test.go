package wire

import (
	"bytes"
	"testing"

	"belfry/message"
)

// brackets is a transport of which the Writer needs only the frames.
type brackets struct{ Transport }

func (brackets) AppendFrame(dst []byte, p Payload) []byte {
	return append(append(append(dst, '['), p.Data...), ']')
}

func TestWriter(t *testing.T) {
	var w Writer
	w.Reset(brackets{}, []byte("before "))
	w.FrameBuffer(Payload{Kind: message.Text, Data: append(w.Buffer(), "first"...)})
	w.Frame(Payload{Data: []byte("second")})
	w.FrameBuffer(Payload{Data: append(w.Buffer(), "3"...)})
	if got := string(w.Bytes()); got != "before [first][second][3]" {
		t.Errorf("%q", got)
	}
	w.Reset(brackets{}, nil)
	w.Frame(Payload{})
	if got := string(w.Bytes()); got != "[]" {
		t.Errorf("after Reset: %q", got)
	}
}

// A Writer keeps the memory of small payloads and frees that of large ones.
func TestWriterBuffer(t *testing.T) {
	var w Writer
	dst := make([]byte, 0, 4*maxScratch)
	small := bytes.Repeat([]byte("s"), 1000)
	write := func(p []byte) {
		w.Reset(brackets{}, dst)
		w.FrameBuffer(Payload{Data: append(w.Buffer(), p...)})
	}
	write(small)
	if n := testing.AllocsPerRun(100, func() { write(small) }); n != 0 {
		t.Errorf("%v allocations for a small payload", n)
	}
	write(bytes.Repeat([]byte("l"), 2*maxScratch))
	if n := cap(w.Buffer()); n > maxScratch || n < len(small) {
		t.Errorf("the buffer has %d bytes after a large payload", n)
	}
}
