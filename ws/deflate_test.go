package ws

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"sync"
	"testing"
)

func newDeflater(t testing.TB, o DeflateOptions) *Deflater {
	t.Helper()
	d, err := NewDeflater(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// payloadOf returns the payload of a whole server frame and whether it is
// compressed.
func payloadOf(t testing.TB, frame []byte) (payload []byte, compressed bool) {
	t.Helper()
	size := 2
	n := int(frame[1])
	switch n {
	case len16:
		size, n = 4, int(frame[2])<<8|int(frame[3])
	case len64:
		size, n = 10, int(frame[6])<<24|int(frame[7])<<16|int(frame[8])<<8|int(frame[9])
	}
	if len(frame) != size+n {
		t.Fatalf("a frame of %d bytes says that it has %d+%d", len(frame), size, n)
	}
	return frame[size:], frame[0]&rsv1Bit != 0
}

// TestDeflate compresses messages of many sizes and inflates them with the
// standard library.
func TestDeflate(t *testing.T) {
	data := sampleJSON(200000)
	for level := 1; level <= 9; level++ {
		d := newDeflater(t, DeflateOptions{Level: level, Writers: 1})
		for _, n := range []int{1024, 1025, 4096, 65535, 65536, 200000} {
			frame, saved := d.AppendFrame([]byte("before"), OpText, data[:n])
			if !bytes.HasPrefix(frame, []byte("before")) {
				t.Fatal("what was in dst is gone")
			}
			payload, compressed := payloadOf(t, frame[6:])
			if frame[6] != byte(OpText)|finBit|rsv1Bit || !compressed || saved != n-len(payload) || saved < n/2 {
				t.Errorf("level %d, %d bytes: first byte %#x, saved %d, %d bytes of payload", level, n, frame[6], saved, len(payload))
			}
			if bytes.HasSuffix(payload, deflateTail[:]) {
				t.Errorf("level %d, %d bytes: the tail was not cut", level, n)
			}
			got, err := io.ReadAll(flate.NewReader(bytes.NewReader(append(bytes.Clone(payload), 0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff))))
			if err != nil || !bytes.Equal(got, data[:n]) {
				t.Errorf("level %d, %d bytes: got %d, %v", level, n, len(got), err)
			}
		}
	}
}

// TestDeflateNeedsNoContext: a message is compressed to the same bytes whatever
// came before it.
func TestDeflateNeedsNoContext(t *testing.T) {
	d := newDeflater(t, DeflateOptions{Writers: 1})
	payload := sampleJSON(4096)
	first, _ := d.AppendFrame(nil, OpText, payload)
	for range 3 {
		d.AppendFrame(nil, OpText, sampleJSON(9000))
		d.AppendFrame(nil, OpBinary, noise(2000))
		again, _ := d.AppendFrame(nil, OpText, payload)
		if !bytes.Equal(again, first) {
			t.Fatal("the same message gave other bytes")
		}
	}
}

// TestDeflateWhereItDoesNotPay: such messages go as they are.
func TestDeflateWhereItDoesNotPay(t *testing.T) {
	d := newDeflater(t, DeflateOptions{MinSize: 100, Writers: 1})
	for name, payload := range map[string][]byte{
		"empty":         {},
		"below minimum": bytes.Repeat([]byte("a"), 99),
		"noise":         noise(100),
		"much noise":    noise(200000),
	} {
		frame, saved := d.AppendFrame(nil, OpBinary, payload)
		if saved != 0 || !bytes.Equal(frame, AppendFrame(nil, OpBinary, payload)) {
			t.Errorf("%s: saved %d, a frame of %d bytes", name, saved, len(frame))
		}
	}
	if _, saved := d.AppendFrame(nil, OpText, bytes.Repeat([]byte("a"), 100)); saved == 0 {
		t.Error("a message of the minimum was not compressed")
	}
}

// TestDeflateWriters: with all writers at work a message is not compressed, and
// the number of writers does not grow.
func TestDeflateWriters(t *testing.T) {
	d := newDeflater(t, DeflateOptions{Writers: 2})
	payload := sampleJSON(4096)
	a, b := <-d.writers, <-d.writers
	if _, saved := d.AppendFrame(nil, OpText, payload); saved != 0 {
		t.Error("compressed without a writer")
	}
	d.writers <- a
	d.writers <- b
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var f Inflater
			for range 50 {
				frame, saved := d.AppendFrame(nil, OpText, payload)
				got, compressed := payloadOf(t, frame)
				if compressed != (saved > 0) {
					t.Errorf("compressed %v, saved %d", compressed, saved)
				}
				if compressed {
					var err error
					if got, err = f.inflate(got, 1<<20); err != nil {
						t.Error(err)
					}
				}
				if !bytes.Equal(got, payload) {
					t.Errorf("%d bytes of %d", len(got), len(payload))
				}
			}
		})
	}
	wg.Wait()
	if len(d.writers) != 2 {
		t.Errorf("%d writers at rest, want 2", len(d.writers))
	}
}

// TestDeflateAllocations: compressing allocates nothing once the writer is
// there.
func TestDeflateAllocations(t *testing.T) {
	d := newDeflater(t, DeflateOptions{Writers: 1})
	payload := sampleJSON(4096)
	dst := make([]byte, 0, 8192)
	if allocs := testing.AllocsPerRun(100, func() { d.AppendFrame(dst, OpText, payload) }); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func TestDeflateOptions(t *testing.T) {
	for _, o := range []DeflateOptions{{Level: -1}, {Level: 10}, {MinSize: -1}, {Writers: -1}} {
		var bad *OptionError
		if _, err := NewDeflater(o); !errors.As(err, &bad) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func BenchmarkDeflate4KiB(b *testing.B) {
	d := newDeflater(b, DeflateOptions{Writers: 1})
	payload := sampleJSON(4 << 10)
	var dst []byte
	var saved int
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		dst, saved = d.AppendFrame(dst[:0], OpText, payload)
	}
	b.ReportMetric(float64(saved), "saved")
}
