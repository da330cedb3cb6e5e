package ws

import (
	"net/netip"
	"strings"
	"testing"
)

func parsed(t *testing.T, fields string) *Request {
	t.Helper()
	h := newTestHandshaker(t, handshakeOptions{})
	head := strings.TrimSuffix(goodHead(), "\r\n") + fields + "\r\n"
	r, _, refusal := h.Parse([]byte(head))
	if refusal != nil {
		t.Fatal(refusal)
	}
	return r
}

// isPrivate is what the tests take for proxies that are trusted.
func isPrivate(a netip.Addr) bool { return a.IsPrivate() }

func TestForwardedClient(t *testing.T) {
	peer := netip.MustParseAddrPort("10.0.0.1:4000")
	for name, tc := range map[string]struct {
		kind   ForwardHeader
		fields string
		want   string // "": unreadable
	}{
		"none":             {XForwardedFor, "", "10.0.0.1:4000"},
		"one":              {XForwardedFor, "X-Forwarded-For: 192.0.2.7\r\n", "192.0.2.7:0"},
		"with a port":      {XForwardedFor, "X-Forwarded-For: 192.0.2.7:81\r\n", "192.0.2.7:81"},
		"IPv6":             {XForwardedFor, "X-Forwarded-For: 2001:db8::7\r\n", "[2001:db8::7]:0"},
		"IPv6, a port":     {XForwardedFor, "x-forwarded-for: [2001:db8::7]:81\r\n", "[2001:db8::7]:81"},
		"mapped":           {XForwardedFor, "X-Forwarded-For: ::ffff:192.0.2.7\r\n", "192.0.2.7:0"},
		"zone":             {XForwardedFor, "X-Forwarded-For: 2001:db8::7%eth0\r\n", "[2001:db8::7]:0"},
		"past trusted":     {XForwardedFor, "X-Forwarded-For: 203.0.113.5, 192.0.2.7, 10.1.1.1\r\n", "192.0.2.7:0"},
		"lines in order":   {XForwardedFor, "X-Forwarded-For: 203.0.113.5\r\nX-Forwarded-For: 192.0.2.7,10.1.1.1\r\n", "192.0.2.7:0"},
		"invented":         {XForwardedFor, "X-Forwarded-For: 10.9.9.9, garbage, 192.0.2.7\r\n", "192.0.2.7:0"},
		"all trusted":      {XForwardedFor, "X-Forwarded-For: 10.2.2.2, 10.1.1.1\r\n", "10.2.2.2:0"},
		"empty elements":   {XForwardedFor, "X-Forwarded-For: 192.0.2.7, ,\r\n", "192.0.2.7:0"},
		"unknown":          {XForwardedFor, "X-Forwarded-For: unknown, 10.1.1.1\r\n", "10.1.1.1:0"},
		"garbage":          {XForwardedFor, "X-Forwarded-For: garbage\r\n", ""},
		"garbage behind":   {XForwardedFor, "X-Forwarded-For: garbage, 10.1.1.1\r\n", ""},
		"the other header": {XForwardedFor, "Forwarded: for=192.0.2.7\r\n", "10.0.0.1:4000"},

		"Forwarded":            {Forwarded, "Forwarded: for=192.0.2.7\r\n", "192.0.2.7:0"},
		"case and more":        {Forwarded, "forwarded: by=10.0.0.1;For=192.0.2.7; proto=https\r\n", "192.0.2.7:0"},
		"quoted IPv6 and port": {Forwarded, "Forwarded: for=\"[2001:db8::7]:4711\";proto=https\r\n", "[2001:db8::7]:4711"},
		"hidden port":          {Forwarded, "Forwarded: for=\"192.0.2.7:_secret\"\r\n", "192.0.2.7:0"},
		"escaped":              {Forwarded, "Forwarded: for=\"192.0.2\\.7\"\r\n", "192.0.2.7:0"},
		"commas in quotes":     {Forwarded, "Forwarded: for=192.0.2.7;host=\"a,for=203.0.113.5\", for=10.1.1.1;by=\"x\\\",y\"\r\n", "192.0.2.7:0"},
		"quotes of an enemy":   {Forwarded, "Forwarded: for=\"203.0.113.5, for=192.0.2.7\r\n", "192.0.2.7:0"},
		"backslash of his":     {Forwarded, "Forwarded: for=\"\\, for=192.0.2.7, for=10.1.1.1\r\n", "192.0.2.7:0"},
		"quotes of his, again": {Forwarded, "Forwarded: \", for=192.0.2.7;host=\"h:443\", for=10.1.1.1\r\n", "192.0.2.7:0"},
		"hides":                {Forwarded, "Forwarded: for=_hidden, for=10.1.1.1\r\n", "10.1.1.1:0"},
		"says unknown":         {Forwarded, "Forwarded: for=Unknown\r\n", "10.0.0.1:4000"},
		"no for":               {Forwarded, "Forwarded: proto=https\r\n", "10.0.0.1:4000"},
		"bare IPv6":            {Forwarded, "Forwarded: for=2001:db8::7\r\n", ""},
		"IPv6 without []":      {Forwarded, "Forwarded: for=\"2001:db8::7\"\r\n", ""},
		"IPv4 in []":           {Forwarded, "Forwarded: for=\"[192.0.2.7]\"\r\n", ""},
		"for twice":            {Forwarded, "Forwarded: for=192.0.2.7;for=192.0.2.8\r\n", ""},
		"no value":             {Forwarded, "Forwarded: for\r\n", ""},
		"empty value":          {Forwarded, "Forwarded: for=\r\n", ""},
		"behind the quotes":    {Forwarded, "Forwarded: for=\"192.0.2.7\"x\r\n", ""},
		"open quotes":          {Forwarded, "Forwarded: for=\"192.0.2.7\r\n", ""},
		"the other one":        {Forwarded, "X-Forwarded-For: 192.0.2.7\r\n", "10.0.0.1:4000"},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := ForwardedClient(parsed(t, tc.fields), tc.kind, isPrivate, peer)
			if ok != (tc.want != "") {
				t.Fatalf("%v, readable: %v", got, ok)
			}
			if ok && got.String() != tc.want {
				t.Errorf("%v, want %s", got, tc.want)
			}
			if !ok && got != peer {
				t.Errorf("unreadable, and %v instead of the peer", got)
			}
		})
	}
}

