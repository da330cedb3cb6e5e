package auth

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"belfry/session"
)

// A redirect is followed on the same host and with the same scheme only: https must not
// become http, where anybody on the way could replace the keys.
func TestRedirects(t *testing.T) {
	for name, tc := range map[string]struct {
		to   string
		says string // "": followed
	}{
		"another path":       {"https://id.example/other", ""},
		"a relative one":     {"/other", ""},
		"without TLS":        {"http://id.example/other", "redirects to another host"},
		"another host":       {"https://evil.example/other", "redirects to another host"},
		"another port":       {"https://id.example:8443/other", "redirects to another host"},
		"another scheme":     {"file:///etc/passwd", "redirects to another host"},
		"a name that begins": {"https://id.example.evil.example/other", "redirects to another host"},
	} {
		var asked []string
		f, err := newFetcher("https://id.example/keys", roundTrip(func(r *http.Request) (*http.Response, error) {
			asked = append(asked, r.URL.String())
			if len(asked) == 1 {
				return &http.Response{StatusCode: 302, Header: http.Header{"Location": {tc.to}}, Body: http.NoBody, Request: r}, nil
			}
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("keys")), Request: r}, nil
		}))
		if err != nil {
			t.Fatal(err)
		}
		got, err := f.fetch(context.Background())
		switch followed := len(asked) == 2; {
		case tc.says == "" && (err != nil || !followed || string(got) != "keys"):
			t.Errorf("%s: %q, %v; asked %q", name, got, err, asked)
		case tc.says != "" && (err == nil || followed || !strings.Contains(err.Error(), tc.says)):
			t.Errorf("%s: %v; asked %q", name, err, asked)
		}
	}
}

// Only 200 has keys, whatever the body of another answer is; readings that fail are
// counted.
func TestStatusOfKeys(t *testing.T) {
	p, c := newProvider(t, status(204)), newClock()
	a := start(t, Options{Now: c.Now, JWT: JWT{JWKS: p.URL}})
	token := signed(t, "EdDSA", "EdDSA", good())
	keys := serves("EdDSA")
	for i, code := range []int{204, 203, 404, 403, 500} {
		p.answer.Store(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(code)
			keys(w, r)
		}))
		c.add(11 * time.Second)
		login(a, token).expect(t, http.StatusText(code), 503, session.CauseAuthKeys, "cannot be read")
		if st := a.Stats(); st.FailedReadings != uint64(i)+1 && st.FailedReadings != uint64(i)+2 || st.FailedReadings != st.Readings || st.Keys != 0 {
			t.Errorf("%d: %+v", code, st)
		}
	}
}

// What belfry token inspect says is what a server would decide.
func TestInspect(t *testing.T) {
	p := newProvider(t, serves("EdDSA"))
	o := Options{MaxToken: 1024, JWT: JWT{JWKS: p.URL}}
	inspect := func(o Options, token string) outcome {
		t.Helper()
		g, refusal, err := Inspect(t.Context(), o, token)
		if err != nil {
			t.Fatal(err)
		}
		return outcome{g, refusal}
	}
	if got := inspect(o, signed(t, "EdDSA", "EdDSA", good())); got.refusal != nil || got.grant.UID != "ann" {
		t.Errorf("%+v", got)
	}
	inspect(o, signed(t, "EdDSA", "EdDSA", with(map[string]any{"exp": 1}))).expect(t, "expired", 401, session.CauseTokenExpired, "")
	inspect(o, signed(t, "EdDSA", "EdDSA", with(map[string]any{"x": strings.Repeat("x", 1024)}))).expect(t, "too long", 401, session.CauseTokenSize, "at most 1024")
	inspect(o, signed(t, "ES256", "ES256", good())).expect(t, "unknown key", 401, session.CauseTokenKey, "unknown key")
	p.answer.Store(status(500))
	if _, _, err := Inspect(t.Context(), o, "x"); err == nil || !strings.Contains(err.Error(), "status 500") {
		t.Errorf("without keys: %v", err)
	}
	if _, _, err := Inspect(t.Context(), Options{}, "x"); err == nil {
		t.Error("without a setting")
	}
}
