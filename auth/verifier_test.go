package auth

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"belfry/session"
	"belfry/ws"
)

// A token of every algorithm is accepted, with keys from a file and from a JWK set.
func TestAlgorithms(t *testing.T) {
	var set []map[string]any
	var files []string
	for name, key := range private() {
		set = append(set, jwk(name, key.Public()))
		files = append(files, name)
	}
	for place, o := range map[string]JWT{
		"PEM":  {Secret: secret, PublicKeyFiles: []string{publicFile(t, files...)}},
		"JWKS": {Secret: secret, JWKS: writeFile(t, "jwks.json", jwks(set...))},
	} {
		a := start(t, Options{JWT: o})
		for _, name := range Algorithms() {
			kid := ""
			if place == "JWKS" {
				kid = name
				if strings.HasPrefix(name, "HS") {
					kid = ""
				}
			}
			got := login(a, signed(t, name, kid, good()))
			got.expect(t, place+" "+name, 0, "", "")
			if got.grant.UID != "ann" || got.grant.Expires.IsZero() || got.grant.Issued.IsZero() {
				t.Errorf("%s %s: %+v", place, name, got.grant)
			}
		}
		if n := a.Stats().Tokens["accepted"]; n != uint64(len(Algorithms())) {
			t.Errorf("%s: %d accepted", place, n)
		}
	}
}

// flipped returns a token with one bit of a part changed.
func flipped(token string, part int) string {
	parts := strings.Split(token, ".")
	middle := len(parts[part]) / 2
	c := byte('A')
	if parts[part][middle] == c {
		c = 'B'
	}
	parts[part] = parts[part][:middle] + string(c) + parts[part][middle+1:]
	return strings.Join(parts, ".")
}

// badToken is a token, why it is refused, and a part of the text. cause and says are
// empty for a token that is accepted; only cause, if several are right.
type badToken struct {
	name, token string
	cause       ws.Cause
	says        string
}

// tenant returns the claims that TestBadTokens accepts, with changes.
func tenant(changes map[string]any) map[string]any {
	c := with(map[string]any{"iss": "https://id.example", "aud": "push", "tenant": 7})
	for name, value := range changes {
		if c[name] = value; value == nil {
			delete(c, name)
		}
	}
	return c
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func badSignatures(t *testing.T) []badToken {
	public := must(x509.MarshalPKIXPublicKey(private()["RS256"].Public()))
	asSecret := must(jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims(tenant(nil))).SignedString(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})))
	none := must(jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims(tenant(nil))).SignedString(jwt.UnsafeAllowNoneSignatureType))
	wrongKey := must(Sign(must(rsa.GenerateKey(rand.Reader, 2048)), "RS256", "", tenant(nil)))
	claimsText := must(json.Marshal(tenant(nil)))
	valid := signed(t, "RS256", "", tenant(nil))
	now := time.Now()
	return []badToken{
		{"valid", valid, "", ""},
		{"valid, several audiences", signed(t, "HS256", "", tenant(map[string]any{"aud": []string{"x", "belfry"}})), "", ""},
		{"valid within the leeway", signed(t, "HS256", "", tenant(map[string]any{"exp": now.Add(-3 * time.Second).Unix()})), "", ""},
		{"alg none", none, session.CauseTokenAlgorithm, "allowed are HS256, HS384, RS256"},
		{"alg None", raw(`{"alg":"None"}`, string(claimsText)), session.CauseTokenAlgorithm, "not allowed"},
		{"alg of another case", raw(`{"alg":"hs256"}`, string(claimsText)), session.CauseTokenAlgorithm, "not allowed"},
		{"alg that is not allowed here", signed(t, "HS512", "", tenant(nil)), session.CauseTokenAlgorithm, "not allowed"},
		{"alg is no text", raw(`{"alg":7}`, string(claimsText)), session.CauseTokenAlgorithm, "not allowed"},
		{"HS with the RSA public key", asSecret, session.CauseTokenSignature, "signature"},
		{"wrong key", wrongKey, session.CauseTokenSignature, "signature"},
		{"changed claims", flipped(valid, 1), "", "token: "},
		{"changed signature", flipped(valid, 2), session.CauseTokenSignature, "signature"},
		{"no signature", valid[:strings.LastIndexByte(valid, '.')+1], session.CauseTokenSignature, "signature"},
		{"truncated", valid[:len(valid)/2], "", "token: "},
	}
}