// The address that the proxy appends is found, whatever a client has written to
// the left of it.
func FuzzForwardedClient(f *testing.F) {
	for _, s := range []string{`for="`, `for=1.2.3.4, "`, `\"`, `a="\\", for=`, `,,"x,`, `for="[::1]`, ""} {
		f.Add(s, true)
		f.Add(s, false)
	}
	h := newTestHandshaker(f, handshakeOptions{})
	peer := netip.MustParseAddrPort("10.0.0.1:4000")
	f.Fuzz(func(t *testing.T, theirs string, forwarded bool) {
		kind, ours := XForwardedFor, "192.0.2.7, 10.1.1.1"
		if forwarded {
			kind, ours = Forwarded, `for="192.0.2.7:80";host="a,b", for=10.1.1.1`
		}
		head := strings.TrimSuffix(goodHead(), "\r\n")
		if strings.Contains(theirs, "\n") {
			t.Skip("more than one line")
		}
		r, _, refusal := h.Parse([]byte(head + kind.String() + ": " + theirs + ", " + ours + "\r\n\r\n"))
		if refusal != nil {
			t.Skip("not a request")
		}
		if got, ok := ForwardedClient(r, kind, isPrivate, peer); !ok || got.Addr().String() != "192.0.2.7" {
			t.Fatalf("%q: %v, %v", theirs, got, ok)
		}
	})
}
