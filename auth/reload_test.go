package auth

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"belfry/session"
)

// otherSecret has signed nothing that a test sends before the reload.
const otherSecret = "another secret, which has 32 bytes and more"

// A token of a removed key is refused, also if it was in the cache; one of the new key is
// taken. The counters go on.
func TestReload(t *testing.T) {
	a := start(t, Options{JWT: JWT{Secret: secret, CacheBytes: 1 << 20, PublicKeyFiles: []string{publicFile(t, "ES256")}}})
	old, es := signed(t, "HS256", "", good()), signed(t, "ES256", "", good())
	theirs, err := Sign([]byte(otherSecret), "HS256", "", good())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		login(a, old).expect(t, "before", 0, "", "")
		login(a, es).expect(t, "before, by a file", 0, "", "")
	}
	hits := a.Stats().CacheHits
	apply, err := a.Prepare(JWT{Secret: []byte(otherSecret), Leeway: time.Minute})
	if err != nil || hits == 0 {
		t.Fatal(err, hits)
	}
	login(a, old).expect(t, "prepared only", 0, "", "")
	apply()
	login(a, old).expect(t, "after", 401, session.CauseTokenSignature, "signature")
	login(a, es).expect(t, "after, by a file", 401, session.CauseTokenAlgorithm, "algorithm")
	login(a, theirs).expect(t, "after, by the new key", 0, "", "")
	login(a, signedWith(t, otherSecret, map[string]any{"exp": time.Now().Add(-30 * time.Second).Unix()})).expect(t, "with the new leeway", 0, "", "")
	if st := a.Stats(); st.CacheHits < hits || st.Keys != 1 {
		t.Errorf("%+v", st)
	}
}

func signedWith(t *testing.T, secret string, changes map[string]any) string {
	t.Helper()
	token, err := Sign([]byte(secret), "HS256", "", with(changes))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// Keys that cannot be read change nothing: neither a file nor the URL of a JWKS.
func TestReloadFails(t *testing.T) {
	p := newProvider(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	a := start(t, Options{JWT: JWT{Secret: secret}})
	was := a.inForce.Load()
	for what, j := range map[string]JWT{
		"auth.jwt.public_key_file": {PublicKeyFiles: []string{"/no/such/file"}},
		"auth.jwt.jwks":            {Secret: secret, JWKS: p.URL},
		"no key":                   {},
		"algorithm":                {Secret: secret, Algorithms: []string{"none"}},
	} {
		if _, err := a.Prepare(j); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if a.inForce.Load() != was {
		t.Error("the keys have changed")
	}
	login(a, signed(t, "HS256", "", good())).expect(t, "after faults", 0, "", "")
}

// A token that waits for the keys of a provider, which is no more asked after a reload,
// is verified with the new keys.
func TestReloadWhileTokensWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, err := New(Options{JWT: JWT{JWKS: "https://id.example/keys", Transport: &hanging{}}})
		if err != nil {
			t.Fatal(err)
		}
		a.Start()
		defer a.Close()
		done := make(chan outcome, 1)
		go func() { done <- login(a, signed(t, "HS256", "", good())) }()
		synctest.Wait()
		if st := a.Stats(); st.Parked != 1 {
			t.Fatalf("%+v", st)
		}
		apply, err := a.Prepare(JWT{Secret: secret})
		if err != nil {
			t.Fatal(err)
		}
		apply()
		synctest.Wait()
		select {
		case o := <-done:
			o.expect(t, "by the secret", 0, "", "")
		default:
			t.Error("the token waits for keys that nobody reads")
		}
	})
}
