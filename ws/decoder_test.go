package ws

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	gobwas "github.com/gobwas/ws"
)

// clientFrame builds a masked frame with the shortest length form. first is
// the first byte: FIN, RSV and opcode.
func clientFrame(first byte, payload []byte, mask uint32) []byte {
	f := AppendHeader(nil, 0, false, len(payload))
	f[0] = first
	f[1] |= maskBit
	f = binary.BigEndian.AppendUint32(f, mask)
	at := len(f)
	f = append(f, payload...)
	gobwas.Cipher(f[at:], [4]byte(f[at-4:at]), 0)
	return f
}

// frames builds one input of several frames, each given as the first byte and
// the payload in one string.
func frames(specs ...string) []byte {
	var in []byte
	for i, spec := range specs {
		in = append(in, clientFrame(spec[0], []byte(spec[1:]), 0x3fa2571c*uint32(i+1))...)
	}
	return in
}

// decodeAll feeds in to Next in the given pieces, as a shard does: what was
// not consumed stays in front of the next piece, an Inbound is there only
// while one is needed. It returns the events, the error if any, and how many
// bytes were consumed.
func decodeAll(t testing.TB, pieces [][]byte, lim Limits) string {
	t.Helper()
	var (
		out      strings.Builder
		tail     []byte
		st       *Inbound
		consumed int
	)
	for _, piece := range pieces {
		p := append(bytes.Clone(tail), piece...)
		for waiting := false; !waiting; {
			n, ev, err := Next(p, st, lim)
			consumed += n
			p = p[n:]
			if err != nil {
				var fault *ProtocolError
				if !errors.As(err, &fault) || len(fault.Detail) > MaxCloseReason {
					t.Fatalf("error %#v", err)
				}
				fmt.Fprintf(&out, "%d %v at %d", fault.Violation.Code(), err, consumed)
				return out.String()
			}
			switch ev.Type {
			case EventNone:
				waiting = true
			case EventAssemble:
				if st != nil || n != 0 {
					t.Fatalf("asked for an Inbound with one given, or after %d bytes", n)
				}
				st = &Inbound{buf: make([]byte, 3, 7)} // as one from a pool
			case EventMessage:
				if ev.Compressed {
					out.WriteString(inflated(ev, lim))
					break
				}
				fmt.Fprintf(&out, "%s %q, ", map[OpCode]string{OpText: "text", OpBinary: "binary"}[ev.Op], ev.Payload)
			case EventPing:
				fmt.Fprintf(&out, "ping %q, ", ev.Payload)
			case EventPong:
				fmt.Fprintf(&out, "pong %q, ", ev.Payload)
			case EventClose:
				fmt.Fprintf(&out, "close %d %q, ", ev.Code, ev.Payload)
			}
			if st != nil && !st.Active() && ev.Type != EventAssemble {
				st = nil
			}
		}
		if len(p) > MaxTail {
			t.Fatalf("%d bytes left over, above MaxTail", len(p))
		}
		tail = p
	}
	fmt.Fprintf(&out, "%d bytes", consumed)
	return out.String()
}

// decodeSplits decodes in whole, in two pieces cut at every byte, and byte by
// byte, and fails if there is a difference.
func decodeSplits(t testing.TB, in []byte, lim Limits) string {
	t.Helper()
	whole := decodeAll(t, [][]byte{in}, lim)
	for cut := range in {
		if got := decodeAll(t, [][]byte{in[:cut], in[cut:]}, lim); got != whole {
			t.Fatalf("input % x\nwhole:     %s\ncut at %d: %s", in, whole, cut, got)
		}
	}
	single := make([][]byte, len(in))
	for i := range in {
		single[i] = in[i : i+1]
	}
	if got := decodeAll(t, single, lim); got != whole {
		t.Fatalf("input % x\nwhole:        %s\nbyte by byte: %s", in, whole, got)
	}
	return whole
}

