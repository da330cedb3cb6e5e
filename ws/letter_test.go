package ws

import (
	"hash/maphash"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"testing"
)

// TestLists checks that the lines of a list field are one list (RFC 9110 §5.3),
// in any order.
func TestLists(t *testing.T) {
	const (
		extensions = "+Sec-WebSocket-Extensions: "
		protocols  = "+Sec-WebSocket-Protocol: "
		coding     = "+Transfer-Encoding: "
	)
	tests := []struct {
		edits  []string
		status int
		says   string
	}{
		{[]string{"Connection: keep-alive", "+Connection: Upgrade"}, 0, ""},
		{[]string{"Connection: Upgrade", "+Connection: keep-alive"}, 0, ""},
		{[]string{"Connection:", "+Connection: a,, UPGRADE ,", "+Connection: close"}, 0, ""},
		{[]string{"Connection: close", "+Connection: keep-alive"}, 400, "Connection"},
		{[]string{"Connection: keep-alive Upgrade"}, 400, "Connection is not a list"},
		{[]string{"Connection: Upgrade; keep-alive"}, 400, "Connection is not a list"},
		{[]string{"Connection: Upgrade", `+Connection: "x"`}, 400, "Connection is not a list"},

		{[]string{"Upgrade: websocket, h2c"}, 0, ""},
		{[]string{"Upgrade: h2c, websocket"}, 0, ""},
		{[]string{"Upgrade: h2c", "+Upgrade: websocket"}, 0, ""},
		{[]string{"Upgrade: websocket", "+Upgrade: TLS/1.0, IRC/6.9"}, 0, ""},
		{[]string{"Upgrade: websocket", "+Upgrade: websocket"}, 0, ""},
		{[]string{"Upgrade: ,WebSocket,"}, 0, ""},
		{[]string{"Upgrade: h2c", "+Upgrade: TLS/1.0"}, 400, "not websocket"},
		{[]string{"Upgrade:"}, 400, "not websocket"},
		{[]string{"Upgrade: websockets"}, 400, "not websocket"},
		{[]string{"Upgrade: websocket/13"}, 400, "not websocket"},
		{[]string{"Upgrade: websocket, a b"}, 400, "Upgrade is not a list"},
		{[]string{"Upgrade: a/", "+Upgrade: websocket"}, 400, "Upgrade is not a list"},
		{[]string{"Upgrade: a/b/c, websocket"}, 400, "Upgrade is not a list"},

		{[]string{protocols + "a, b", protocols + "c"}, 0, ""},
		{[]string{protocols}, 400, "not a list of tokens"},
		{[]string{protocols + "a,, b"}, 400, "not a list of tokens"},
		{[]string{protocols + "a,"}, 400, "not a list of tokens"},
		{[]string{protocols + ",a"}, 400, "not a list of tokens"},
		{[]string{protocols + "a", protocols}, 400, "not a list of tokens"},
		{[]string{protocols + "a", protocols + "b c"}, 400, "not a list of tokens"},
		{[]string{protocols + "a, b, a"}, 400, "repeated"},
		{[]string{protocols + "a, b", protocols + "c,a"}, 400, "repeated"},
		{[]string{protocols + "a, A"}, 0, ""},

		{[]string{extensions + "permessage-deflate; client_max_window_bits", extensions + `x-a; b="10" ; c = d, e`}, 0, ""},
		{[]string{extensions + `a; b="\1\0"`}, 0, ""},
		{[]string{extensions + "a,", extensions}, 0, ""},
		{[]string{extensions}, 400, "Extensions"},
		{[]string{extensions + ","}, 400, "Extensions"},
		{[]string{extensions + ";;=,="}, 400, "Extensions"},
		{[]string{extensions + `a; b="c`}, 400, "Extensions"},
		{[]string{extensions + `a; b="c\`}, 400, "Extensions"},
		{[]string{extensions + `a; b=""`}, 400, "Extensions"},
		{[]string{extensions + `a; b="c d"`}, 400, "Extensions"},
		{[]string{extensions + `a; b="c"d`}, 400, "Extensions"},
		{[]string{extensions + `a; b="c`, extensions + `d"`}, 400, "Extensions"},
		{[]string{extensions + "a; b="}, 400, "Extensions"},
		{[]string{extensions + "a; =b"}, 400, "Extensions"},
		{[]string{extensions + "a;"}, 400, "Extensions"},
		{[]string{extensions + "a b"}, 400, "Extensions"},
		{[]string{extensions + "a=b"}, 400, "Extensions"},
		{[]string{extensions + `"a"`}, 400, "Extensions"},
		{[]string{extensions + "a", extensions + "b;;c"}, 400, "Extensions"},

		{[]string{coding + "chunked"}, 413, "body"},
		{[]string{coding + "gzip", coding + "chunked"}, 413, "body"},
		{[]string{coding + "chunked", coding + "gzip"}, 400, "Transfer-Encoding"},
		{[]string{coding + "gzip, chunked,"}, 413, "body"},
		{[]string{coding}, 400, "Transfer-Encoding"},
		{[]string{coding + "identity"}, 400, "Transfer-Encoding"},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.edits, "|"), func(t *testing.T) { checkStatus(t, goodHead(tt.edits...), tt.status, tt.says) })
	}
}

// TestHosts checks Host and the host of an absolute-form target by RFC 3986
// §3.2.2.
func TestHosts(t *testing.T) {
	for host, ok := range map[string]bool{
		"a": true, "a.example": true, "A-b_c~d!$&'()*+,;=": true, "a%C3%bc": true, "1.2.3.4:80": true,
		"a:": true, "a:0": true, "a:65535": true, "a:00080": true, "[::1]": true, "[::1]:8080": true, "[2001:DB8::7]:": true, "[::ffff:1.2.3.4]": true,
		"": false, ":": false, ":80": false, "a:xx": false, "a:1:2": false, "a:65536": false, "a:99999999999999999999": false, "a:-1": false, "a:+1": false,
		"[::1": false, "::1": false, "::1]": false, "[]": false, "[::1]x": false, "[::1]:x": false, "[::1]80": false, "[1.2.3.4]": false, "[a]": false,
		"[::1%25eth0]": false, "[::1%eth0]": false, "[:::]": false, "[1:2:3:4:5:6:7:8:9]": false, "[v1.a]": false, "[[::1]]": false,
		"a%zz": false, "a%": false, "a%4": false, "a b": false, "a@b": false, "a/b": false, "a?b": false, "a\\b": false, "a\"b": false, "a<b": false, "\xc3\xa4": false, "a[b]": false,
	} {
		t.Run(host, func(t *testing.T) {
			status := 400
			if ok {
				status = 0
			}
			checkStatus(t, goodHead("Host: "+host), status, "Host")
			if !strings.ContainsAny(host, " /?") && (host[max(0, len(host)-1):] != "\xa4") {
				checkStatus(t, goodHead("=GET http://"+host+"/ws HTTP/1.1", "Host: x"), status, "target has no valid host")
			}
		})
	}
}

// TestIPv6Hosts checks that an IPv6 host needs no allocation.
func TestIPv6Hosts(t *testing.T) {
	host := []byte("[2001:db8::7]:8080")
	if allocs := testing.AllocsPerRun(100, func() {
		if !isHost(host) {
			t.Fatal("no host")
		}
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
	if _, err := netip.ParseAddrPort(string(host)); err != nil {
		t.Error(err)
	}
}

// TestRegNameBytes compares the bit sets with the lists of RFC 3986 §2.
func TestRegNameBytes(t *testing.T) {
	const all = "-._~!$&'()*+,;=0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for c := range 256 {
		if isRegName([]byte{byte(c)}) != (strings.IndexByte(all, byte(c)) >= 0) {
			t.Errorf("isRegName(%#x) = %v", c, isRegName([]byte{byte(c)}))
		}
	}
}

// TestByTheLetter checks rules of RFC 9110, 9112 and 6455 for single fields and for
// the request line.
func TestByTheLetter(t *testing.T) {
	tests := []struct {
		name, head string
		status     int
		says       string
	}{
		{"empty line first", "\r\n" + goodHead(), 0, ""},
		{"empty lines first", "\r\n\r\n\r\n" + goodHead(), 0, ""},
		{"empty line of LF first", "\n" + goodHead(), 400, "not HTTP"},
		{"CR first", "\rGET", 400, "not HTTP"},
		{"noise behind an empty line", "\r\n\x00", 400, "not HTTP"},
		{"empty lines alone", strings.Repeat("\r\n", DefaultMaxHead/2), 431, "8192"},
		{"empty lines and a long request line", "\r\nGET /" + strings.Repeat("x", DefaultMaxHead), 414, "8192"},

		{"empty Content-Length", goodHead("Content-Length:"), 400, "Content-Length"},
		{"Content-Length of spaces", goodHead("Content-Length:  \t"), 400, "Content-Length"},
		{"signed Content-Length", goodHead("Content-Length: +0"), 400, "Content-Length"},
		{"list of Content-Length", goodHead("Content-Length: 0, 0"), 400, "Content-Length"},
		{"Content-Length of zeros", goodHead("Content-Length: 000"), 0, ""},
		{"both lengths", goodHead("Content-Length: 0", "Transfer-Encoding: chunked"), 413, "body"},
		{"malformed length of another method", goodHead("=POST /ws HTTP/1.1", "Content-Length: x"), 400, "Content-Length"},

		{"HTTP/1.0 without Host", goodHead("=GET /ws HTTP/1.0", "-Host"), 505, "HTTP/1.1"},
		{"HTTP/1.0 with two Hosts", goodHead("=GET /ws HTTP/1.0", "+Host: a"), 400, "Host is repeated"},
		{"HTTP/1.0 with a malformed Host", goodHead("=GET /ws HTTP/1.0", "Host: a b"), 400, "Host"},
		{"OPTIONS of the server", goodHead("=OPTIONS * HTTP/1.1"), 405, "only GET; push at api.listen"},
		{"CONNECT", goodHead("=CONNECT a.example:443 HTTP/1.1"), 405, "GET"},
		{"CONNECT to no host", goodHead("=CONNECT a:b HTTP/1.1"), 400, "target"},
		{"asterisk of another method", goodHead("=POST * HTTP/1.1"), 400, "target"},

		{"TLS", "\x16\x03\x01\x02\x00\x01", 400, "ws:// instead of wss://"},
		{"a byte of TLS and another", "\x16\x02", 400, "not HTTP"},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "this is HTTP/2"},
		{"PROXY v1", "PROXY TCP4 192.0.2.1 192.0.2.2 4711 80\r\n" + goodHead(), 400, "none is expected: use proxy.protocol, or turn"},
		{"PROXY v1 without address", "PROXY UNKNOWN\r\n", 400, "none is expected: use proxy.protocol, or turn"},
		{"PROXY v2", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c", 400, "none is expected: use proxy.protocol, or turn"},
		{"almost PROXY v2", "\r\n\r\n\x00\r\nQUIP", 400, "not HTTP"},
		{"method PROXYX", goodHead("=PROXYX /ws HTTP/1.1"), 405, "GET"},
		{"method PRI", goodHead("=PRI /ws HTTP/1.1"), 405, "GET"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			refusal := checkStatus(t, tt.head, tt.status, tt.says)
			if says := strings.HasPrefix(tt.says, "none is expected") || strings.HasPrefix(tt.says, "this is HTTP/2") || strings.HasPrefix(tt.says, "ws:"); says && refusal.Cause != CauseProtocol {
				t.Errorf("cause %v", refusal.Cause)
			}
		})
	}
	h := newTestHandshaker(t, handshakeOptions{})
	for _, pending := range []string{"", "\x16", "\r", "\r\n", "\r\n\r\n\x00\r\nQUIT", "PROXY", "PRI * HTTP/2.0\r\n"} {
		if req, n, refusal := h.Parse([]byte(pending)); req != nil || n != 0 || refusal != nil {
			t.Errorf("%q: %v, %d, %v before it is clear what it is", pending, req, n, refusal)
		}
	}
}

// TestHead checks that no refusal of a HEAD has content.
func TestHead(t *testing.T) {
	for _, tt := range []struct {
		head   string
		status int
	}{
		{goodHead("=HEAD /ws HTTP/1.1"), 405},
		{"\r\n" + goodHead("=HEAD /other HTTP/1.1"), 405},
		{goodHead("=HEAD /ws HTTP/1.1", "-Host"), 400},
		{goodHead("=HEAD /ws HTTP/1.0", "-Host"), 505},
		{"HEAD /" + strings.Repeat("x", DefaultMaxHead), 414},
		{goodHead("=HEAD /ws HTTP/1.1", "Cookie: "+strings.Repeat("x", DefaultMaxHead)), 431},
	} {
		if refusal := checkStatus(t, tt.head, tt.status, ""); !refusal.NoContent {
			t.Errorf("%.20q: content in the answer to a HEAD", tt.head)
		}
	}
	if refusal := checkStatus(t, goodHead("=HEADS /ws HTTP/1.1"), 405, ""); refusal.NoContent {
		t.Error("no content in the answer to another method")
	}
}

// TestLinesAreOneList checks that two lines of a list field get the same answer as
// their members in one line, for lists of all pieces that the rules distinguish.
func TestLinesAreOneList(t *testing.T) {
	h := newTestHandshaker(t, handshakeOptions{Subprotocols: []string{"a", "b"}})
	rng := rand.New(rand.NewPCG(1, 2))
	pieces := []string{"a", "b", "Upgrade", "websocket", "chunked", ",", ",", " ", "\t", ";", "=", `"a"`, `"`, `\`, "/", "", "é"}
	line := func() string {
		var b strings.Builder
		for range rng.IntN(7) {
			b.WriteString(pieces[rng.IntN(len(pieces))])
		}
		return b.String()
	}
	for _, field := range []string{"Connection", "Upgrade", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Transfer-Encoding"} {
		statuses := map[int]int{}
		for range 3000 {
			one, two := line(), line()
			joined := describeHandshake(h.Parse([]byte(goodHead(field + ": " + one + " , " + two))))
			req, n, refusal := h.Parse([]byte(goodHead(field+": "+one, "+"+field+": "+two)))
			if refusal != nil {
				statuses[refusal.Status]++
			} else {
				statuses[101]++
			}
			// The lengths of the heads differ.
			_, apart, _ := strings.Cut(describeHandshake(req, n, refusal), " ")
			if _, joined, _ = strings.Cut(joined, " "); joined != apart {
				t.Fatalf("%s: %q and %q\nin one line: %s\nin two: %s", field, one, two, joined, apart)
			}
		}
		if len(statuses) < 2 {
			t.Errorf("%s: only %v: the pieces try too little", field, statuses)
		}
	}
}

// TestManySubprotocols checks that each subprotocol of a full head is compared with
// few others, although all must differ: one request must not take milliseconds of
// a shard.
func TestManySubprotocols(t *testing.T) {
	h := newTestHandshaker(t, handshakeOptions{MaxHead: 64 << 10})
	var names []string
	for i := range 15_000 {
		names = append(names, strconv.FormatInt(int64(i*7919%15_000), 36))
	}
	head := []byte(goodHead("Sec-WebSocket-Protocol: " + strings.Join(names, ",")))
	if _, _, refusal := h.Parse(head); refusal != nil {
		t.Fatal(refusal)
	}
	found, steps := 0, 0
	for at, offer := range h.req.seen {
		if offer > 0 {
			home := maphash.Bytes(h.req.seed, h.req.bytes(h.req.offers[offer-1]))
			steps += int((uint64(at) - home) & uint64(len(h.req.seen)-1))
			found++
		}
	}
	if found != len(names) || steps > 2*len(names) {
		t.Errorf("%d of %d subprotocols in the table, %d steps from where their hashes lead; want all, with %d at most", found, len(names), steps, 2*len(names))
	}
}
