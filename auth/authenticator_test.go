package auth

import (
	"slices"
	"testing"
	"time"

	"belfry/session"
	"belfry/ws"
)

func bearerLine(token string) string { return "Authorization: Bearer " + token + "\r\n" }

// Where a token may be, and what a request may ask for.
func TestAuthenticate(t *testing.T) {
	a := start(t, Options{Cookie: "auth", Subscribe: []string{"public.*", "inbox.{uid}"}, JWT: JWT{Secret: secret}})
	token := signed(t, "HS256", "", with(map[string]any{"topics": []string{"news"}, "subscribe": []string{"team.*"}}))
	for _, tt := range []struct {
		name, target, header string
		topics               []string
		status               int
		cause                ws.Cause
		says                 string
	}{
		{"header", "/ws", bearerLine(token), []string{"news"}, 0, "", ""},
		{"query", "/ws?token=" + token, "", []string{"news"}, 0, "", ""},
		{"cookie", "/ws", "Cookie: x=1; auth=" + token + "\r\n", []string{"news"}, 0, "", ""},
		{"subprotocol", "/ws", "Sec-WebSocket-Protocol: belfry.v1, " + token + "\r\n", []string{"news"}, 0, "", ""},
		{"topics", "/ws?topic=public.a&topic=inbox.ann&topic=team.x", bearerLine(token), []string{"news", "public.a", "inbox.ann", "team.x"}, 0, "", ""},
		{"a topic that the token names", "/ws?topic=news&topic=public.a&topic=public.a", bearerLine(token), []string{"news", "public.a"}, 0, "", ""},
		{"a topic of another user", "/ws?topic=inbox.bob", bearerLine(token), nil, 403, session.CauseTopic, `"inbox.bob" is not open to this client`},
		{"a topic of nobody", "/ws?topic=secret", bearerLine(token), nil, 403, session.CauseTopic, "auth.subscribe"},
		{"no token", "/ws", "", nil, 401, session.CauseTokenMissing, "as the cookie auth"},
		{"no token, a public topic", "/ws?topic=public.a", "", nil, 401, session.CauseTokenMissing, ""},
		{"a uid without proof", "/ws?uid=ann", "", nil, 401, session.CauseTokenMissing, ""},
		{"a token alone", "/ws", "Sec-WebSocket-Protocol: " + token + "\r\n", nil, 400, session.CauseTokenPlace, ""},
		{"a wrong token", "/ws", bearerLine("x.y.z"), nil, 401, session.CauseTokenMalformed, ""},
	} {
		for range 2 { // the first must not change the claims
			got := ask(a, attempt(t, tt.target, tt.header))
			got.expect(t, tt.name, tt.status, tt.cause, tt.says)
			if tt.status == 0 && (got.grant.UID != "ann" || !slices.Equal(got.grant.Topics, tt.topics) || !slices.Equal(got.grant.Asked, tt.topics[1:])) {
				t.Errorf("%s: %+v", tt.name, got.grant)
			}
		}
	}
	// Each request is counted once, whether it was refused on the shard or by a verifier.
	want := map[string]uint64{"accepted": 12, "topic": 4, "token_missing": 6, "token_place": 2, "token_malformed": 2}
	for name, n := range a.Stats().Tokens {
		if n != want[name] {
			t.Errorf("%d counted as %s, want %d", n, name, want[name])
		}
	}
	a.count.refused("a cause of later") // counts as the last one, and is not lost
	if n := a.Stats().Tokens[string(session.CauseInternal)]; n != 1 {
		t.Errorf("%d counted as internal", n)
	}
}

// Clients without a token, where they may connect.
func TestWithoutToken(t *testing.T) {
	anonymous := start(t, Options{Anonymous: true, Subscribe: []string{"public.*", "inbox.{uid}"}, JWT: JWT{Secret: secret}})
	ask(anonymous, attempt(t, "/ws?topic=public.a", "")).expect(t, "anonymous", 0, "", "")
	ask(anonymous, attempt(t, "/ws?topic=inbox.ann", "")).expect(t, "anonymous, a user's topic", 403, session.CauseTopic, "")
	ask(anonymous, attempt(t, "/ws?uid=ann", "")).expect(t, "anonymous, a uid", 401, session.CauseUID, "")
	ask(anonymous, attempt(t, "/ws?token=", "")).expect(t, "an empty token", 401, session.CauseTokenMissing, "")
	ask(anonymous, attempt(t, "/ws?token=x", "")).expect(t, "a bad token", 401, session.CauseTokenMalformed, "")

	dev := start(t, Options{Unproven: true, JWT: JWT{Secret: secret}})
	if got := ask(dev, attempt(t, "/ws?uid=ann", "")); got.refusal != nil || got.grant.UID != "ann" {
		t.Errorf("in development: %+v", got)
	}
	ask(dev, attempt(t, "/ws", "")).expect(t, "in development, nothing", 401, session.CauseTokenMissing, "")
}