const (
	fText, fBin, fCont    = "\x81", "\x82", "\x80" // with FIN
	oText, oBin, oCont    = "\x01", "\x02", "\x00" // without
	fClose, fPing, fPong  = "\x88", "\x89", "\x8a"
	oClose, oPing, oPong  = "\x08", "\x09", "\x0a"
	goodText, brokenStart = "κόσμε", "\xf4\x90"
)

func TestDecoder(t *testing.T) {
	big := strings.Repeat("x", 125)
	lim := Limits{MaxMessage: 300, MaxFragments: 4}
	unmasked := []byte{0x81, 1, 'a'}
	tests := []struct {
		name string
		in   []byte
		want string
	}{
		{"nothing", nil, `0 bytes`},
		{"text", frames(fText + "hello"), `text "hello", 11 bytes`},
		{"binary", frames(fBin + "\x00\xff"), `binary "\x00\xff", 8 bytes`},
		{"empty", frames(fText), `text "", 6 bytes`},
		{"several", frames(fText+"a", fBin+"b", fPing+"c", fPong+"d"), `text "a", binary "b", ping "c", pong "d", 28 bytes`},
		{"126 bytes", frames(fBin + big + "y"), fmt.Sprintf(`binary %q, 134 bytes`, big+"y")},
		{"the limit", frames(fBin + strings.Repeat("z", 300)), fmt.Sprintf(`binary %q, 308 bytes`, strings.Repeat("z", 300))},
		{"half a frame", frames(fText + "hello")[:8], `8 bytes`},
		{"half a header", frames(fText + "hello")[:5], `0 bytes`},
		{"half a ping", frames(fPing + "hello")[:8], `0 bytes`},

		{"fragments", frames(oText+"a", oCont+"b", fCont+"c"), `text "abc", 21 bytes`},
		{"empty fragments", frames(oBin, oCont, fCont), `binary "", 18 bytes`},
		{"most fragments", frames(oText+"a", oCont+"b", oCont+"c", fCont+"d"), `text "abcd", 28 bytes`},
		{"control between fragments", frames(oText+"a", fPing+"1", oCont+"b", fPong, fPing+"2", fCont+"c", fText+"d"),
			`ping "1", pong "", ping "2", text "abc", text "d", 48 bytes`},
		{"close between fragments", frames(oText+"a", fClose+"\x03\xe8"), `close 1000 "", 15 bytes`},
		{"two fragmented messages", frames(oText+"a", fCont+"b", oBin+"c", fCont+"d"), `text "ab", binary "cd", 28 bytes`},
		{"fragments up to the limit", frames(oBin+strings.Repeat("a", 150), fCont+strings.Repeat("b", 150)),
			fmt.Sprintf(`binary %q, 316 bytes`, strings.Repeat("a", 150)+strings.Repeat("b", 150))},

		{"close without code", frames(fClose), `close 1005 "", 6 bytes`},
		{"close with reason", frames(fClose + "\x03\xe9bye"), `close 1001 "bye", 11 bytes`},
		{"close with the longest reason", frames(fClose + "\x0b\xb8" + big[:123]), fmt.Sprintf(`close 3000 %q, 131 bytes`, big[:123])},
		{"125 bytes of ping", frames(fPing + big), fmt.Sprintf(`ping %q, 131 bytes`, big)},

		{"not masked", unmasked, `1002 protocol: client frame is not masked at 0`},
		{"not masked, after a message", append(frames(fText+"a"), unmasked...), `text "a", 1002 protocol: client frame is not masked at 7`},
		{"RSV1", frames("\xc1a"), `1002 protocol: reserved bit set without an extension at 0`},
		{"RSV2", frames("\xa1a"), `1002 protocol: reserved bit set without an extension at 0`},
		{"RSV3", frames("\x91a"), `1002 protocol: reserved bit set without an extension at 0`},
		{"RSV of a ping", frames("\xd9"), `1002 protocol: reserved bit set without an extension at 0`},
		{"RSV of a continuation", frames(oText+"a", "\xc0b"), `1002 protocol: reserved bit set without an extension at 7`},
		{"fragmented ping", frames(oPing), `1002 protocol: fragmented control frame at 0`},
		{"fragmented pong", frames(oPong), `1002 protocol: fragmented control frame at 0`},
		{"fragmented close", frames(oClose), `1002 protocol: fragmented control frame at 0`},
		{"126 bytes of ping", frames(fPing + big + "x"), `1002 protocol: control frame has more than 125 bytes at 0`},
		{"126 bytes of close", frames(fClose + "\x03\xe8" + big[:124]), `1002 protocol: control frame has more than 125 bytes at 0`},
		{"64-bit length of ping", []byte("\x89\xff\x00\x00\x00\x00\x00\x00\x00\x01abcdx"), `1002 protocol: control frame has more than 125 bytes at 0`},
		{"continuation of nothing", frames(fCont + "a"), `1002 protocol: continuation without a message to continue at 0`},
		{"continuation of a whole message", frames(fText+"a", oCont+"b"), `text "a", 1002 protocol: continuation without a message to continue at 7`},
		{"continuation of an ended message", frames(oText+"a", fCont+"b", fCont+"c"), `text "ab", 1002 protocol: continuation without a message to continue at 14`},
		{"text within text", frames(oText+"a", fText+"b"), `1002 protocol: new message within a fragmented one at 7`},
		{"binary within text", frames(oText+"a", oBin+"b"), `1002 protocol: new message within a fragmented one at 7`},
		{"16-bit length of 125", []byte("\x82\xfe\x00\x7dabcd"), `1002 protocol: length is not in its shortest form at 0`},
		{"64-bit length of 125", []byte("\x82\xff\x00\x00\x00\x00\x00\x00\x00\x7dabcd"), `1002 protocol: length is not in its shortest form at 0`},
		{"64-bit length of 65535", []byte("\x82\xff\x00\x00\x00\x00\x00\x00\xff\xffabcd"), `1002 protocol: length is not in its shortest form at 0`},
		{"64-bit length of 1<<63", []byte("\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00abcd"), `1002 protocol: length has its most significant bit set at 0`},
		{"length of 1<<63-1", []byte("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xffabcd"), `1009 too_big: message is above the limit of this server at 0`},
		{"the same as a continuation", append(frames(oBin+"a"), "\x80\xff\x7f\xff\xff\xff\xff\xff\xff\xffabcd"...), `1009 too_big: message is above the limit of this server at 7`},
		{"above the limit", frames(fBin + strings.Repeat("z", 301)), `1009 too_big: message is above the limit of this server at 0`},
		{"above the limit, header alone", frames(fBin + strings.Repeat("z", 301))[:4], `1009 too_big: message is above the limit of this server at 0`},
		{"above the limit together", frames(oBin+strings.Repeat("a", 150), fCont+strings.Repeat("b", 151)), `1009 too_big: message is above the limit of this server at 158`},
		{"too many fragments", frames(oText+"a", oCont+"b", oCont+"c", oCont+"d", fCont+"e"), `1009 fragments: message has too many fragments at 28`},

		{"close of one byte", frames(fClose + "\x03"), `1002 protocol: close frame has a payload of one byte at 0`},
		{"close with code 1005", frames(fClose + "\x03\xed"), `1002 protocol: close frame has a code that must not be sent at 0`},
		{"close with a reason that is no UTF-8", frames(fClose + "\x03\xe8" + goodText + "\xed\xa0"), `1007 utf8: close reason is not valid UTF-8 at 0`},
		{"close with half a rune", frames(fClose + "\x03\xe8\xe2\x82"), `1007 utf8: close reason is not valid UTF-8 at 0`},

		{"text that is no UTF-8", frames(fText + goodText + brokenStart + "ok"), `1007 utf8: text message is not valid UTF-8 at 18`},
		{"the same, not yet complete", frames(fText + goodText + brokenStart + "ok")[:18], `1007 utf8: text message is not valid UTF-8 at 18`},
		{"text that ends in half a rune", frames(fText + "a\xe2\x82"), `1007 utf8: text message ends within a character at 9`},
		{"the same in fragments", frames(oText+"a\xe2", fCont+"\x82"), `1007 utf8: text message ends within a character at 15`},
		{"the same with an empty last fragment", frames(oText+"a\xe2", fCont), `1007 utf8: text message ends within a character at 14`},
		{"a rune over fragments", frames(oText+"\xe2", oCont+"\x82", oCont, fCont+"\xac"), `text "€", 27 bytes`},
		{"a bad rune over fragments", frames(oText+"\xf4", oCont+"\x90\x80", fCont+"\x80"), `1007 utf8: text message is not valid UTF-8 at 14`},
		{"binary that is no UTF-8, in fragments", frames(oBin+"\xf4", fCont+"\x90\x80"), `binary "\xf4\x90\x80", 15 bytes`},
	}
	for _, op := range []string{"\x83", "\x84", "\x85", "\x86", "\x87", "\x8b", "\x8c", "\x8d", "\x8e", "\x8f"} {
		tests = append(tests, struct {
			name string
			in   []byte
			want string
		}{fmt.Sprintf("opcode %x", op[0]&0xf), frames(fText+"a", op), `text "a", 1002 protocol: reserved opcode at 7`})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := decodeSplits(t, tt.in, lim); got != tt.want {
				t.Errorf("input % x\ngot  %s\nwant %s", tt.in, got, tt.want)
			}
		})
	}
}

