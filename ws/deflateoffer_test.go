package ws

import (
	"fmt"
	"strings"
	"testing"
)

func TestAcceptDeflate(t *testing.T) {
	const plain, window = deflateAnswer, deflateWindowAnswer
	for _, tc := range []struct{ line, want string }{
		{"", ""},
		{" , ,", ""},
		{"permessage-deflate", plain},
		{"permessage-deflate; client_max_window_bits", plain}, // Chromium
		{"permessage-deflate;client_no_context_takeover;client_max_window_bits", plain},
		{"permessage-deflate ; server_no_context_takeover ; client_max_window_bits = 10", plain},
		{`permessage-deflate; client_max_window_bits="8"`, plain},
		{"permessage-deflate; server_max_window_bits=15", window},
		{`permessage-deflate; server_max_window_bits="15"`, window},
		{`permessage-deflate; server_max_window_bits="1\5"`, window},
		{"permessage-deflate; server_max_window_bits=15; client_max_window_bits=15; server_no_context_takeover; client_no_context_takeover", window},

		{"x-webkit-deflate-frame", ""}, // Safari up to 14
		{"permessage-bzip2", ""},
		{"Permessage-Deflate", ""},
		{"permessage-deflate-2", ""},
		{"permessage-deflate; unknown", ""},
		{"permessage-deflate; Server_No_Context_Takeover", ""},
		{"permessage-deflate; server_no_context_takeover=1", ""},
		{"permessage-deflate; client_no_context_takeover=true", ""},
		{"permessage-deflate; server_no_context_takeover; server_no_context_takeover", ""},
		{"permessage-deflate; client_max_window_bits; client_max_window_bits=10", ""},
		{"permessage-deflate; server_max_window_bits", ""},
		{"permessage-deflate; server_max_window_bits=14", ""}, // right, but not ours
		{"permessage-deflate; server_max_window_bits=8", ""},
		{"permessage-deflate; server_max_window_bits=16", ""},
		{"permessage-deflate; server_max_window_bits=015", ""},
		{"permessage-deflate; server_max_window_bits=+15", ""},
		{"permessage-deflate; server_max_window_bits=15x", ""},
		{"permessage-deflate; server_max_window_bits=18446744073709551631", ""}, // 15 in 64 bits
		{`permessage-deflate; server_max_window_bits="15x"`, ""},
		{"permessage-deflate; client_max_window_bits=7", ""},
		{"permessage-deflate; client_max_window_bits=16", ""},
		{"permessage-deflate; client_max_window_bits=08", ""},
		{"permessage-deflate; client_max_window_bits=a", ""},

		{"foo, bar; baz=1, permessage-deflate", plain},
		{"permessage-deflate; server_max_window_bits=9, permessage-deflate; unknown, permessage-deflate; client_no_context_takeover", plain},
		{"permessage-deflate; server_max_window_bits=10, permessage-deflate; server_max_window_bits=15", window},
		{"permessage-deflate, permessage-deflate; server_max_window_bits=15", plain},
		{`foo; a=",permessage-deflate"`, ""},
		{`foo; a="b\c", permessage-deflate`, plain},
	} {
		if got := acceptDeflate([]byte(tc.line)); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.line, got, tc.want)
		}
	}
}

