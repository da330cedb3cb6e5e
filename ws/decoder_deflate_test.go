package ws

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// inflated describes a compressed message.
func inflated(ev Event, lim Limits) string {
	var f Inflater
	p, err := f.Inflate(ev, lim)
	if err != nil {
		return fmt.Sprintf("%v, ", err)
	}
	return fmt.Sprintf("inflated %d %q, ", ev.Op, p)
}

const (
	zText, zBin   = "\xc1", "\xc2" // with FIN and RSV1
	zoText, zoBin = "\x41", "\x42" // with RSV1
	zHello        = "\xf2\x48\xcd\xc9\xc9\x07\x00"
)

// TestDecoderDeflate decodes compressed messages, cut at every byte.
func TestDecoderDeflate(t *testing.T) {
	lim := Limits{MaxMessage: 300, MaxFragments: 4, Deflate: true}
	const reserved = "1002 protocol: reserved bit set without an extension at "
	invalid := string(deflated(t, []byte("bad: \xed\xa0\x80"), 6))
	half := string(deflated(t, []byte("half: \xe2\x82"), 6))
	for _, tc := range []struct {
		name string
		in   []byte
		want string
	}{
		{"text", frames(zText + zHello), `inflated 1 "Hello", 13 bytes`},
		{"binary", frames(zBin + zHello), `inflated 2 "Hello", 13 bytes`},
		{"empty", frames(zText + "\x00"), `inflated 1 "", 7 bytes`},
		{"not compressed", frames(fText + "Hello"), `text "Hello", 11 bytes`},
		{"fragments", frames(zoText+zHello[:3], oCont, fCont+zHello[3:]), `inflated 1 "Hello", 25 bytes`},
		{"fragments, the last empty", frames(zoBin+zHello, fCont), `inflated 2 "Hello", 19 bytes`},
		{"the first empty", frames(zoBin, fCont+zHello), `inflated 2 "Hello", 19 bytes`},
		{"control between fragments", frames(zoText+zHello[:3], fPing+"p", fCont+zHello[3:]), `ping "p", inflated 1 "Hello", 26 bytes`},
		{"one after the other", frames(zText+zHello, fText+"a", zoText+zHello[:3], fCont+zHello[3:], oText+"b", fCont+"c"),
			`inflated 1 "Hello", text "a", inflated 1 "Hello", text "bc", 53 bytes`},
		{"bytes that are no UTF-8", frames(zText + "\x00\x01\x00\xfe\xff\x61\x00"), `inflated 1 "a", 13 bytes`},
		{"half a frame", frames(zText + zHello)[:9], `9 bytes`},

		{"continuation", frames(zoText+zHello[:3], "\xc0"+zHello[3:]), reserved + "9"},
		{"continuation of plain text", frames(oText+"a", "\xc0b"), reserved + "7"},
		{"ping", frames("\xc9"), reserved + "0"},
		{"close", frames("\xc8"), reserved + "0"},
		{"reserved opcode", frames("\xc3"), reserved + "0"},
		{"RSV1 and RSV2", frames("\xe1" + zHello), reserved + "0"},
		{"RSV3", frames("\x91a"), reserved + "0"},
		{"within a message", frames(oText+"a", zText+zHello), `1002 protocol: new message within a fragmented one at 7`},
		{"plain text that is no UTF-8", frames(fText + "a\xff"), `1007 utf8: text message is not valid UTF-8 at 8`},
		{"text after an unfinished compressed one", frames(zoText+zHello[:3], oText), `1002 protocol: new message within a fragmented one at 9`},

		{"inflates to no UTF-8", frames(zText + invalid), fmt.Sprintf("utf8: text message is not valid UTF-8, %d bytes", 6+len(invalid))},
		{"binary may", frames(zBin + invalid), fmt.Sprintf("inflated 2 %q, %d bytes", "bad: \xed\xa0\x80", 6+len(invalid))},
		{"ends within a character", frames(zText + half), fmt.Sprintf("utf8: text message is not valid UTF-8, %d bytes", 6+len(half))},
		{"broken", frames(zBin + "\x06"), "deflate: compressed message is not valid, 7 bytes"},
		{"a bomb", frames(zBin + string(deflated(t, make([]byte, 301), 6))), "too_big: inflated message is above the limit of this server, 13 bytes"},
		{"compressed above the limit", frames(zBin + strings.Repeat("a", 300+64+1)), "1009 too_big: message is above the limit of this server at 0"},
	} {
		if got := decodeSplits(t, tc.in, lim); got != tc.want {
			t.Errorf("%s: got  %s\nwant %s", tc.name, got, tc.want)
		}
	}
}

// TestDecoderWithoutDeflate: RSV1 is an error where nothing was negotiated.
func TestDecoderWithoutDeflate(t *testing.T) {
	for _, first := range []string{zText, zBin, zoText, zoBin} {
		if got := decodeSplits(t, frames(first+zHello), Limits{}); got != "1002 protocol: reserved bit set without an extension at 0" {
			t.Error(got)
		}
	}
}

