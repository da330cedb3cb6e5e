package auth

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"belfry/session"
)

// twoVerifiers returns verifiers with the same keys: one that remembers headers, with
// those of a token each of HS256 and ES256, and one that knows none.
func twoVerifiers(t testing.TB) (warm, cold func(token string) (session.Grant, error)) {
	t.Helper()
	o := Options{JWT: JWT{Secret: secret, PublicKeyFiles: []string{publicFile(t, "ES256")}, Issuer: "us"}}
	a, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, algorithm := range []string{"HS256", "ES256"} {
		if _, err := a.inForce.Load().verifier.verify(signed(t, algorithm, "", with(map[string]any{"iss": "us"}))); err != nil {
			t.Fatal(err)
		}
	}
	cold = func(token string) (session.Grant, error) {
		v := newVerifier(&a.opt, a.inForce.Load().keys.set.Load)
		return v.verify(token)
	}
	return a.inForce.Load().verifier.verify, cold
}

// sameVerdict says how two verdicts about a token differ, "" if they do not.
func sameVerdict(token string, warm, cold func(string) (session.Grant, error)) string {
	g1, err1 := warm(token)
	g2, err2 := cold(token)
	if fmt.Sprintf("%#v", err1) == fmt.Sprintf("%#v", err2) && fmt.Sprintf("%+v", g1) == fmt.Sprintf("%+v", g2) {
		return ""
	}
	return fmt.Sprintf("%q\nheader known: %+v, %v\nnot known:    %+v, %v", token, g1, err1, g2, err2)
}

// A verifier that knows the header of a token says the same of it as one that does
// not.
func TestKnownHeaderChangesNothing(t *testing.T) {
	warm, cold := twoVerifiers(t)
	us := func(changes map[string]any) map[string]any {
		changes["iss"] = "us"
		return with(changes)
	}
	valid := signed(t, "HS256", "", us(map[string]any{"sub": "bob", "topics": []string{"a", "b"}, "meta": map[string]any{"k": 1}}))
	part := strings.Split(valid, ".")
	header := `{"alg":"HS256","typ":"JWT"}`
	tokens := []string{
		valid, signed(t, "ES256", "", us(map[string]any{"sub": "eve"})),
		signed(t, "HS256", "", us(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()})),
		signed(t, "HS256", "", us(map[string]any{"exp": "soon"})), signed(t, "HS256", "", us(map[string]any{"sub": 7})),
		signed(t, "HS256", "", us(map[string]any{"topics": []string{"a.*"}})), signed(t, "HS256", "", good()),
		signed(t, "HS512", "", us(map[string]any{})), signed(t, "HS256", "k1", us(map[string]any{})),
		part[0] + "." + part[1] + "." + strings.Repeat("A", len(part[2])), part[0] + "." + part[1] + "." + part[2][1:],
		part[0] + "." + part[1] + ".", part[0] + "." + part[1], part[0] + "..", part[0], part[0] + ".." + part[2], "." + part[1] + "." + part[2],
		valid + ".", valid + "." + part[2], valid + "=", valid + "\n", part[0] + "\n." + part[1] + "." + part[2], part[0] + "." + part[1] + "\n." + part[2],
		raw(header, `null`), raw(header, `[]`), raw(header, `{`), raw(header, `{} {}`), raw(header, ``), raw(header, "\xff"),
		raw(header, ` {"iss":"us","sub":"ann","exp":253402300799} `), raw(header, `{"iss":"us","sub":"ann","sub":"bob","exp":253402300799}`),
		raw(header, `{"iss":"us","sub":"\ud800","exp":253402300799}`), raw(`{"alg":"none"}`, `{"iss":"us","sub":"ann"}`),
		raw(`{"alg":"HS256","crit":["x"]}`, `{"iss":"us","sub":"ann","exp":253402300799}`),
		raw(`{"alg":"HS256","typ":"JWT","kid":7}`, `{"iss":"us","sub":"ann","exp":253402300799}`),
	}
	accepted := 0
	for _, token := range tokens {
		if differ := sameVerdict(token, warm, cold); differ != "" {
			t.Error(differ)
		}
		if _, err := warm(token); err == nil {
			accepted++
		}
	}
	if accepted < 4 {
		t.Errorf("%d tokens were accepted", accepted)
	}
}

// FuzzKnownHeader changes a valid token. Both verifiers say the same.
func FuzzKnownHeader(f *testing.F) {
	warm, cold := twoVerifiers(f)
	token := signed(f, "HS256", "", map[string]any{"iss": "us", "sub": "ann", "exp": 253402300799})
	f.Add(0, "", 0)
	f.Add(36, ".", 1)
	f.Add(40, "\r\n", 0)
	f.Add(len(token), "=", 0)
	f.Add(37, "fQ", 2)
	f.Fuzz(func(t *testing.T, at int, insert string, drop int) {
		if at < 0 || at > len(token) || drop < 0 || at+drop > len(token) {
			t.Skip()
		}
		changed := token[:at] + insert + token[at+drop:]
		if differ := sameVerdict(changed, warm, cold); differ != "" {
			t.Error(differ)
		}
	})
}

// Only headers that a key has signed are remembered, so many, and for one set of
// keys.
func TestHeadersAreBounded(t *testing.T) {
	a, err := New(Options{JWT: JWT{Secret: secret}})
	if err != nil {
		t.Fatal(err)
	}
	size := func() int {
		if known := a.inForce.Load().verifier.headers.known.Load(); known != nil {
			return len(known.tokens)
		}
		return 0
	}
	for i := range 100 {
		token := signed(t, "HS256", fmt.Sprint("forged", i), good())
		if _, err := a.inForce.Load().verifier.verify(token[:len(token)-4] + "AAAA"); err == nil {
			t.Fatal("a forged token was accepted")
		}
	}
	if _, err := a.inForce.Load().verifier.verify(signed(t, "HS256", strings.Repeat("k", maxHeader), good())); err != nil || size() != 0 {
		t.Errorf("%d headers remembered of tokens that are forged or too long; %v", size(), err)
	}
	for i := range 2 * maxHeaders {
		if _, err := a.inForce.Load().verifier.verify(signed(t, "HS256", fmt.Sprint("k", i), good())); err != nil {
			t.Fatal(err)
		}
	}
	if size() != maxHeaders {
		t.Errorf("%d headers; want %d", size(), maxHeaders)
	}
	set := a.inForce.Load().keys.set.Load()
	a.inForce.Load().keys.set.Store(newKeySet(set.keys, time.Now()))
	if _, err := a.inForce.Load().verifier.verify(signed(t, "HS256", "", good())); err != nil || size() != 1 {
		t.Errorf("%d headers after a change of the keys; %v", size(), err)
	}
	a.inForce.Load().keys.set.Store(&keySet{algorithms: set.algorithms})
	if _, err := a.inForce.Load().verifier.verify(signed(t, "HS256", "", good())); err == nil {
		t.Error("a token was accepted after its key was removed")
	}
}
