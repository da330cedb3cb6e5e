package auth

import (
	"sync"
	"testing"
	"time"

	"belfry/session"
	"belfry/ws"
)

// atOnce asks about a token and says whether the answer came at once: on a shard, that
// is, and not by a verifier.
func atOnce(t *testing.T, a *Authenticator, token, target string) (o outcome, now bool) {
	t.Helper()
	later := make(chan outcome, 1)
	g, refusal, pending := a.Authenticate(attempt(t, target, bearerLine(token)), func(g session.Grant, r *ws.Refusal) { later <- outcome{g, r} })
	if pending {
		return <-later, false
	}
	return outcome{g, refusal}, true
}

// A token that comes again is decided about at once, and as before. What may change
// meanwhile is checked each time: its time, revocations, keys, topics of the request.
func TestRecall(t *testing.T) {
	now := time.Now()
	revoked := NewRevocations(0, 0)
	a := start(t, Options{Now: func() time.Time { return now }, Subscribe: []string{"public.*"}, Revoked: revoked.Revoked,
		JWT: JWT{PublicKeyFiles: []string{publicFile(t, "EdDSA")}, CacheBytes: 1 << 20}})
	token := signed(t, "EdDSA", "", with(map[string]any{"topics": []string{"news"}, "iat": now.Unix() - 60, "exp": now.Add(time.Hour).Unix()}))
	try := func(when, target string, wantNow bool, status int, cause ws.Cause) {
		t.Helper()
		o, once := atOnce(t, a, token, target)
		o.expect(t, when, status, cause, "")
		if once != wantNow {
			t.Errorf("%s: at once %v", when, once)
		}
		if status == 0 && (o.grant.UID != "ann" || o.grant.Topics[0] != "news" || !o.grant.Expires.Equal(time.Unix(now.Add(time.Hour).Unix(), 0))) ||
			status != 0 && o.grant.UID != "" {
			t.Errorf("%s: %+v", when, o.grant)
		}
	}
	try("new", "/ws", false, 0, "")
	try("again", "/ws", true, 0, "")
	try("with a topic", "/ws?topic=public.a", true, 0, "")
	try("with a topic of others", "/ws?topic=secret", true, 403, session.CauseTopic)
	if g, _, pending := a.Login(&session.Client{}, []byte(token), nil); pending || g.UID != "ann" {
		t.Errorf("login: %+v, pending %v", g, pending)
	}
	if st := a.Stats(); st.CacheHits != 4 || st.Tokens["accepted"] != 4 || st.Tokens["topic"] != 1 {
		t.Errorf("%+v", st)
	}
	revoked.Add(Revocation{"ann", now}, now)
	try("revoked", "/ws", false, 401, session.CauseTokenRevoked)
	revoked.mu.Lock()
	clear(revoked.users)
	revoked.mu.Unlock()
	try("not revoked", "/ws", true, 0, "")
	set := a.inForce.Load().keys.set.Load()
	a.inForce.Load().keys.set.Store(newKeySet(nil, now))
	try("without its key", "/ws", false, 401, session.CauseTokenAlgorithm)
	a.inForce.Load().keys.set.Store(newKeySet(set.keys, now))
	try("the key is back", "/ws", false, 0, "")
	try("again", "/ws", true, 0, "")
	later := now.Add(2 * time.Hour)
	now = later
	if o, once := atOnce(t, a, token, "/ws"); once || o.refusal == nil || o.refusal.Cause != session.CauseTokenExpired {
		t.Errorf("expired: %+v, at once %v", o, once)
	}
}

// A token is taken for another one neither by its mark nor by a part of it.
func TestRecallOfAnother(t *testing.T) {
	a := start(t, Options{JWT: JWT{PublicKeyFiles: []string{publicFile(t, "EdDSA")}, CacheBytes: 1 << 20}})
	token := signed(t, "EdDSA", "", good())
	for range 2 {
		login(a, token).expect(t, "valid", 0, "", "")
	}
	for part := range 3 {
		forged := []byte(flipped(token, part))
		k := a.inForce.Load().verifier.cache.find(forged)
		a.inForce.Load().verifier.cache.mark(&k)
		if g, k, ok := a.inForce.Load().verifier.recall(forged); ok || !k.hashed {
			t.Errorf("part %d: %+v, %v", part, g, k.hashed)
		}
		if got := login(a, string(forged)); got.refusal == nil {
			t.Errorf("part %d: a forged token is accepted", part)
		}
	}
}