func TestDecoderDefaultLimits(t *testing.T) {
	payload := bytes.Repeat([]byte("x"), DefaultMaxMessage)
	if _, ev, err := Next(clientFrame(0x82, payload, 1), nil, Limits{}); err != nil || len(ev.Payload) != DefaultMaxMessage {
		t.Errorf("message at the default limit: %v", err)
	}
	var fault *ProtocolError
	if _, _, err := Next(clientFrame(0x82, append(payload, 'x'), 1), nil, Limits{}); !errors.As(err, &fault) || fault.Violation != TooBig {
		t.Errorf("message above the default limit: %v", err)
	}
}

// TestInboundGrowsWithArrival announces much and sends little.
func TestInboundGrowsWithArrival(t *testing.T) {
	const announced = 1 << 30
	in := binary.BigEndian.AppendUint64([]byte{0x82, 0xff}, announced)
	in = append(in, "mask"...)
	in = append(in, make([]byte, 5000)...)
	var st Inbound
	n, ev, err := Next(in, &st, Limits{MaxMessage: announced})
	if n != len(in) || ev.Type != EventNone || err != nil || !st.Active() {
		t.Fatalf("Next = %d, %+v, %v", n, ev, err)
	}
	if st.Cap() > 10000 {
		t.Errorf("buffer of %d bytes for 5,000 received", st.Cap())
	}
	for range 200 {
		if _, _, err := Next(make([]byte, 5000), &st, Limits{MaxMessage: announced}); err != nil {
			t.Fatal(err)
		}
	}
	if st.Cap() > 2*201*5000 {
		t.Errorf("buffer of %d bytes for %d received", st.Cap(), 201*5000)
	}
	held := st.Cap()
	if buf := st.Reset(); cap(buf) != held || st.Cap() != 0 || st.Active() {
		t.Errorf("Reset gave %d of %d bytes back, kept %d, active %v", cap(buf), held, st.Cap(), st.Active())
	}
}