// FuzzAcceptDeflate: any line is read without a panic, and what is accepted is
// what a plain reading of RFC 7692 accepts.
func FuzzAcceptDeflate(f *testing.F) {
	f.Add("permessage-deflate; client_max_window_bits, permessage-deflate; server_max_window_bits=15")
	f.Add(`foo; a="b\,", permessage-deflate; server_max_window_bits="1\5"`)
	f.Add("permessage-deflate;;")
	f.Fuzz(func(t *testing.T, line string) {
		found, ok := readExtensions([]byte(line))
		got := acceptDeflate([]byte(line))
		if ok && strings.ContainsRune(line, '"') {
			return // the plain reading knows no quotes
		}
		want := ""
		for _, offer := range strings.Split(line, ",") {
			if want == "" {
				want = readOffer(offer)
			}
		}
		if ok && got != want || !found && got != "" {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	})
}

// readOffer is an offer's answer, read slowly. The line is well formed and has
// no quotes.
func readOffer(offer string) string {
	parts := strings.Split(offer, ";")
	if strings.Trim(parts[0], " \t") != "permessage-deflate" {
		return ""
	}
	answer := deflateAnswer
	given := map[string]bool{}
	for _, part := range parts[1:] {
		name, value, valued := strings.Cut(part, "=")
		name, value = strings.Trim(name, " \t"), strings.Trim(value, " \t")
		if given[name] {
			return ""
		}
		given[name] = true
		switch name {
		case "server_no_context_takeover", "client_no_context_takeover":
			if valued {
				return ""
			}
		case "client_max_window_bits":
			if valued && !strings.Contains(" 8 9 10 11 12 13 14 15 ", " "+value+" ") {
				return ""
			}
		case "server_max_window_bits":
			if value != "15" {
				return ""
			}
			answer = deflateWindowAnswer
		default:
			return ""
		}
	}
	return answer
}

// TestHandshakeDeflate negotiates over whole requests.
func TestHandshakeDeflate(t *testing.T) {
	const deflate = "Sec-WebSocket-Extensions: permessage-deflate"
	const safari = "User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/%s Safari/605.1.15"
	const iPhone = "User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS %s like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148"
	on := handshakeOptions{Deflate: true}
	for _, tc := range []struct {
		name  string
		o     handshakeOptions
		edits []string
		want  string
	}{
		{"not offered", on, nil, ""},
		{"not wanted", handshakeOptions{}, []string{deflate}, ""},
		{"offered", on, []string{deflate}, deflateAnswer},
		{"declined", on, []string{deflate + "; unknown"}, ""},
		{"two fields", on, []string{deflate + "; server_max_window_bits=9", "+" + deflate + "; server_max_window_bits=15"}, deflateWindowAnswer},
		{"two fields, both good", on, []string{deflate, "+" + deflate + "; server_max_window_bits=15"}, deflateAnswer},
		{"Safari 15.1", on, []string{deflate, fmt.Sprintf(safari, "15.1")}, ""},
		{"Safari 15.4", on, []string{deflate, fmt.Sprintf(safari, "15.4")}, deflateAnswer},
		{"Safari 16.0", on, []string{deflate, fmt.Sprintf(safari, "16.0")}, deflateAnswer},
		{"iOS 15.2", on, []string{deflate, fmt.Sprintf(iPhone, "15_2")}, ""},
		{"iOS 17.1", on, []string{deflate, fmt.Sprintf(iPhone, "17_1")}, deflateAnswer},
	} {
		h := newTestHandshaker(t, tc.o)
		parseGood(t, h, deflate) // the next request does not inherit it
		req := parseGood(t, h, tc.edits...)
		for _, r := range []*Request{req, req.Clone()} {
			want := "\r\n\r\n"
			if tc.want != "" {
				want = "\r\nSec-WebSocket-Extensions: " + tc.want + want
			}
			_, got, _ := strings.Cut(string(r.AppendAccept(nil)), "=")
			if got != want || r.Deflate() != (tc.want != "") {
				t.Errorf("%s: negotiated %v, answer %q, want %q", tc.name, r.Deflate(), got, want)
			}
		}
	}
}

// TestHandshakeDeflateAllocations: negotiating costs no allocation.
func TestHandshakeDeflateAllocations(t *testing.T) {
	h := newTestHandshaker(t, handshakeOptions{Deflate: true})
	head := []byte(goodHead("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits", "User-Agent: Mozilla/5.0"))
	dst := make([]byte, 0, 512)
	if allocs := testing.AllocsPerRun(100, func() {
		req, _, refusal := h.Parse(head)
		if refusal != nil || !req.Deflate() {
			t.Fatal(refusal)
		}
		req.AppendAccept(dst)
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
