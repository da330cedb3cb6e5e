package auth

import (
	"io"
	"testing"
	"time"

	"belfry/session"
)

// A change of keys empties the cache: a token of a key that was taken away is not in it
// any more when the first token of the new set is remembered.
func TestCacheOfAnotherSet(t *testing.T) {
	one, two := jwk("ES256", private()["ES256"].Public()), jwk("EdDSA", private()["EdDSA"].Public())
	file := writeFile(t, "jwks.json", jwks(one, two))
	a, err := New(Options{JWT: JWT{JWKS: file, CacheBytes: 1 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	gone, stays := signed(t, "ES256", "ES256", good()), signed(t, "EdDSA", "EdDSA", good())
	for _, token := range []string{gone, stays, gone} {
		if _, err := a.inForce.Load().verifier.verify(token); err != nil {
			t.Fatal(err)
		}
	}
	keys, err := readJWKS(jwks(two), false, nil)
	if err != nil {
		t.Fatal(err)
	}
	a.inForce.Load().keys.set.Store(newKeySet(keys, time.Now()))
	for range 2 { // the second time the token that stays is in the cache
		if _, err := a.inForce.Load().verifier.verify(stays); err != nil {
			t.Error(err)
		}
		if g, err := a.inForce.Load().verifier.verify(gone); err == nil {
			t.Errorf("a token of a key that is gone is accepted: %+v", g)
		}
	}
	if hits := a.Stats().CacheHits; hits != 2 {
		t.Errorf("%d hits, want one before and one after", hits)
	}
}

// Tokens that are in the cache are revoked like others, and what one session does with
// its grant does not reach the next one.
func TestCachedToken(t *testing.T) {
	r := NewRevocations(0, 0)
	a := start(t, Options{JWT: JWT{PublicKeyFiles: []string{publicFile(t, "EdDSA")}, CacheBytes: 1 << 20}, Subscribe: []string{"*"}, Revoked: r.Revoked})
	token := signed(t, "EdDSA", "", with(map[string]any{"topics": []string{"a", "b", "c"}}))
	for _, topic := range []string{"x", "y"} {
		got := ask(a, attempt(t, "/ws?topic="+topic, bearerLine(token)))
		got.expect(t, topic, 0, "", "")
		if len(got.grant.Topics) != 4 || got.grant.Topics[3] != topic {
			t.Errorf("%s: %q", topic, got.grant.Topics)
		}
	}
	if _, err := r.Add(Revocation{"ann", time.Now().Add(time.Second)}, time.Now()); err != nil {
		t.Fatal(err)
	}
	login(a, token).expect(t, "revoked", 401, session.CauseTokenRevoked, "")
	if hits := a.Stats().CacheHits; hits != 2 {
		t.Errorf("%d hits", hits)
	}
}

// A revocation counts for tokens that were issued before its time, of its user only; a
// token that does not say when it was issued counts as older.
func TestRevokedTokens(t *testing.T) {
	r := NewRevocations(0, 0)
	a := start(t, Options{JWT: JWT{Secret: secret}, Revoked: r.Revoked})
	at := time.Now().Add(-10 * time.Minute).Truncate(time.Second)
	issued := func(uid string, d time.Duration) string {
		return signed(t, "HS256", "", with(map[string]any{"sub": uid, "iat": at.Add(d).Unix()}))
	}
	undated := signed(t, "HS256", "", with(map[string]any{"iat": nil}))
	check := func(when string, revoked, valid []string) {
		t.Helper()
		for _, token := range revoked {
			login(a, token).expect(t, when, 401, session.CauseTokenRevoked, "log in again")
		}
		for _, token := range valid {
			login(a, token).expect(t, when, 0, "", "")
		}
	}
	before, then, after, other := issued("ann", -time.Second), issued("ann", 0), issued("ann", time.Second), issued("bob", -time.Hour)
	check("nothing revoked", nil, []string{before, then, after, other, undated})
	r.Add(Revocation{"ann", at}, time.Now())
	check("ann's", []string{before, undated}, []string{then, after, other})
	r.Add(Revocation{"", at}, time.Now())
	check("everybody's", []string{before, undated, other}, []string{then, after})
	if st := a.Stats(); st.Tokens["token_revoked"] != 5 {
		t.Errorf("%d counted", st.Tokens["token_revoked"])
	}
}

// A list of topics may be shared, and have room: what one request adds does not reach
// another one.
func TestTopicsAreAdded(t *testing.T) {
	a, err := New(Options{JWT: JWT{Secret: secret}})
	if err != nil {
		t.Fatal(err)
	}
	shared := session.Grant{UID: "ann", Topics: append(make([]string, 0, 8), "news"), Subscribe: []string{"inbox.{uid}", "team.*"}}
	one, two := shared, shared
	if err := addTopics(&one, []string{"team.a"}, a.everybody); err != nil {
		t.Fatal(err)
	}
	if err := addTopics(&two, []string{"inbox.ann"}, a.everybody); err != nil {
		t.Fatal(err)
	}
	if one.Topics[1] != "team.a" || two.Topics[1] != "inbox.ann" || len(shared.Topics) != 1 {
		t.Errorf("%q, %q", one.Topics, two.Topics)
	}
	if err := addTopics(&two, []string{"inbox.bob"}, a.everybody); err == nil {
		t.Error("the topic of another user is permitted by a pattern of the token")
	}
}

// counted counts what is read.
type counted struct{ n int }

func (c *counted) Read(p []byte) (int, error) {
	c.n += len(p)
	if c.n > 64*maxKeyFile {
		return 0, io.EOF
	}
	return len(p), nil
}

// A set of keys that does not end is not read to its end.
func TestKeysAreReadWithALimit(t *testing.T) {
	c := &counted{}
	if _, err := readAll(c); err == nil || c.n > 4*maxKeyFile {
		t.Errorf("%v after %d bytes", err, c.n)
	}
}
