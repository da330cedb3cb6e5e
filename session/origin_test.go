package session

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
		var field *FieldError
		if !errors.As(err, &field) || field.Field != "origins" || !strings.Contains(field.Problem, "pattern") {
			t.Errorf("pattern %q: %v", pattern, err)
		}
	}
	if o, err := CompileOrigins(nil); o != nil || err != nil {
		t.Errorf("no patterns: %v, %v", o, err)
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