func badForms(t *testing.T) []badToken {
	claimsText := must(json.Marshal(tenant(nil)))
	valid := signed(t, "RS256", "", tenant(nil))
	return []badToken{
		{"header with crit", raw(`{"alg":"HS256","crit":["b64"],"b64":false}`, string(claimsText)), session.CauseTokenMalformed, "crit"},
		{"header with a kid of another type", raw(`{"alg":"HS256","kid":7}`, string(claimsText)), session.CauseTokenMalformed, "kid"},
		{"claims are a list", raw(`{"alg":"HS256"}`, `[]`), session.CauseTokenMalformed, "three parts"},
		{"claims with a name twice", raw(`{"alg":"HS256"}`, `{"sub":"a","sub":"b"}`), session.CauseTokenMalformed, "three parts"},
		{"two parts", valid[:strings.LastIndexByte(valid, '.')], session.CauseTokenMalformed, "three parts"},
		{"four parts", valid + ".x", session.CauseTokenMalformed, "three parts"},
		{"not base64url", "a+b." + valid, session.CauseTokenMalformed, "three parts"},
		{"no JSON", raw(`{`, `{}`), session.CauseTokenMalformed, "three parts"},
		{"undefined", "undefined", session.CauseTokenMalformed, "three parts"},
		{"too long", strings.Repeat("x", 4097), session.CauseTokenSize, "4097 bytes; at most 4096"},
		{"empty", "", session.CauseTokenMissing, "empty"},
	}
}

func badClaims(t *testing.T) []badToken {
	claimsText := must(json.Marshal(tenant(nil)))
	now := time.Now()
	return []badToken{
		{"a required claim is null", raw(`{"alg":"HS256"}`, strings.Replace(string(claimsText), `"tenant":7`, `"tenant":null`, 1)), session.CauseTokenClaims, "tenant is missing"},
		{"exp is huge", raw(`{"alg":"HS256"}`, `{"exp":1e300}`), session.CauseTokenClaims, "claim exp"},
		{"expired", signed(t, "HS256", "", tenant(map[string]any{"exp": now.Add(-12 * time.Second).Unix()})), session.CauseTokenExpired, "token: expired 1"},
		{"not yet valid", signed(t, "HS256", "", tenant(map[string]any{"nbf": now.Add(time.Hour).Unix()})), session.CauseTokenEarly, "nbf"},
		{"wrong issuer", signed(t, "HS256", "", tenant(map[string]any{"iss": "https://evil.example"})), session.CauseTokenClaims, "issuer"},
		{"no issuer", signed(t, "HS256", "", tenant(map[string]any{"iss": nil})), session.CauseTokenClaims, "issuer"},
		{"wrong audience", signed(t, "HS256", "", tenant(map[string]any{"aud": "shop"})), session.CauseTokenClaims, "audience"},
		{"no audience", signed(t, "HS256", "", tenant(map[string]any{"aud": nil})), session.CauseTokenClaims, "audience"},
		{"no exp", signed(t, "HS256", "", tenant(map[string]any{"exp": nil})), session.CauseTokenClaims, "exp is missing"},
		{"exp is a text", signed(t, "HS256", "", tenant(map[string]any{"exp": "soon"})), session.CauseTokenClaims, "claim exp"},
		{"no uid", signed(t, "HS256", "", tenant(map[string]any{"sub": nil})), session.CauseTokenClaims, "sub is missing"},
		{"uid is a number", signed(t, "HS256", "", tenant(map[string]any{"sub": 7})), session.CauseTokenClaims, "claim sub: must be a string"},
		{"uid is empty", signed(t, "HS256", "", tenant(map[string]any{"sub": ""})), session.CauseTokenClaims, "claim sub: uid: 0 bytes"},
		{"uid with a control character", signed(t, "HS256", "", tenant(map[string]any{"sub": "a\nb"})), session.CauseTokenClaims, "control character"},
		{"topic with a wildcard", signed(t, "HS256", "", tenant(map[string]any{"topics": []string{"a.*"}})), session.CauseTokenClaims, "claim topics"},
		{"pattern of NATS", signed(t, "HS256", "", tenant(map[string]any{"subscribe": []string{"a.>"}})), session.CauseTokenClaims, "claim subscribe"},
		{"pattern for publish", signed(t, "HS256", "", tenant(map[string]any{"publish": []string{"a.{uid}x"}})), session.CauseTokenClaims, "claim publish"},
		{"topics of another type", signed(t, "HS256", "", tenant(map[string]any{"topics": 7})), session.CauseTokenClaims, "claim topics"},
		{"topics holds a number", signed(t, "HS256", "", tenant(map[string]any{"topics": []any{"a", 7}})), session.CauseTokenClaims, "claim topics"},
		{"meta is no object", signed(t, "HS256", "", tenant(map[string]any{"meta": "x"})), session.CauseTokenClaims, "claim meta"},
		{"meta is too long", signed(t, "HS256", "", tenant(map[string]any{"meta": map[string]string{"a": strings.Repeat("x", session.MaxMeta)}})), session.CauseTokenClaims, "claim meta"},
		{"unknown limit", signed(t, "HS256", "", tenant(map[string]any{"limits": map[string]any{"idel": 7}})), session.CauseTokenClaims, "claim limits.idel"},
		{"limit out of range", signed(t, "HS256", "", tenant(map[string]any{"limits": map[string]any{"idle": "1ms"}})), session.CauseTokenClaims, "claim limits.idle"},
		{"device class with a blank", signed(t, "HS256", "", tenant(map[string]any{"device_class": "a b"})), session.CauseTokenClaims, "claim device_class: must be 1 to 32 of"},
		{"device class is empty", signed(t, "HS256", "", tenant(map[string]any{"device_class": ""})), session.CauseTokenClaims, "claim device_class"},
		{"device class is a number", signed(t, "HS256", "", tenant(map[string]any{"device_class": 7})), session.CauseTokenClaims, "claim device_class: must be a string"},
		{"revoked", signed(t, "HS256", "", tenant(map[string]any{"sub": "mallory"})), session.CauseTokenRevoked, "revoked"},
	}
}