// FuzzDecoderDeflate builds messages from the fuzzer's bytes, compressed or
// not, in fragments cut anywhere, and reads them cut at every byte.
func FuzzDecoderDeflate(f *testing.F) {
	f.Add([]byte("hello, hello, hello"), byte(3), byte(0b01))
	f.Add([]byte("κόσμε"), byte(1), byte(0b11))
	f.Add([]byte{}, byte(0), byte(0b10))
	f.Add([]byte("\xff"), byte(0), byte(0b10))
	f.Add([]byte("a close code: 1007"), byte(0), byte(0b11))
	f.Fuzz(func(t *testing.T, payload []byte, size, kind byte) {
		if len(payload) > 100 {
			return
		}
		op := OpCode(1 + kind&1)
		first, wire := byte(op), payload
		if kind&2 != 0 {
			first, wire = first|rsv1Bit, deflated(t, payload, -2+int(kind>>2)%12)
		}
		var in []byte
		for rest, n := wire, max(int(size), 1+len(wire)/30); ; first = 0 {
			if len(rest) <= n {
				in = append(in, clientFrame(first|finBit, rest, uint32(size)*0x01020305)...)
				break
			}
			in = append(in, clientFrame(first, rest[:n], uint32(len(rest))*0x010305)...)
			rest = rest[n:]
		}
		got := decodeSplits(t, in, Limits{MaxMessage: 200, MaxFragments: 40, Deflate: true})
		ok := op == OpBinary || utf8.Valid(payload)
		want := fmt.Sprintf("%s %q, ", map[OpCode]string{OpText: "text", OpBinary: "binary"}[op], payload)
		if kind&2 != 0 {
			want = fmt.Sprintf("inflated %d %q, ", op, payload)
		}
		if strings.HasPrefix(got, want) != ok || !ok && !strings.Contains(got, "utf8: ") {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

// TestInflateChecksText: only text has to be UTF-8.
func TestInflateChecksText(t *testing.T) {
	var f Inflater
	in := deflated(t, []byte("\xff"), 6)
	if p, err := f.Inflate(Event{Op: OpBinary, Payload: in}, Limits{}); err != nil || !bytes.Equal(p, []byte("\xff")) {
		t.Errorf("binary: %q, %v", p, err)
	}
	var fault *ProtocolError
	if _, err := f.Inflate(Event{Op: OpText, Payload: in}, Limits{}); !errors.As(err, &fault) || fault.Violation != InvalidUTF8 {
		t.Errorf("text: %v", err)
	}
}

// TestInflateDefaultLimit: a limit of 0 means the default, as it does in Next.
func TestInflateDefaultLimit(t *testing.T) {
	var f Inflater
	for n, ok := range map[int]bool{DefaultMaxMessage: true, DefaultMaxMessage + 1: false} {
		p, err := f.Inflate(Event{Op: OpBinary, Payload: deflated(t, make([]byte, n), 6)}, Limits{})
		if ok != (err == nil && len(p) == n) {
			t.Errorf("%d bytes: %d, %v", n, len(p), err)
		}
	}
}

// TestDecoderDeflateAllocations: a compressed message that lies whole in the
// input costs no allocation on its way to the message.
func TestDecoderDeflateAllocations(t *testing.T) {
	payload := sampleJSON(4 << 10)
	frame := clientFrame(zText[0], deflated(t, payload, 6), 0x01020304)
	p := make([]byte, 0, len(frame))
	var f Inflater
	if allocs := testing.AllocsPerRun(100, func() {
		p = append(p[:0], frame...)
		_, ev, err := Next(p, nil, Limits{Deflate: true})
		if err != nil || !ev.Compressed {
			t.Fatal(ev, err)
		}
		if out, err := f.Inflate(ev, Limits{}); err != nil || len(out) != len(payload) {
			t.Fatal(len(out), err)
		}
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// TestInboundForgetsDeflate: a message is not compressed because one before it
// in the same Inbound was.
func TestInboundForgetsDeflate(t *testing.T) {
	var st Inbound
	lim := Limits{Deflate: true}
	for _, tc := range []struct {
		in         []byte
		compressed bool
	}{
		{frames(zoText+zHello[:3], fCont+zHello[3:]), true},
		{frames(oText+"He", fCont+"llo"), false},
		{frames(zoText+zHello[:3], fCont+zHello[3:]), true},
	} {
		n, ev, err := Next(tc.in, &st, lim)
		if n != len(tc.in) || ev.Compressed != tc.compressed || err != nil {
			t.Fatalf("%d of %d, %+v, %v", n, len(tc.in), ev, err)
		}
	}
	if _, _, err := Next(frames(oText+"\xff", fCont), &st, lim); err == nil {
		t.Error("plain text was not checked")
	}
}
