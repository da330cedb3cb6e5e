package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"belfry/session"
	"belfry/ws"
)

// provider is the JWKS server of an identity provider.
type provider struct {
	*httptest.Server
	requests atomic.Int64
	answer   atomic.Value // http.HandlerFunc
}

func newProvider(t *testing.T, answer http.HandlerFunc) *provider {
	t.Helper()
	p := &provider{}
	p.answer.Store(answer)
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.requests.Add(1)
		p.answer.Load().(http.HandlerFunc)(w, r)
	}))
	t.Cleanup(p.Server.Close)
	return p
}

// serves answers with a JWK set of the public keys of algorithms, each with its name
// as the key id.
func serves(algorithms ...string) http.HandlerFunc {
	var set []map[string]any
	for _, name := range algorithms {
		set = append(set, jwk(name, private()[name].Public()))
	}
	data := jwks(set...)
	return func(w http.ResponseWriter, _ *http.Request) { w.Write(data) }
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// clock is a time that only the test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Now()} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// A provider that rotates: the first token of the new key has the set read, and old
// tokens are refused when their key is gone.
func TestRotation(t *testing.T) {
	p, c := newProvider(t, serves("RS256")), newClock()
	a := start(t, Options{Now: c.Now, JWT: JWT{JWKS: p.URL, Interval: 10 * time.Second, Refresh: time.Hour, CacheBytes: 1 << 20}})
	old, young := signed(t, "RS256", "RS256", good()), signed(t, "ES256", "ES256", good())
	login(a, old).expect(t, "before", 0, "", "") // waits for the first reading
	if n := p.requests.Load(); n != 1 || len(a.Degraded()) > 0 {
		t.Fatalf("%d requests, degraded %q", n, a.Degraded())
	}
	p.answer.Store(serves("ES256"))
	login(a, young).expect(t, "at once after a reading", 401, session.CauseTokenKey, "unknown key")
	c.add(11 * time.Second)
	login(a, young).expect(t, "after rotation", 0, "", "")
	login(a, old).expect(t, "of the old key", 401, session.CauseTokenKey, "unknown key")
	if n := p.requests.Load(); n != 2 {
		t.Errorf("%d requests", n)
	}
	// A flood of unknown key ids costs one request for each interval.
	for range 3 {
		c.add(11 * time.Second)
		for range 50 {
			login(a, signed(t, "HS256", "nobody's", good())).expect(t, "unknown", 401, session.CauseTokenKey, "unknown key")
		}
	}
	if n := p.requests.Load(); n != 5 {
		t.Errorf("%d requests after a flood", n)
	}
	if st := a.Stats(); st.Readings != 5 || st.FailedReadings != 0 || st.Keys != 1 || st.Parked != 0 {
		t.Errorf("%+v", st)
	}
}

// A key without an id could have signed every token. That it has not signed one must
// not hide that the provider has a new key.
func TestRotationBesideAFile(t *testing.T) {
	p, c := newProvider(t, serves("EdDSA")), newClock()
	a := start(t, Options{Now: c.Now, JWT: JWT{JWKS: p.URL, PublicKeyFiles: []string{publicFile(t, "ES256")}, Interval: 10 * time.Second}})
	login(a, signed(t, "ES256", "", good())).expect(t, "by the key of the file", 0, "", "")
	second, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	token, err := Sign(second, "ES256", "second", good())
	if err != nil {
		t.Fatal(err)
	}
	login(a, token).expect(t, "before it is published", 401, session.CauseTokenKey, "unknown key")
	p.answer.Store(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(jwks(jwk("second", second.Public()))) }))
	c.add(11 * time.Second)
	login(a, token).expect(t, "after it was published", 0, "", "")
}

// A reading that ends while a token is verified with the set before it does not refuse
// the token.
func TestKeysChangeMeanwhile(t *testing.T) {
	p := newProvider(t, serves("EdDSA"))
	a, err := New(Options{JWT: JWT{JWKS: p.URL}})
	if err != nil {
		t.Fatal(err)
	}
	seen := a.inForce.Load().keys.set.Load()
	a.inForce.Load().keys.readAll(t.Context())
	retry := func() { t.Error("the token waits for another reading") }
	if why := a.inForce.Load().keys.await(seen, retry); why != errKeysChanged {
		t.Errorf("with the set before: %v", why)
	}
	if why := a.inForce.Load().keys.await(a.inForce.Load().keys.set.Load(), retry); why != errUnknownKey {
		t.Errorf("with the set in force: %v", why)
	}
}

// A provider that is down at the start: 503, until it is back.
func TestDownAtTheStart(t *testing.T) {
	p, c := newProvider(t, status(500)), newClock()
	a := start(t, Options{Now: c.Now, JWT: JWT{JWKS: p.URL + "/keys?secret=hush", Interval: 10 * time.Second}})
	token := signed(t, "EdDSA", "EdDSA", good())
	login(a, token).expect(t, "down", 503, session.CauseAuthKeys, "cannot be read")
	if got := login(a, token).refusal; got.RetryAfter <= 0 {
		t.Errorf("no Retry-After: %+v", got)
	}
	if d := a.Degraded(); len(d) != 1 || !strings.Contains(d[0], "auth.jwt.jwks: no keys yet: the answer has status 500") || strings.Contains(d[0], "hush") {
		t.Errorf("degraded %q", d)
	}
	p.answer.Store(serves("EdDSA"))
	c.add(11 * time.Second)
	login(a, token).expect(t, "up", 0, "", "")
	if d := a.Degraded(); len(d) > 0 {
		t.Errorf("degraded %q", d)
	}
}