// Bad tokens of every kind: each gets 401, its cause, and a text that does not
// repeat the token.
func TestBadTokens(t *testing.T) {
	a := start(t, Options{JWT: JWT{
		Secret: secret, PublicKeyFiles: []string{publicFile(t, "RS256", "ES256", "EdDSA")}, Leeway: 5 * time.Second, CacheBytes: 1 << 20,
		Issuer: "https://id.example", Audience: []string{"belfry", "push"}, Required: []string{"exp", "tenant"},
		Algorithms: []string{"HS256", "HS384", "RS256", "ES256", "EdDSA"},
	}, Revoked: func(uid string, _ time.Time) bool { return uid == "mallory" }})
	all := slices.Concat(badSignatures(t), badForms(t), badClaims(t))
	if len(all) < 40 {
		t.Fatalf("%d tokens only", len(all))
	}
	for _, tt := range all {
		for range 2 { // the second time perhaps from the cache
			tt.try(t, a)
		}
	}
}

func (tt *badToken) try(t *testing.T, a *Authenticator) {
	t.Helper()
	before := a.Stats()
	got := login(a, tt.token)
	status, cause := 401, tt.cause
	switch {
	case tt.cause == "" && tt.says == "":
		status = 0
	case tt.cause == "" && got.refusal != nil:
		cause = got.refusal.Cause
	}
	got.expect(t, tt.name, status, cause, tt.says)
	if status == 0 {
		cause = "accepted"
	}
	if n := a.Stats().Tokens[string(cause)] - before.Tokens[string(cause)]; n != 1 {
		t.Errorf("%s: %d counted as %s", tt.name, n, cause)
	}
	if got.refusal == nil {
		return
	}
	for _, part := range strings.Split(tt.token, ".") {
		if len(part) > 12 && strings.Contains(got.refusal.Detail, part[:12]) {
			t.Errorf("%s: the text repeats the token: %s", tt.name, got.refusal.Detail)
		}
	}
}

