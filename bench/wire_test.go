package bench

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestParseFrameAtEverySplit(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 128, 1000, 65535, 65536} {
		payload := bytes.Repeat([]byte("x"), size)
		frame := AppendTextFrame(nil, payload)
		for cut := range frame {
			if cut > 20 && cut < len(frame)-20 {
				continue // the middle of the payload is all one state
			}
			if _, n, err := ParseFrame(frame[:cut]); n != 0 || err != nil {
				t.Fatalf("size %d cut at %d: n %d, %v", size, cut, n, err)
			}
		}
		f, n, err := ParseFrame(append(frame, "next"...))
		if err != nil || n != len(frame) || f.Op != opText || !bytes.Equal(f.Payload, payload) {
			t.Errorf("size %d: op %d, n %d, %v", size, f.Op, n, err)
		}
	}
}

func TestParseFrameRefuses(t *testing.T) {
	for _, tt := range []struct {
		frame string
		want  error
	}{
		{"\xc1\x01a", errReserved},
		{"\x83\x01a", errReserved},
		{"\x8b\x01a", errReserved},
		{"\x81\x81aaaaa", errMasked},
		{"\x01\x01a", errFragmented},
		{"\x80\x01a", errFragmented},
		{"\x09\x00", errControl},
		{"\x89\x7e\x00\x7e", errControl},
		{"\x81\x7e\x00\x7d", errLength},
		{"\x81\x7f\x00\x00\x00\x00\x00\x00\xff\xff", errLength},
		{"\x81\x7f\x00\x00\x00\x00\x00\x20\x00\x00", errTooLong},
		{"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff", errTooLong},
	} {
		if _, _, err := ParseFrame([]byte(tt.frame)); !errors.Is(err, tt.want) {
			t.Errorf("%q: %v, want %v", tt.frame, err, tt.want)
		}
	}
}

func TestPayloadRoundTrip(t *testing.T) {
	for _, size := range []int{MinPayload, 128, 1000} {
		p := AppendPayload([]byte("before"), Direct, 0xfffffffe, 1<<62, size)[6:]
		if len(p) != size {
			t.Errorf("size %d, want %d", len(p), size)
		}
		s, seq, stamp, ok := ParsePayload(p)
		if !ok || s != Direct || seq != 0xfffffffe || stamp != 1<<62 {
			t.Errorf("got %c %d %d %v", s, seq, stamp, ok)
		}
		for i := range p {
			q := slices.Clone(p)
			q[i] ^= 1
			if _, _, _, ok := ParsePayload(q); ok {
				t.Errorf("a flipped bit in byte %d of %d was not noticed", i, size)
			}
		}
		if _, _, _, ok := ParsePayload(p[:MinPayload-1]); ok {
			t.Error("a short payload was taken")
		}
	}
}

// The model keeps every number it has seen.
func TestOrderAgainstModel(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var o Order
		var got, want Tally
		o.StartAt(1)
		next, seen := uint32(1), map[uint32]bool{}
		for range 300 {
			seq := next + uint32(rng.IntN(3))
			if back := uint32(rng.IntN(100)); rng.IntN(4) == 0 && back < next {
				seq = next - back
			}
			o.Take(seq, &got)
			want.Received++
			switch {
			case seq >= next:
				want.Lost += uint64(seq - next)
				next = seq + 1
			case next-1-seq >= 64:
				want.Stale++
			case seen[seq] || seq < 1:
				want.Duplicated++
			default:
				want.Reordered++
				want.Lost--
			}
			seen[seq] = true
			if got != want || o.Next() != next {
				t.Fatalf("seed %d after %d: got %+v next %d, want %+v next %d", seed, seq, got, o.Next(), want, next)
			}
		}
	}
}

func TestResponseAtEverySplit(t *testing.T) {
	for cut := range len(goodHead) {
		if n, err := ParseResponse([]byte(goodHead[:cut])); n != 0 || err != nil {
			t.Fatalf("cut at %d: n %d, %v", cut, n, err)
		}
	}
	if n, err := ParseResponse([]byte(goodHead + "\x81")); n != len(goodHead) || err != nil {
		t.Errorf("n %d, %v; want %d", n, err, len(goodHead))
	}
	if _, err := ParseResponse(make([]byte, maxHead+1)); err == nil {
		t.Error("a head without end was taken")
	}
}

func TestUIDIs16Bytes(t *testing.T) {
	if a, b := UID(0), UID(999_999_999); len(a) != 16 || len(b) != 16 || a == b {
		t.Errorf("%q, %q", a, b)
	}
}

// Whatever a server sends, a frame is the same however its bytes arrive: a
// prefix of it is incomplete or at fault, never another frame.
func FuzzParseFrame(f *testing.F) {
	f.Add([]byte("\x81\x03abc"))
	f.Add([]byte("\x89\x00\x88\x02\x03\xe8"))
	f.Add(AppendTextFrame(nil, make([]byte, 200)))
	f.Add([]byte("\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"))
	f.Fuzz(func(t *testing.T, p []byte) {
		frame, n, err := ParseFrame(p)
		if n < 0 || n > len(p) || (err != nil && n != 0) || len(frame.Payload) > n {
			t.Fatalf("n %d of %d, payload %d, %v", n, len(p), len(frame.Payload), err)
		}
		for cut := range n {
			if _, m, err := ParseFrame(p[:cut]); m != 0 || err != nil {
				t.Fatalf("cut at %d of %d: n %d, %v", cut, n, m, err)
			}
		}
	})
}
