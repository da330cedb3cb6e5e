package ws

import "testing"

// Field Host and origins: with and without a port, names and addresses.
func TestSplitHost(t *testing.T) {
	for in, want := range map[string][2]string{
		"": {"", ""}, "a": {"a", ""}, "a:1": {"a", "1"}, "a:": {"a", ""}, ":80": {"", "80"},
		"127.0.0.1:": {"127.0.0.1", ""}, "127.0.0.1:80": {"127.0.0.1", "80"},
		"[::1]": {"::1", ""}, "[::1]:8081": {"::1", "8081"}, "[::1]:": {"::1", ""},
		"::1": {"::1", ""}, "2001:db8::1": {"2001:db8::1", ""}, "a:b:1": {"a:b:1", ""},
		"[": {"[", ""}, "[]": {"", ""}, "]:1": {"]", "1"}, "[::1": {"[:", "1"}, "::1]": {"::1]", ""},
	} {
		if host, port := SplitHost(in); host != want[0] || port != want[1] {
			t.Errorf("%q: %q %q; want %q", in, host, port, want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { SplitHost("[::1]:8081") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
