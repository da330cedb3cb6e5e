package auth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"belfry/session"
	"belfry/ws"
)

// newEC returns a new P-256 key.
func newEC(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func signedBy(t *testing.T, key any, algorithm, kid string) string {
	t.Helper()
	token, err := Sign(key, algorithm, kid, good())
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// Which keys a token is verified with: the one that it names, or all without a name, but
// never one for another algorithm.
func TestKeyIDs(t *testing.T) {
	one, two, unnamed := newEC(t), newEC(t), newEC(t)
	set := jwks(jwk("one", one.Public()), jwk("two", two.Public()), jwk("", unnamed.Public()), jwk("rsa", private()["RS256"].Public()))
	a := start(t, Options{JWT: JWT{JWKS: writeFile(t, "jwks.json", set), Interval: time.Hour}})
	for _, tc := range []struct {
		name, token string
		cause       ws.Cause // "": accepted
		says        string
	}{
		{"the key that it names", signedBy(t, one, "ES256", "one"), "", ""},
		{"no name", signedBy(t, two, "ES256", ""), "", ""},
		{"no name, of the key without one", signedBy(t, unnamed, "ES256", ""), "", ""},
		{"a name, of the key without one", signedBy(t, unnamed, "ES256", "two"), "", ""},
		{"an unknown name, of the key without one", signedBy(t, unnamed, "ES256", "three"), "", ""},
		{"the name of another key", signedBy(t, one, "ES256", "two"), session.CauseTokenSignature, "signature is not valid"},
		{"an unknown name", signedBy(t, one, "ES256", "three"), session.CauseTokenKey, "unknown key"},
		{"a stranger's key", signedBy(t, newEC(t), "ES256", ""), session.CauseTokenSignature, "signature is not valid"},
		{"a key of another algorithm", signedBy(t, private()["ES384"], "ES384", "one"), session.CauseTokenKey, "kid) is not for the algorithm"},
		{"HMAC by the name of a public key", signedBy(t, secret, "HS256", "rsa"), session.CauseTokenKey, "kid) is not for the algorithm"},
		{"HMAC without a name", signedBy(t, secret, "HS256", ""), session.CauseTokenAlgorithm, "allowed are RS256"},
	} {
		status := 401
		if tc.cause == "" {
			status = 0
		}
		login(a, tc.token).expect(t, tc.name, status, tc.cause, tc.says)
	}
}

// A token without a key id is tried with eight keys at most: each try costs as much as a
// verification.
func TestKeysTried(t *testing.T) {
	var set []map[string]any
	var keys []*ecdsa.PrivateKey
	for range maxTried + 1 {
		k := newEC(t)
		keys, set = append(keys, k), append(set, jwk("", k.Public()))
	}
	few := start(t, Options{JWT: JWT{JWKS: writeFile(t, "few.json", jwks(set[:maxTried]...))}})
	login(few, signedBy(t, keys[maxTried-1], "ES256", "")).expect(t, "the last of eight", 0, "", "")
	many := start(t, Options{JWT: JWT{JWKS: writeFile(t, "many.json", jwks(set...))}})
	for i := range keys {
		login(many, signedBy(t, keys[i], "ES256", "")).expect(t, "nine keys", 401, session.CauseTokenKey, "more than 8 keys could have signed it")
	}
}

// Only an unknown key id has the keys read again. What a client can send without one,
// and a bad signature of a known key, do not: they would be a way to the provider for
// everybody.
func TestWhatReadsTheKeys(t *testing.T) {
	p, c := newProvider(t, serves("ES256", "RS256")), newClock()
	a := start(t, Options{Now: c.Now, JWT: JWT{JWKS: p.URL, PublicKeyFiles: []string{publicFile(t, "EdDSA")}, Refresh: time.Hour}})
	login(a, signed(t, "ES256", "ES256", good())).expect(t, "good", 0, "", "")
	stranger := newEC(t)
	valid := signed(t, "EdDSA", "", good())
	for name, token := range map[string]string{
		"bad signature, no kid":         signedBy(t, stranger, "ES256", ""),
		"bad signature, known kid":      signedBy(t, stranger, "ES256", "ES256"),
		"known kid, another algorithm":  signedBy(t, private()["ES384"], "ES384", "ES256"),
		"known kid, HMAC":               signedBy(t, secret, "HS256", "ES256"),
		"bad signature, key of a file":  flipped(valid, 2),
		"no token at all":               "x",
		"alg none":                      "eyJhbGciOiJub25lIiwia2lkIjoibiJ9.e30.",
		"alg of no key, no kid":         signedBy(t, private()["ES512"], "ES512", ""),
		"expired, though of a good key": signed(t, "ES256", "ES256", with(map[string]any{"exp": 1})),
	} {
		c.add(11 * time.Second)
		login(a, token)
		login(a, valid).expect(t, name+": afterwards", 0, "", "") // a reading would be in progress, or over
		if st := a.Stats(); st.Readings != 1 || st.Parked != 0 || p.requests.Load() != 1 {
			t.Fatalf("%s: %d readings, %d tokens wait", name, st.Readings, st.Parked)
		}
	}
	login(a, signedBy(t, stranger, "ES256", "stranger")).expect(t, "unknown kid", 401, session.CauseTokenKey, "unknown key")
	if n := p.requests.Load(); n != 2 {
		t.Errorf("%d requests", n)
	}
}

// The algorithms that the operator lists hold for the keys of every place.
func TestAlgorithmsEverywhere(t *testing.T) {
	p := newProvider(t, serves("RS256", "ES256", "EdDSA"))
	for place, o := range map[string]JWT{
		"secret": {Secret: secret, Algorithms: []string{"HS384"}},
		"PEM":    {PublicKeyFiles: []string{publicFile(t, "RS256")}, Algorithms: []string{"PS256"}},
		"JWKS":   {JWKS: writeFile(t, "jwks.json", jwks(jwk("RS256", private()["RS256"].Public()), jwk("ES256", private()["ES256"].Public()))), Algorithms: []string{"PS256"}},
		"URL":    {JWKS: p.URL, Algorithms: []string{"PS256", "ES256"}},
	} {
		a := start(t, Options{JWT: o})
		for _, name := range Algorithms() {
			kid := ""
			if p := private()[name]; p != nil && o.JWKS != "" {
				kid = "ES256"
				if p == private()["RS256"] {
					kid = "RS256"
				}
			}
			got := login(a, signed(t, name, kid, good()))
			if allowed := slices.Contains(o.Algorithms, name); allowed != (got.refusal == nil) {
				t.Errorf("%s, %s: %v", place, name, got.refusal)
			}
		}
	}
}

// Nobody can write the same signature in another way: a token that was altered in the
// least is another token.
func TestOneSpelling(t *testing.T) {
	a := start(t, Options{JWT: JWT{Secret: secret}})
	token := signed(t, "HS256", "", good())
	login(a, token).expect(t, "as it was signed", 0, "", "")
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, token[len(token)-1]) // 32 bytes are 43 characters: the last two bits say nothing
	for bits := 1; bits < 4; bits++ {
		other := token[:len(token)-1] + string(alphabet[last^bits])
		login(a, other).expect(t, "with bits behind the signature", 401, session.CauseTokenMalformed, "")
	}
	login(a, token+"=").expect(t, "with padding", 401, session.CauseTokenMalformed, "")
	login(a, token+"\n").expect(t, "with a newline", 401, session.CauseTokenMalformed, "")
}
