package auth

import (
	"context"
	"testing"
	"time"

	"belfry/session"
)

// Nobody waits for a reading that does not come: a verifier may still look at a token
// when the readings have ended.
func TestNobodyWaitsForKeysAtTheEnd(t *testing.T) {
	p, c := newProvider(t, serves("RS256")), newClock()
	a := start(t, Options{Now: c.Now, JWT: JWT{JWKS: p.URL}})
	login(a, signed(t, "RS256", "RS256", good())).expect(t, "before", 0, "", "")
	c.add(time.Hour)
	a.stop()
	a.running.Wait()
	d, ok := a.decide(&job{token: []byte(signed(t, "ES256", "ES256", good()))})
	if !ok {
		t.Fatal("a token waits for ever")
	}
	outcome{d.grant, d.refusal}.expect(t, "at the end", 503, session.CauseAuthKeys, "stops")
}

// A fault of the parser costs one reading, not the process.
func TestKeysFault(t *testing.T) {
	a, err := New(Options{JWT: JWT{JWKS: writeFile(t, "jwks.json", jwks(jwk("ES256", private()["ES256"].Public())))}})
	if err != nil {
		t.Fatal(err)
	}
	p := a.inForce.Load().keys.parts[0]
	p.sum, p.parse = [32]byte{}, func([]byte) ([]*key, error) { panic("injected") }
	if a.inForce.Load().keys.readPart(context.Background(), p); p.failed == nil || len(p.keys) != 1 {
		t.Errorf("%v, %d keys", p.failed, len(p.keys))
	}
}