// The last good set stays in force, whatever the provider answers then.
func TestLastGoodSetStays(t *testing.T) {
	p, c := newProvider(t, serves("EdDSA")), newClock()
	a := start(t, Options{Now: c.Now, JWT: JWT{JWKS: p.URL, Interval: 10 * time.Second}})
	token := signed(t, "EdDSA", "EdDSA", good())
	login(a, token).expect(t, "up", 0, "", "")
	elsewhere := newProvider(t, serves("RS256"))
	for name, bad := range map[string]struct {
		answer http.HandlerFunc
		says   string
	}{
		"500":     {status(500), "status 500"},
		"no JSON": {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>secret") }, "not a JWK set: no valid JSON at byte 1"},
		"no keys": {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"keys":[]}`) }, "no keys in it"},
		"symmetric": {func(w http.ResponseWriter, _ *http.Request) {
			w.Write(jwks(map[string]any{"kty": "oct", "k": b64(secret)}))
		}, "symmetric key"},
		"other hosts": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) }, "another host"},
		"a circle":    {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) }, "too often"},
		"100 MB": {func(w http.ResponseWriter, _ *http.Request) {
			piece := []byte(strings.Repeat(" ", 1<<20))
			for range 100 {
				if _, err := w.Write(piece); err != nil {
					return
				}
			}
		}, "longer than 1048576 bytes"},
		"many keys": {func(w http.ResponseWriter, _ *http.Request) {
			var set []map[string]any
			for range maxKeys + 1 {
				set = append(set, jwk("x", private()["EdDSA"].Public()))
			}
			w.Write(jwks(set...))
		}, "129 keys; allowed are 1 to 128"},
		"connection cut": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
	} {
		p.answer.Store(bad.answer)
		c.add(11 * time.Second)
		before := p.requests.Load()
		login(a, signed(t, "ES256", "ES256", good())).expect(t, name+": new key", 503, session.CauseAuthKeys, "cannot be read")
		login(a, token).expect(t, name+": old key", 0, "", "")
		if n := p.requests.Load() - before; n > maxRedirects+1 {
			t.Errorf("%s: %d requests for one reading", name, n)
		}
		if d := a.Degraded(); len(d) != 1 || !strings.Contains(d[0], bad.says) || !strings.Contains(d[0], "stay in force") || strings.Contains(d[0], p.URL) {
			t.Errorf("%s: degraded %q, want %q", name, d, bad.says)
		}
	}
	if n := elsewhere.requests.Load(); n > 0 {
		t.Error("a redirect to another host was followed")
	}
	p.answer.Store(serves("EdDSA"))
	c.add(11 * time.Second)
	login(a, signed(t, "ES256", "ES256", good())).expect(t, "up again", 401, session.CauseTokenKey, "unknown key")
	if d := a.Degraded(); len(d) > 0 {
		t.Errorf("degraded %q", d)
	}
}

// hanging is a transport that never answers.
type hanging struct{ requests atomic.Int64 }

func (h *hanging) RoundTrip(r *http.Request) (*http.Response, error) {
	h.requests.Add(1)
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// A provider that hangs: tokens of unknown keys wait for it, in bounded number and
// time; others are verified meanwhile.
func TestHangingProvider(t *testing.T) {
	file := publicFile(t, "RS256", "ES256", "EdDSA") // makes the keys outside the bubble
	synctest.Test(t, func(t *testing.T) {
		h := &hanging{}
		a, err := New(Options{Queue: 2 * maxParked, JWT: JWT{Secret: secret, PublicKeyFiles: []string{file}, JWKS: "https://id.example/keys?x=hush", Transport: h}})
		if err != nil {
			t.Fatal(err)
		}
		a.Start()
		defer a.Close()
		began := time.Now()
		var waiting, full atomic.Int64
		token := signed(t, "ES384", "unknown", good())
		for range maxParked + 10 {
			_, refusal, pending := a.Login(&session.Client{}, []byte(token), func(_ session.Grant, r *ws.Refusal) {
				if time.Since(began) < fetchTime && r.Cause == session.CauseAuthKeys {
					full.Add(1)
					return
				}
				if r.Status != 503 || r.Cause != session.CauseAuthKeys {
					t.Errorf("%v", r)
				}
				waiting.Add(1)
			})
			if refusal != nil || !pending {
				t.Fatal(refusal)
			}
		}
		synctest.Wait()
		if st := a.Stats(); full.Load() != 10 || st.Parked != maxParked || waiting.Load() != 0 {
			t.Errorf("%d refused at once, %d wait", full.Load(), st.Parked)
		}
		login(a, signed(t, "HS256", "", good())).expect(t, "with a key that is known", 0, "", "")
		time.Sleep(fetchTime + time.Millisecond)
		synctest.Wait()
		if n := waiting.Load(); n != maxParked {
			t.Errorf("%d of %d were answered when the reading was over", n, maxParked)
		}
		if d := a.Degraded(); len(d) != 1 || !strings.Contains(d[0], "no answer within 10s") || strings.Contains(d[0], "hush") {
			t.Errorf("degraded %q", d)
		}
		// It is asked again, less and less often.
		before := h.requests.Load()
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := h.requests.Load() - before; n < 10 || n > 20 {
			t.Errorf("%d requests in an hour", n)
		}
	})
}

// Files are read again after JWT.Refresh; a file that is broken changes nothing.
func TestFilesAreReadAgain(t *testing.T) {
	file := publicFile(t, "EdDSA")
	young := publicFile(t, "ES256")
	synctest.Test(t, func(t *testing.T) {
		a, err := New(Options{JWT: JWT{PublicKeyFiles: []string{file}, Refresh: time.Minute}})
		if err != nil {
			t.Fatal(err)
		}
		a.Start()
		defer a.Close()
		is := func(what, algorithm string, status int) {
			t.Helper()
			cause := session.CauseTokenAlgorithm
			login(a, signed(t, algorithm, "", good())).expect(t, what, status, cause, "")
		}
		is("old key", "EdDSA", 0)
		os.WriteFile(file, []byte("broken"), 0o600)
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		is("old key, file broken", "EdDSA", 0)
		if d := a.Degraded(); len(d) != 1 || !strings.Contains(d[0], "auth.jwt.public_key_file: no key in it") {
			t.Errorf("degraded %q", d)
		}
		data, _ := os.ReadFile(young)
		os.WriteFile(file, data, 0o600)
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		is("old key, file replaced", "EdDSA", 401)
		is("new key", "ES256", 0)
	})
}

// Faults of keys are found at the start, and errors name the setting.
func TestKeyFaults(t *testing.T) {
	short := writeFile(t, "short.pem", []byte("-----BEGIN RSA PUBLIC KEY-----\nMEgCQQDCFENGw33yGihy92pDjZQhl0C36rPJj+CvfSC8+q28hxA161QFNUd13wuC\nTUcq0Qd2qsBe/2hFyc2DCJJg0h1L78+6Z4UMR7EOcpfdUE9Hf3m/hs+FUR45uBJe\nDK1HSFHD8bHKD6kv8FPGfJTotc+2xjJwoYi+1hqp1fIekaxsyQIDAQAB\n-----END RSA PUBLIC KEY-----\n"))
	der := writeFile(t, "private.pem", []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	for name, tt := range map[string]struct {
		jwt  JWT
		says string
	}{
		"nothing":            {JWT{}, "no key for tokens"},
		"short secret":       {JWT{Secret: secret[:31]}, "auth.jwt.secret: a secret of 31 bytes; at least 32"},
		"short for HS384":    {JWT{Secret: secret[:47], Algorithms: []string{"HS384"}}, "auth.jwt.secret: "},
		"no file":            {JWT{PublicKeyFiles: []string{"/nowhere/x.pem"}}, "auth.jwt.public_key_file: /nowhere/x.pem: no such file"},
		"private key":        {JWT{PublicKeyFiles: []string{der}}, "holds a private key"},
		"broken block":       {JWT{PublicKeyFiles: []string{short}}, "auth.jwt.public_key_file: "},
		"no PEM":             {JWT{PublicKeyFiles: []string{writeFile(t, "x", []byte("x"))}}, "no key in it"},
		"broken JWKS":        {JWT{JWKS: writeFile(t, "x.json", []byte("{"))}, "auth.jwt.jwks: "},
		"http":               {JWT{JWKS: "http://id.example/keys"}, "auth.jwt.jwks: http:// lets anybody"},
		"ftp":                {JWT{JWKS: "ftp://u:hush@id.example/keys"}, `the scheme "ftp"`},
		"unknown algorithm":  {JWT{Secret: secret, Algorithms: []string{"none"}}, `the algorithm "none"; allowed are HS256`},
		"no key for it":      {JWT{Secret: secret, Algorithms: []string{"HS256", "RS256"}}, "auth.jwt.algorithms: no key is for RS256"},
		"no file fits":       {JWT{PublicKeyFiles: []string{publicFile(t, "EdDSA")}, Algorithms: []string{"RS256"}}, "none of these is allowed"},
		"leeway of two days": {JWT{Secret: secret, Leeway: 48 * time.Hour}, "JWT.Leeway"},
	} {
		a, err := New(Options{JWT: tt.jwt})
		if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v; want %q", name, err, tt.says)
		}
		if a != nil {
			t.Errorf("%s: an Authenticator", name)
		}
	}
}

// Errors of the network name no URL.
func TestWithoutURL(t *testing.T) {
	f, err := newFetcher("https://id.example/x?secret=hush", roundTrip(func(*http.Request) (*http.Response, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err = f.fetch(context.Background()); err == nil || strings.Contains(err.Error(), "hush") || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("%v", err)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