// A full queue is answered at once, and so is what waits when the node stops.
func TestQueueFull(t *testing.T) {
	a, err := New(Options{Queue: 2, RetryAfter: 7 * time.Second, JWT: JWT{Secret: secret}})
	if err != nil {
		t.Fatal(err)
	}
	token := signed(t, "HS256", "", good())
	done := make(chan *ws.Refusal, 2)
	for i := range 4 { // nobody takes from the queue: Start was not called
		_, refusal, pending := a.Authenticate(attempt(t, "/ws", bearerLine(token)), func(_ session.Grant, r *ws.Refusal) { done <- r })
		if pending != (i < 2) {
			t.Fatalf("%d: pending %v", i, pending)
		}
		if i >= 2 && (refusal == nil || refusal.Status != 503 || refusal.Cause != session.CauseAuthQueue || refusal.RetryAfter != 7*time.Second) {
			t.Errorf("%d: %+v", i, refusal)
		}
	}
	if st := a.Stats(); st.QueueFull != 2 || st.Queue != 2 || st.Tokens["auth_queue"] != 2 {
		t.Errorf("%+v", st)
	}
	a.Close()
	for range 2 {
		if r := <-done; r == nil || r.Status != 503 || r.Cause != session.CauseShutdown {
			t.Errorf("after Close: %v", r)
		}
	}
}

// A panic in the verification of a token is a 500 for its client and nobody else.
func TestFault(t *testing.T) {
	a := start(t, Options{JWT: JWT{Secret: secret}, Revoked: func(uid string, _ time.Time) bool {
		if uid == "boom" {
			panic("boom")
		}
		return false
	}})
	login(a, signed(t, "HS256", "", with(map[string]any{"sub": "boom"}))).expect(t, "panic", 500, session.CauseInternal, "fault of this server")
	login(a, signed(t, "HS256", "", good())).expect(t, "the next one", 0, "", "")
}

// Taking a token out of a request and queueing it is all that a shard does. Its
// memory is the token's.
func TestAllocations(t *testing.T) {
	a, err := New(Options{Queue: 1 << 16, JWT: JWT{Secret: secret}})
	if err != nil {
		t.Fatal(err)
	}
	at := attempt(t, "/ws?topic=public.a", "Sec-WebSocket-Protocol: belfry.v1, "+signed(t, "HS256", "", good())+"\r\n")
	if n := testing.AllocsPerRun(1000, func() { a.Authenticate(at, nil) }); n > 12 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkVerify is one verification for each algorithm, without the cache; cached
// is one of a token that is in it.
func BenchmarkVerify(b *testing.B) {
	run := func(name string, cacheBytes int, algorithm string) {
		o := JWT{Secret: secret, Algorithms: []string{algorithm}, CacheBytes: cacheBytes}
		if private()[algorithm] != nil {
			o.Secret, o.PublicKeyFiles = nil, []string{publicFile(b, algorithm)}
		}
		a, err := New(Options{JWT: o})
		if err != nil {
			b.Fatal(err)
		}
		token := signed(b, algorithm, "", good())
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.inForce.Load().verifier.verify(token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for _, algorithm := range []string{"HS256", "RS256", "PS256", "ES256", "ES384", "EdDSA"} {
		run(algorithm, 0, algorithm)
	}
	run("cached", 1<<20, "ES256")
}

// A panic costs one client, and the goroutine goes on.
func TestTokenFault(t *testing.T) {
	a := start(t, Options{Verifiers: 1, JWT: JWT{Secret: secret, Algorithms: []string{"HS256"}}})
	token, keys := signed(t, "HS256", "", good()), a.inForce.Load().verifier.keys
	a.inForce.Load().verifier.keys = func() *keySet { panic("injected") }
	login(a, token).expect(t, "fault", 500, session.CauseInternal, "")
	a.inForce.Load().verifier.keys = keys
	login(a, token).expect(t, "afterwards", 0, "", "")
}