// TestInboundStopsAtTheLimit has the buffer end where the message must.
func TestInboundStopsAtTheLimit(t *testing.T) {
	var st Inbound
	lim := Limits{MaxMessage: 1000}
	in := frames(oBin+strings.Repeat("a", 600), fCont+strings.Repeat("b", 400))
	_, ev, err := Next(in, &st, lim)
	if err != nil || len(ev.Payload) != 1000 || st.Cap() > 1000 {
		t.Errorf("%d bytes of payload in a buffer of %d, %v", len(ev.Payload), st.Cap(), err)
	}
	st.Reset()
	in = frames(oBin+strings.Repeat("a", 600), oCont+strings.Repeat("b", 100))
	if _, _, err := Next(in, &st, lim); err != nil || st.Cap() > 1000 {
		t.Errorf("a buffer of %d for a message of at most 1,000, %v", st.Cap(), err)
	}
}

// TestInboundIsUsedAgain gives one Inbound to message after message.
func TestInboundIsUsedAgain(t *testing.T) {
	var st Inbound
	lim := Limits{MaxMessage: 4, MaxFragments: 2}
	for i := range 5 {
		p := frames(oText+"\xc3\xa4", fCont+"bc", fText+"whole")[:22] // "whole" is too long and not reached
		n, ev, err := Next(p, &st, lim)
		if n != 16 || string(ev.Payload) != "äbc" || err != nil || st.Active() {
			t.Fatalf("message %d: %d, %+v, %v", i, n, ev, err)
		}
	}
}