// What a token grants.
func TestGrant(t *testing.T) {
	a := start(t, Options{JWT: JWT{Secret: secret, Leeway: 30 * time.Second, Claims: ClaimNames{UID: "https://app.example/id", Topics: "rooms"}}})
	exp := time.Now().Add(time.Hour).Truncate(time.Second)
	got := login(a, signed(t, "HS256", "", map[string]any{
		"sub": "ignored", "https://app.example/id": "ann@example", "rooms": []string{"news", "inbox.ann"}, "topics": []string{"ignored"},
		"exp": exp.Unix(), "iat": 1e9 + 0.5, "device_class": "phone",
		"subscribe": []string{"public.*", "inbox.{uid}"}, "publish": "chat.{uid}", "meta": map[string]any{"plan": "gold"},
		"limits": map[string]any{"idle": 600, "ping_interval": "1m30s", "idle_read": 0, "topics": 8, "messages": 0},
	}))
	got.expect(t, "token", 0, "", "")
	g := got.grant
	if g.UID != "ann@example" || !slices.Equal(g.Topics, []string{"news", "inbox.ann"}) || !slices.Equal(g.Subscribe, []string{"public.*", "inbox.{uid}"}) ||
		!slices.Equal(g.Publish, []string{"chat.{uid}"}) || string(g.Meta) != `{"plan":"gold"}` || g.DeviceClass != "phone" {
		t.Errorf("%+v, meta %s", g, g.Meta)
	}
	if want := (session.SessionLimits{Idle: 10 * time.Minute, PingInterval: 90 * time.Second, IdleRead: -1, Topics: 8, Messages: -1}); g.Limits != want {
		t.Errorf("%+v, want %+v", g.Limits, want)
	}
	if !g.Expires.Equal(exp.Add(30*time.Second)) || !g.Issued.Equal(time.Unix(1e9, 5e8)) {
		t.Errorf("expires %v, issued %v", g.Expires, g.Issued)
	}
}

// A token must not live longer than a revocation is remembered.
func TestMaxLifetime(t *testing.T) {
	a := start(t, Options{JWT: JWT{Secret: secret, MaxLifetime: 24 * time.Hour}})
	now := time.Now()
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	for _, tt := range []struct {
		name    string
		claims  map[string]any
		cause   ws.Cause
		says    string
		expires time.Duration
	}{
		{"young", with(nil), "", "", time.Hour},
		{"expires late", with(map[string]any{"exp": at(1000 * time.Hour)}), "", "", 24 * time.Hour},
		{"never expires", with(map[string]any{"exp": nil, "iat": at(-time.Hour)}), "", "", 23 * time.Hour},
		{"old", with(map[string]any{"iat": at(-25 * time.Hour)}), session.CauseTokenExpired, "issued 25 h ago", 0},
		{"of tomorrow", with(map[string]any{"iat": at(time.Hour)}), session.CauseTokenEarly, "clocks differ", 0},
		{"no iat, expires soon", with(map[string]any{"iat": nil}), "", "", time.Hour},
		{"no iat, expires late", with(map[string]any{"iat": nil, "exp": at(25 * time.Hour)}), session.CauseTokenClaims, "iat", 0},
		{"no iat, no exp", with(map[string]any{"iat": nil, "exp": nil}), session.CauseTokenClaims, "iat", 0},
	} {
		got := login(a, signed(t, "HS256", "", tt.claims))
		status := 401
		if tt.cause == "" {
			status = 0
			if d := got.grant.Expires.Sub(now) - tt.expires; d < -2*time.Second || d > 2*time.Second {
				t.Errorf("%s: expires in %v, want %v", tt.name, got.grant.Expires.Sub(now), tt.expires)
			}
		}
		got.expect(t, tt.name, status, tt.cause, tt.says)
	}
}

// The cache keeps signatures, not decisions: a token that expires is refused, and one
// whose key was taken away too.
func TestCache(t *testing.T) {
	now := time.Now()
	file := writeFile(t, "jwks.json", jwks(jwk("one", private()["ES256"].Public())))
	a, err := New(Options{Now: func() time.Time { return now }, JWT: JWT{JWKS: file, CacheBytes: 64 << 10}})
	if err != nil {
		t.Fatal(err)
	}
	v := a.inForce.Load().verifier
	token := signed(t, "ES256", "one", with(map[string]any{"exp": now.Add(time.Minute).Unix()}))
	for want := range uint64(3) {
		if _, err := v.verify(token); err != nil {
			t.Fatal(err)
		}
		if n := v.cache.hits.Load(); n != want {
			t.Fatalf("%d hits, want %d", n, want)
		}
	}
	if _, err := v.verify(flipped(token, 2)); err == nil {
		t.Error("a token with a wrong signature was taken for the one in the cache")
	}
	now = now.Add(2 * time.Minute)
	if _, err := v.verify(token); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("after its time: %v", err)
	}
	now = now.Add(-2 * time.Minute)
	a.inForce.Load().keys.set.Store(newKeySet(nil, now))
	if _, err := v.verify(token); err != error(errUnknownKey) {
		t.Errorf("without its key: %v", err)
	}
}