// A token with an HMAC is kept when it comes for the second time, and never beside keys
// whose signatures cost more.
func TestRecallOfHMAC(t *testing.T) {
	for name, tt := range map[string]struct {
		jwt  JWT
		want []bool
	}{
		"secret alone": {JWT{Secret: secret, CacheBytes: 1 << 20}, []bool{false, false, true, true}},
		"with a key":   {JWT{Secret: secret, PublicKeyFiles: []string{publicFile(t, "EdDSA")}, CacheBytes: 1 << 20}, []bool{false, false, false, false}},
		"no cache":     {JWT{Secret: secret}, []bool{false, false, false, false}},
	} {
		a := start(t, Options{JWT: tt.jwt})
		token := signed(t, "HS256", "", good())
		for i, want := range tt.want {
			o, once := atOnce(t, a, token, "/ws")
			if o.expect(t, name, 0, "", ""); once != want || o.grant.UID != "ann" {
				t.Errorf("%s, %d: at once %v, %+v", name, i, once, o.grant)
			}
			if c := a.inForce.Load().verifier.cache; i == 0 && c != nil && c.entries != 0 {
				t.Errorf("%s: kept when it came for the first time", name)
			}
		}
	}
}

// Claims and jobs are used again. No client gets what another one's token says.
func TestNothingIsMixed(t *testing.T) {
	a := start(t, Options{JWT: JWT{Secret: secret, Required: []string{"exp", "iat"}, CacheBytes: 64 << 10}})
	full := with(map[string]any{"topics": []string{"a"}, "subscribe": "b", "publish": "c", "meta": map[string]any{"x": 1}, "limits": map[string]any{"topics": 7}})
	var all sync.WaitGroup
	for n := range 4 {
		all.Go(func() {
			for i := range 300 {
				claims := good()
				if i%2 == n%2 {
					claims = full
				}
				uid := string(rune('a'+n)) + string(rune('a'+i%20))
				mine := map[string]any{"sub": uid}
				for name, value := range claims {
					if name != "sub" {
						mine[name] = value
					}
				}
				if i%7 == 0 {
					delete(mine, "exp")
				}
				got := login(a, signed(t, "HS256", "", mine))
				if g := got.grant; i%7 == 0 && (got.refusal == nil || g.UID != "") || i%7 != 0 && (g.UID != uid || (len(g.Topics) == 1) != (i%2 == n%2) ||
					(g.Meta != nil) != (i%2 == n%2) || (g.Limits.Topics == 7) != (i%2 == n%2)) {
					t.Errorf("%s: %+v, %v", uid, g, got.refusal)
				}
			}
		})
	}
	all.Wait()
}

// Every token is answered once, when the node stops while tokens are verified, too.
func TestAllAreTold(t *testing.T) {
	var a *Authenticator
	checked := 0
	a, err := New(Options{Verifiers: 1, JWT: JWT{Secret: secret}, Revoked: func(string, time.Time) bool {
		if checked++; checked == 100 {
			a.stop()
		}
		return false
	}})
	if err != nil {
		t.Fatal(err)
	}
	told := make([]int, 500)
	token := []byte(signed(t, "HS256", "", good()))
	for i := range told {
		a.Login(&session.Client{}, token, func(session.Grant, *ws.Refusal) { told[i]++ })
	}
	a.Start()
	a.Close()
	for i, times := range told {
		if times != 1 {
			t.Errorf("token %d was answered %d times", i, times)
		}
	}
}

// BenchmarkRecall is what a shard does for a token: one that is in the cache, and one
// that has not been seen.
func BenchmarkRecall(b *testing.B) {
	a := start(b, Options{JWT: JWT{PublicKeyFiles: []string{publicFile(b, "EdDSA")}, CacheBytes: 1 << 20}})
	token := signed(b, "EdDSA", "", with(map[string]any{"topics": []string{"bench.1"}}))
	at := attempt(b, "/ws", bearerLine(token))
	ask(a, at)
	b.Run("known", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, refusal, pending := a.Authenticate(at, nil); refusal != nil || pending {
				b.Fatal(refusal, pending)
			}
		}
	})
	unseen := []byte(signed(b, "EdDSA", "", with(map[string]any{"topics": []string{"bench.2"}})))
	b.Run("unseen", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, ok := a.inForce.Load().verifier.recall(unseen); ok {
				b.Fatal("known")
			}
		}
	})
}