func TestProtocolErrorCodes(t *testing.T) {
	for violation, code := range map[Violation]uint16{BrokenProtocol: 1002, InvalidUTF8: 1007, TooBig: 1009, TooManyFragments: 1009, InvalidDeflate: 1007} {
		if violation.Code() != code {
			t.Errorf("%v has code %d, want %d", violation, violation.Code(), code)
		}
	}
}

// TestDecoderAgainstGobwas reads valid input with both decoders.
func TestDecoderAgainstGobwas(t *testing.T) {
	in := frames(fText+goodText, oBin+"a", fPing+"p", oCont, fCont+strings.Repeat("b", 70000), fPong, fClose+"\x03\xe8bye")
	r := bytes.NewReader(bytes.Clone(in))
	var want []string
	var message []byte
	for r.Len() > 0 {
		//lint:ignore SA1019 the frame is ours, so its length is no stranger's
		f, err := gobwas.ReadFrame(r)
		if err != nil {
			t.Fatal(err)
		}
		gobwas.Cipher(f.Payload, f.Header.Mask, 0)
		switch {
		case f.Header.OpCode.IsControl():
			want = append(want, string(f.Payload))
		default:
			message = append(message, f.Payload...)
			if f.Header.Fin {
				want, message = append(want, string(message)), nil
			}
		}
	}
	var got []string
	var st Inbound
	for p := in; len(p) > 0; {
		n, ev, err := Next(p, &st, Limits{MaxMessage: 1 << 20})
		if err != nil || ev.Type == EventNone {
			t.Fatal(ev, err)
		}
		payload := string(ev.Payload)
		if ev.Type == EventClose {
			payload = string(binary.BigEndian.AppendUint16(nil, ev.Code)) + payload
		}
		got = append(got, payload)
		p = p[n:]
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %d events, want %d", len(got), len(want))
	}
}

// TestDecoderAllocations: a small frame that lies whole in the input costs no
// allocation and needs no state.
func TestDecoderAllocations(t *testing.T) {
	frame := frames(fText + strings.Repeat("é", 60))
	ping := frames(fPing + "ping")
	p := make([]byte, 0, len(frame)+len(ping))
	if allocs := testing.AllocsPerRun(100, func() {
		p = append(append(p[:0], frame...), ping...)
		n, ev, err := Next(p, nil, Limits{})
		if ev.Type != EventMessage || err != nil || &ev.Payload[0] != &p[n-len(ev.Payload)] {
			t.Fatal(ev, err)
		}
		if _, ev, err = Next(p[n:], nil, Limits{}); ev.Type != EventPing || err != nil {
			t.Fatal(ev, err)
		}
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
