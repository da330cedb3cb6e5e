package push

import (
	"net/http"
	"strings"
	"testing"
)

func TestKeys(t *testing.T) {
	_, ts, rec := start(t, Options{Keys: []Key{{"", "first-key"}, {"second", "second-key"}}})
	tests := []struct {
		header string
		ok     bool
		error  bool // the challenge has invalid_token
	}{
		{"Authorization: Bearer first-key", true, false},
		{"Authorization: bearer second-key", true, false},
		{"Authorization: Bearer   second-key", true, false},
		{"", false, false},
		{"Authorization: Bearer", false, false},
		{"Authorization: Bearer ", false, false},
		{"Authorization: Basic Zmlyc3Qta2V5", false, false},
		{"Authorization: first-key", false, false},
		{"Authorization: Bearer first-ke", false, true},
		{"Authorization: Bearer first-keyy", false, true},
		{"Authorization: Bearer first-key second-key", false, true},
	}
	for _, tt := range tests {
		for _, path := range []string{"/v1/all", "/v1/batch", "/v1/nothing", "/%761/all"} {
			before := len(rec.all())
			a := post(t, ts, path, "x", tt.header)
			if (a.StatusCode != 401) != tt.ok {
				t.Errorf("%q to %s: %d", tt.header, path, a.StatusCode)
			}
			if tt.ok {
				continue
			}
			a.problem(t)
			www := a.Header.Get("WWW-Authenticate")
			if !strings.HasPrefix(www, "Bearer") || strings.Contains(www, "invalid_token") != tt.error {
				t.Errorf("%q: WWW-Authenticate %q", tt.header, www)
			}
			if strings.Contains(a.body, "first-key") || len(rec.all()) != before {
				t.Errorf("%q: %s", tt.header, a.body)
			}
		}
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if a := request(t, ts, "GET", path, nil); a.StatusCode != 200 {
			t.Errorf("%s requires a key: %d", path, a.StatusCode)
		}
	}
	// With a key every Host and origin is allowed: a page that has the key may push.
	if a := post(t, ts, "/v1/all", "x", "Authorization: Bearer first-key", "Host: push.example.org", "Origin: https://backoffice.example.org"); a.StatusCode != 202 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

func TestKeysThatCannotArrive(t *testing.T) {
	for _, key := range []string{"", "a b", "a\n", "schlüssel", "\x7f"} {
		_, err := New(Options{Publisher: &recorder{}, Keys: []Key{{"", "fine"}, {"", key}}})
		if err == nil || !strings.Contains(err.Error(), "key 2") || key != "" && strings.Contains(err.Error(), key) {
			t.Errorf("%q: %v", key, err)
		}
	}
}

// Two headers are refused, whichever has a key: a proxy may have looked at the other.
func TestTwoKeys(t *testing.T) {
	ring, err := newKeyring([]Key{{"", "first-key"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, lines := range [][]string{{"Bearer first-key", "Bearer x"}, {"Bearer x", "Bearer first-key"}, {"Bearer first-key", "Bearer first-key"}} {
		if _, err := ring.check(&http.Request{Header: http.Header{"Authorization": lines}}); err != errNoKey {
			t.Errorf("%q: %v", lines, err)
		}
	}
}
