package ws

import (
	"errors"
	"strings"
	"testing"
)

func TestOrigins(t *testing.T) {
	tests := []struct {
		patterns string // separated by spaces; "" is the default
		origin   string
		host     string
		want     bool
	}{
		{"", "", "a.example.com", true},
		{"", "https://a.example.com", "a.example.com", true},
		{"", "https://A.Example.COM", "a.example.com", true},
		{"", "https://a.example.com", "A.EXAMPLE.COM", true},
		{"", "https://a.example.com", "a.example.com:443", true},
		{"", "https://a.example.com:443", "a.example.com", true},
		{"", "http://a.example.com", "a.example.com:80", true},
		{"", "http://a.example.com:80", "a.example.com", true},
		{"", "http://a.example.com", "a.example.com:443", false},
		{"", "https://a.example.com", "a.example.com:80", false},
		{"", "http://localhost:8080", "localhost:8080", true},
		{"", "http://localhost:8081", "localhost:8080", false},
		{"", "http://localhost", "localhost:8080", false},
		{"", "http://[::1]:8080", "[::1]:8080", true},
		{"", "http://[::1]", "[::1]", true},
		{"", "http://[::1]", "[::1]:80", true},
		{"", "http://[::1]:8080", "[::2]:8080", false},
		{"", "https://evil.com", "a.example.com", false},
		{"", "https://a.example.com.evil.com", "a.example.com", false},
		{"", "https://xa.example.com", "a.example.com", false},
		{"", "null", "null", false},
		{"", "null", "a.example.com", false},
		{"", "nonsense", "nonsense", false},
		{"", "://a.example.com", "a.example.com", false},
		{"", "https://", "", false},
		{"", "https://a.example.com:x", "a.example.com:x", false},
		{"", "https://a.example.com:99999", "a.example.com:99999", false},
		{"", "https://a.example.com https://evil.com", "a.example.com", false},
		{"", "https://\u212Aelvin.com", "kelvin.com", false}, // no Unicode folding

		{"", "wss://a.example.com", "a.example.com:443", true},
		{"", "ws://a.example.com", "a.example.com:80", true},
		{"", "WS://a.example.com:80", "a.example.com", true},
		{"", "wss://a.example.com", "a.example.com:80", false},
		{"", "ws://a.example.com", "a.example.com:443", false},
		{"", "ws://a.example.com", "a.example.com:8080", false},
		{"", "chrome-extension://a.example.com", "a.example.com", false}, // no page of that host
		{"", "capacitor://localhost:8080", "localhost:8080", false},
		{"", "ftp://a.example.com", "a.example.com", false},
		{"", "file://", "a.example.com", false},
		{"", "file://a.example.com", "a.example.com", false},

		{"file://", "file://", "x", true},
		{"FILE://", "file://", "x", true},
		{"file://", "FILE://", "x", true},
		{"file://", "file:///sdcard/page.html", "x", false},
		{"file://", "null", "x", false},
		{"null", "file://", "x", false},
		{"*", "file://", "x", true},
		{"file://", "https://x", "x", false},
		{"wss://h:443", "wss://h", "x", true},
		{"wss://h", "wss://h:443", "x", true},
		{"ws://h:80", "ws://h", "x", true},
		{"ws://h", "ws://h:443", "x", false},
		{"wss://h", "https://h", "x", false},

		{"*", "https://evil.com", "a.example.com", true},
		{"*", "null", "a.example.com", true},
		{"null", "null", "a.example.com", true},
		{"null", "https://a.example.com", "a.example.com", false},

		{"https://app.example.com", "https://app.example.com", "push.example.com", true},
		{"https://app.example.com", "https://APP.example.com:443", "push.example.com", true},
		{"https://app.example.com:443", "https://app.example.com", "push.example.com", true},
		{"HTTPS://App.Example.com", "https://app.example.com", "push.example.com", true},
		{"https://app.example.com", "http://app.example.com", "push.example.com", false},
		{"https://app.example.com", "https://app.example.com:8443", "push.example.com", false},
		{"https://app.example.com", "https://app.example.com.evil.com", "push.example.com", false},
		{"https://app.example.com", "https://push.example.com", "push.example.com", false}, // a list replaces the default
		{"https://app.example.com", "", "push.example.com", true},
		{"https://app.example.com", "null", "push.example.com", false},
		{"https://a.com http://b.com:81", "http://b.com:81", "x", true},
		{"https://a.com http://b.com:81", "http://b.com", "x", false},

		{"https://*.example.com", "https://app.example.com", "x", true},
		{"https://*.example.com", "https://a.b.Example.com", "x", true},
		{"https://*.example.com", "https://example.com", "x", false},
		{"https://*.example.com", "https://.example.com", "x", false},
		{"https://*.example.com", "https://evilexample.com", "x", false},
		{"https://*.example.com", "https://app.example.com.evil.com", "x", false},
		{"https://*.example.com", "http://app.example.com", "x", false},
		{"https://*.example.com:*", "https://app.example.com:8443", "x", true},
		{"http://localhost:*", "http://localhost:3000", "x", true},
		{"http://localhost:*", "http://localhost", "x", true},
		{"http://localhost:*", "http://localhost:x", "x", false},
		{"http://[::1]:3000", "http://[::1]:3000", "x", true},
		{"chrome-extension://abcdef", "chrome-extension://abcdef", "x", true},
		{"capacitor://localhost", "capacitor://localhost", "x", true},
	}
	for _, tt := range tests {
		o, err := CompileOrigins(strings.Fields(tt.patterns))
		if err != nil {
			t.Fatal(err)
		}
		if got := o.Allow([]byte(tt.origin), []byte(tt.host)); got != tt.want {
			t.Errorf("patterns %q: origin %q to host %q: %v, want %v", tt.patterns, tt.origin, tt.host, got, tt.want)
		}
	}
}

