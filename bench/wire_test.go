package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestParseFrameAtEverySplit(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 128, 1000, 65535, 65536} {
		payload := bytes.Repeat([]byte("x"), size)
		frame := AppendTextFrame(nil, payload)
		for cut := range frame {
			if cut > 20 && cut < len(frame)-20 {
				continue // all cuts in the middle of the payload are the same state
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
	want := Message{Direct, 0xfedcba98, 0xfffffffe, 1 << 62}
	for _, size := range []int{MinPayload, 128, 1000} {
		p := AppendMessage([]byte("before"), want, size)[6:]
		if len(p) != size {
			t.Errorf("size %d, want %d", len(p), size)
		}
		if m, ok := ParsePayload(p); !ok || m != want {
			t.Errorf("got %+v %v", m, ok)
		}
		for i := range p {
			q := slices.Clone(p)
			q[i] ^= 1
			if _, ok := ParsePayload(q); ok {
				t.Errorf("a flipped bit in byte %d of %d was not noticed", i, size)
			}
		}
		for _, bad := range [][]byte{p[:MinPayload-1], append(slices.Clone(p), 'x'), append([]byte("x"), p...)} {
			if _, ok := ParsePayload(bad); ok {
				t.Errorf("taken: %.60q", bad)
			}
		}
	}
}

// Servers wrap payloads, sometimes several in one message, and may use the
// marker themselves.
func TestFindPayload(t *testing.T) {
	a, b := Message{Broadcast, 0, 7, 1}, Message{Direct, 3, 8, 2}
	pa, pb := AppendMessage(nil, a, 128), AppendMessage(nil, b, MinPayload)
	text := slices.Concat([]byte(`{"~":"~B","data":"`), pa, []byte("\"}\nMSG ~~"), pb, []byte("\r\n"))
	m, rest, err := FindPayload(text)
	if err != nil || m != a {
		t.Fatalf("%+v, %v", m, err)
	}
	m, rest, err = FindPayload(rest)
	if err != nil || m != b || string(rest) != "\r\n" {
		t.Fatalf("%+v, %q, %v", m, rest, err)
	}
	if _, _, err = FindPayload(rest); err != ErrNoPayload {
		t.Errorf("%v", err)
	}
	for i := len(pa) - 1; i >= 60; i-- {
		if _, _, err := FindPayload(append([]byte("x"), pa[:i]...)); err != ErrDamaged {
			t.Errorf("cut to %d bytes: %v", i, err)
		}
	}
	pa[100] ^= 1
	if _, _, err := FindPayload(pa); err != ErrDamaged {
		t.Errorf("a changed byte: %v", err)
	}
}

func TestTemplate(t *testing.T) {
	v := Values{User: 5, Number: 12, Topics: 10, Payload: []byte("P")}
	for in, want := range map[string]string{
		"":                                 "",
		"/ws":                              "/ws",
		"/ws?uid={uid}&topic={topic}":      "/ws?uid=u000000000000005&topic=bench.2",
		`{"sub":{"to":"{topic}"},"n":{n}}`: `{"sub":{"to":"bench.2"},"n":12}`,
		"{{uid}{payload}{":                 "{u000000000000005P{",
		"{uid":                             "{uid",
	} {
		if got := string(ParseTemplate(in).Append(nil, v)); got != want {
			t.Errorf("%q became %q, not %q", in, got, want)
		}
	}
	if got := string(ParseTemplate("t={topic}.").Append(nil, Values{Number: 3})); got != "t=." {
		t.Errorf("without topics: %q", got)
	}
}

func TestRequest(t *testing.T) {
	w := newWire(Dial{Targets: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1"), netip.MustParseAddrPort("127.0.0.1:2")},
		Wire: Wire{Path: DevPath(2), Topics: 2, Users: 3, Headers: []string{"A: b", "C: d"}, Subprotocol: "p"}})
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(w.appendRequest(nil, 7))))
	if err != nil {
		t.Fatal(err)
	}
	if r.Host != "127.0.0.1:2" || r.RequestURI != "/ws?uid="+UID(1)+"&topic=bench.1" || r.Header.Get("C") != "d" ||
		r.Header.Get("A") != "b" || r.Header.Get("Sec-WebSocket-Protocol") != "p" || r.Header.Get("Sec-WebSocket-Key") != Key {
		t.Errorf("%+v", r)
	}
	for host, want := range map[string]string{"push.example:{port}": "push.example:443", "push.example": "push.example", "": "[2001:db8::1]:443"} {
		w := newWire(Dial{Targets: []netip.AddrPort{netip.MustParseAddrPort("[2001:db8::1]:443")}, Wire: Wire{Host: host}})
		if r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(w.appendRequest(nil, 0)))); err != nil || r.Host != want {
			t.Errorf("%q: %+v, %v", host, r, err)
		}
	}
}

