package bench

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

const deflateExtension = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

func deflateHead(extensions string) string {
	return strings.Replace(goodHead, "\r\n\r\n", "\r\nSec-WebSocket-Extensions: "+extensions+"\r\n\r\n", 1)
}

// compressed is a frame as a server sends it that has agreed to deflate.
func compressed(t *testing.T, payload []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, 6)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(payload)
	w.Flush()
	frame := AppendTextFrame(nil, bytes.TrimSuffix(b.Bytes(), []byte("\x00\x00\xff\xff")))
	frame[0] |= 0x40
	return frame
}

func TestDeflateIsNegotiated(t *testing.T) {
	w := newWire(Dial{Targets: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")}, Wire: Wire{Headers: []string{"A: b"}, Deflate: true}})
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(w.appendRequest(nil, 0))))
	if err != nil || r.Header.Get("Sec-WebSocket-Extensions") != deflateExtension || r.Header.Get("A") != "b" {
		t.Errorf("%+v, %v", r, err)
	}
	for _, tt := range []struct {
		head    string
		offered bool
		want    error
	}{
		{deflateHead(deflateExtension), true, nil},
		{deflateHead("permessage-deflate;server_no_context_takeover"), true, nil},
		{deflateHead(deflateExtension), false, errOffer},
		{goodHead, true, errNoDeflate},
		{deflateHead("permessage-deflate"), true, errNoDeflate},
		{deflateHead("permessage-deflate; client_no_context_takeover"), true, errNoDeflate},
		{deflateHead("other; server_no_context_takeover"), true, errNoDeflate},
		{deflateHead(deflateExtension + ", other"), true, errNoDeflate},
	} {
		if n, err := parseUpgrade([]byte(tt.head), "", tt.offered); err != tt.want || (n == len(tt.head)) != (err == nil) {
			t.Errorf("%q, offered %v: n %d, %v; want %v", tt.head, tt.offered, n, err, tt.want)
		}
	}
}

// RSV1 is for data, of connections that have agreed to deflate.
func TestCompressedFrames(t *testing.T) {
	for _, tt := range []struct {
		frame   string
		deflate bool
		want    error
	}{
		{"\xc1\x01a", true, nil},
		{"\xc2\x01a", true, nil},
		{"\xc1\x01a", false, errReserved},
		{"\xe1\x01a", true, errReserved},
		{"\xc9\x01a", true, errReserved},
		{"\xc8\x00", true, errReserved},
		{"\xc0\x01a", true, errReserved},
		{"\x41\x01a", true, errFragmented},
	} {
		f, _, err := parseFrame([]byte(tt.frame), tt.deflate)
		if !errors.Is(err, tt.want) || err == nil && !f.Compressed {
			t.Errorf("%q, %v: %+v, %v; want %v", tt.frame, tt.deflate, f, err, tt.want)
		}
	}
	if f, _, err := parseFrame([]byte("\x81\x01a"), true); err != nil || f.Compressed {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestClientInflates(t *testing.T) {
	document := func(seq uint32) []byte {
		return compressed(t, AppendDocument(nil, Message{Stream: Broadcast, Seq: seq, Stamp: 1}, 4096))
	}
	damaged := document(3)
	damaged[len(damaged)/2] ^= 0xff
	bomb := compressed(t, make([]byte, MaxFrame+1))
	frames := bytes.Join([][]byte{document(1), document(2), document(2), damaged, bomb,
		AppendTextFrame(nil, AppendDocument(nil, Message{Stream: Broadcast, Seq: 3, Stamp: 1}, 4096))}, nil)
	addr := rawServer(t, deflateHead(deflateExtension), func(c net.Conn) { c.Write(frames) })
	c := newTestClient(t)
	if d := dialWire(t, c, addr, 3, Wire{Path: DevPath(3), Topics: 3, Deflate: true, Wrapped: true}); d.Opened != 3 {
		t.Fatalf("dialed %+v, failures %v", d, c.Stats(0).Failed)
	}
	pollUntil(t, c, func() bool { return c.Stats(0).Broadcast.Received == 3*4 })
	want := Tally{Received: 3 * 4, Duplicated: 3}
	if got := c.Stats(4); got.Broadcast != want || got.Corrupt != 3*2 || got.Missing != 0 || got.Open != 3 {
		t.Errorf("%+v, corrupt %d, missing %d, open %d; want %+v", got.Broadcast, got.Corrupt, got.Missing, got.Open, want)
	}
}

// All receivers of a broadcast get the same bytes: the client inflates them for
// the first.
func TestBroadcastIsInflatedOnce(t *testing.T) {
	for _, wrapped := range []bool{false, true} {
		c := newTestClient(t)
		c.wire = newWire(Dial{Wire: Wire{Deflate: true, Wrapped: wrapped}})
		c.conns = []conn{{state: connOpen, fd: -1}, {state: connOpen, fd: -1}}
		f, _, err := parseFrame(compressed(t, AppendPayload(nil, Broadcast, 1, 1, 4096)), true)
		if err != nil {
			t.Fatal(err)
		}
		c.message(0, f.Payload, true)
		c.inflater.src = nil
		if c.message(1, f.Payload, true); c.inflater.src != nil || c.stats.Broadcast.Received != 2 {
			t.Errorf("wrapped %v: inflated again: %v; %+v", wrapped, c.inflater.src != nil, c.stats.Broadcast)
		}
		c.conns = nil // they have no descriptors to close
	}
}

// A message may inflate to as much as a frame may hold, and not to more.
func TestInflateIsBounded(t *testing.T) {
	for size, want := range map[int]bool{MaxFrame: true, MaxFrame + 1: false} {
		f, _, err := parseFrame(compressed(t, make([]byte, size)), true)
		if err != nil {
			t.Fatal(err)
		}
		var d inflater
		if p, ok := d.inflate(f.Payload); ok != want || len(p) > MaxFrame+1 {
			t.Errorf("%d bytes: taken %v, %d bytes", size, ok, len(p))
		}
	}
}

func TestDocument(t *testing.T) {
	want := Message{Broadcast, 0, 7, 1 << 61}
	for _, size := range []int{MinDocument, MinDocument + 1, 300, 4096, 60_000} {
		p := AppendDocument([]byte("before"), want, size)[6:]
		if len(p) != size || !json.Valid(p) {
			t.Errorf("%d bytes, want %d; valid %v: %.300s", len(p), size, json.Valid(p), p)
		}
		if m, rest, err := FindPayload(p); err != nil || m != want || len(rest) != 0 {
			t.Errorf("size %d: %+v, %d bytes behind it, %v", size, m, len(rest), err)
		}
		p[len(p)-1] ^= 1
		if _, _, err := FindPayload(p); err != ErrDamaged {
			t.Errorf("size %d, a changed byte: %v", size, err)
		}
	}
	a, b := AppendDocument(nil, want, 4096), compressed(t, AppendDocument(nil, want, 4096))
	if ratio := float64(len(a)) / float64(len(b)); ratio < 3 || ratio > 6 {
		t.Errorf("a document shrinks by a factor of %.1f", ratio)
	}
}