func TestOriginPatternErrors(t *testing.T) {
	for _, pattern := range []string{
		"", "example.com", "https://", "https:///x", "https://example.com/", "https://example.com/path", "https://a b",
		"https://*", "https://*.", "https://*example.com", "https://a.*.com", "https://*.*.com", "https://example.com:0",
		"https://example.com:70000", "https://example.com:x", "https://user@example.com", "https://bücher.example", "https://a,b",
		"https://example.com?x", "*.example.com", "*://example.com", "1a://example.com",
	} {
		_, err := CompileOrigins([]string{"https://fine.example.com", pattern})
		var field *OptionError
		if !errors.As(err, &field) || field.Option != "patterns" || !strings.Contains(field.Detail, "pattern") {
			t.Errorf("pattern %q: %v", pattern, err)
		}
	}
	if o, err := CompileOrigins(nil); o != nil || err != nil {
		t.Errorf("no patterns: %v, %v", o, err)
	}
}

// TestOrSameName adds the host of the request on any port to a list.
func TestOrSameName(t *testing.T) {
	listed, err := CompileOrigins([]string{"http://localhost:*"})
	if err != nil {
		t.Fatal(err)
	}
	var none *Origins
	for _, tt := range []struct {
		origins      *Origins
		origin, host string
		want         bool
	}{
		{listed.OrSameName(), "http://localhost:3000", "192.168.1.5:8080", true},
		{listed.OrSameName(), "http://192.168.1.5:8080", "192.168.1.5:8080", true},
		{listed.OrSameName(), "https://192.168.1.5:3000", "192.168.1.5:8080", true},
		{listed.OrSameName(), "http://[fe80::1]", "[FE80::1]:8080", true},
		{listed.OrSameName(), "http://192.168.1.6:8080", "192.168.1.5:8080", false},
		{listed.OrSameName(), "x://192.168.1.5:8080", "192.168.1.5:8080", false},
		{listed.OrSameName(), "null", "null", false},
		{none.OrSameName(), "http://a:1", "a:2", true},
		{none.OrSameName(), "http://b", "a", false},
		{listed, "http://192.168.1.5:8080", "192.168.1.5:8080", false}, // not changed by what was made of it
	} {
		if got := tt.origins.Allow([]byte(tt.origin), []byte(tt.host)); got != tt.want {
			t.Errorf("%+v: origin %q to host %q: %v, want %v", tt.origins, tt.origin, tt.host, got, tt.want)
		}
	}
}

// TestOriginRefusals checks that the text names what was compared and the fix, and
// quotes what a client wrote.
func TestOriginRefusals(t *testing.T) {
	listed, err := CompileOrigins([]string{"https://app.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	long := "https://" + strings.Repeat("a", 5000)
	for _, tt := range []struct {
		origins            *Origins
		origin, host, want string
	}{
		{nil, "https://a.example", "b:9510", "Origin https://a.example, Host b:9510: list the origin in upgrade.origins, or let the proxy pass Host on (nginx: proxy_set_header Host $http_host)"},
		{listed.OrSameName(), "http://[::1]:80", "b", "Origin http://[::1]:80, Host b: list the origin in upgrade.origins, or let the proxy pass Host on (nginx: proxy_set_header Host $http_host)"},
		{listed, "https://a.example", "b", "Origin https://a.example: list the origin in upgrade.origins too"},
		{nil, "null", "b", "Origin null: list the origin in upgrade.origins too"},
		{nil, "file://", "b", "Origin file://: list the origin in upgrade.origins too"},
		{nil, "nonsense", "b", "Origin nonsense: not an origin (scheme://host, scheme://host:port, null)"},
		{nil, "https://a/path", "b", "Origin https://a/path: not an origin (scheme://host, scheme://host:port, null)"},
		{nil, "https://a https://b", "b", `Origin "https://a https://b": not an origin (scheme://host, scheme://host:port, null)`},
		{nil, "http://\xe4\u202e\"<b>", "b", `Origin "http://\xe4\u202e\"<b>": not an origin (scheme://host, scheme://host:port, null)`},
		{nil, "https://a&b", "b;c", `Origin "https://a&b", Host "b;c": list the origin in upgrade.origins, or let the proxy pass Host on (nginx: proxy_set_header Host $http_host)`},
		{nil, long, "b", "Origin " + long[:maxShown] + "..., Host b: list the origin in upgrade.origins, or let the proxy pass Host on (nginx: proxy_set_header Host $http_host)"},
	} {
		if tt.origins.Allow([]byte(tt.origin), []byte(tt.host)) {
			t.Errorf("%q to %q is allowed", tt.origin, tt.host)
		}
		r := tt.origins.refuse([]byte(tt.origin), []byte(tt.host), "upgrade.origins")
		if r.Status != 403 || r.Cause != CauseOrigin || r.Detail != tt.want {
			t.Errorf("%d %v %s\nwant %s", r.Status, r.Cause, r.Detail, tt.want)
		}
	}
}

func TestOriginAllowAllocations(t *testing.T) {
	o, err := CompileOrigins([]string{"https://other.example.com", "https://*.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	origin, host := []byte("https://app.example.com"), []byte("app.example.com:443")
	if allocs := testing.AllocsPerRun(100, func() {
		if !o.Allow(origin, host) || !(*Origins)(nil).Allow(origin, host) {
			t.Fatal("refused")
		}
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