// Connection is a list of tokens (RFC 9110 §7.6.1).
func TestConnectionTokens(t *testing.T) {
	for value, want := range map[string]error{"keep-alive, Upgrade": nil, "UPGRADE ,x": nil, "keep-alive": errUpgr, "upgrades": errUpgr, "": errUpgr} {
		head := strings.Replace(goodHead, "Connection: upgrade", "Connection: "+value, 1)
		if _, err := ParseResponse([]byte(head), ""); err != want {
			t.Errorf("%q: %v, want %v", value, err, want)
		}
	}
}

func TestSubprotocol(t *testing.T) {
	chosen := strings.Replace(goodHead, "\r\n\r\n", "\r\nSec-WebSocket-Protocol: p\r\n\r\n", 1)
	for _, tt := range []struct {
		head, asked string
		want        error
	}{{goodHead, "", nil}, {chosen, "p", nil}, {goodHead, "p", errNoProtocol}, {chosen, "", errOffer}, {chosen, "q", errOffer}} {
		if _, err := ParseResponse([]byte(tt.head), tt.asked); err != tt.want {
			t.Errorf("asked for %q: %v, want %v", tt.asked, err, tt.want)
		}
	}
}

func TestHistogram(t *testing.T) {
	h, other := NewHistogram(), NewHistogram()
	for i := range int64(1000) {
		h.Record((i + 1) * 1000)
		other.Record(5_000_000)
	}
	h.Record(1 << 62) // counts as the longest
	h.Merge(other)
	h.Merge(nil)
	p, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	back := NewHistogram()
	if err := json.Unmarshal(p, back); err != nil {
		t.Fatal(err)
	}
	if back.Quantiles() != h.Quantiles() {
		t.Errorf("%+v came back as %+v", h.Quantiles(), back.Quantiles())
	}
	q := h.Quantiles()
	if near := func(got, want int64) bool { return got >= want && got <= want+want/100 }; q.Count != 2001 ||
		!near(h.At(25), 500_000) || !near(q.P50, 5_000_000) || !near(q.P999, 5_000_000) || !near(q.Max, int64(maxLatency)) {
		t.Errorf("%+v, 25 %%: %d", q, h.At(25))
	}
	ns, percent := h.Curve()
	if len(ns) != len(percent) || len(ns) < 100 || percent[len(percent)-1] != 100 || !slices.IsSorted(ns) || !slices.IsSorted(percent) {
		t.Errorf("curve of %d points to %v", len(ns), percent[len(percent)-1])
	}
	for i := range ns {
		if ns[i] >= 500_000 {
			if math.Abs(percent[i]-25) > 0.5 {
				t.Errorf("%v %% within 500 µs", percent[i])
			}
			break
		}
	}
	h.Reset()
	if ns, _ := h.Curve(); h.Count() != 0 || len(ns) != 0 {
		t.Error("not empty after Reset")
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
		if n, err := ParseResponse([]byte(goodHead[:cut]), ""); n != 0 || err != nil {
			t.Fatalf("cut at %d: n %d, %v", cut, n, err)
		}
	}
	if n, err := ParseResponse([]byte(goodHead+"\x81"), ""); n != len(goodHead) || err != nil {
		t.Errorf("n %d, %v; want %d", n, err, len(goodHead))
	}
	if _, err := ParseResponse(make([]byte, maxHead+1), ""); err == nil {
		t.Error("a head without end was taken")
	}
}

func TestUIDIs16Bytes(t *testing.T) {
	if a, b := UID(0), UID(999_999_999); len(a) != 16 || len(b) != 16 || a == b {
		t.Errorf("%q, %q", a, b)
	}
}

// A frame is parsed to the same result however its bytes arrive: a prefix of it
// is incomplete or an error, but never another frame.
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
