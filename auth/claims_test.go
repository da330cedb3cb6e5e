package auth

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"belfry/message"
	"belfry/session"
)

func readClaims(p []byte) (*claims, error) {
	names := &ClaimNames{}
	names.fill()
	c := &claims{names: names, required: []string{"tenant"}}
	return c, c.UnmarshalJSON(p)
}

// FuzzClaims compares claims with what encoding/json reads. Whatever is accepted must
// keep the rules of a Grant.
func FuzzClaims(f *testing.F) {
	for _, seed := range []string{
		`{"sub":"ann","exp":1e9,"iat":1.5,"nbf":0,"iss":"i","aud":["a","b"],"topics":["a.b"],"subscribe":"a.*","publish":["*"],"meta":{"a":[1]},"limits":{"idle":"5m","topics":3},"device_class":"tv"}`,
		`{"sub":"\u0061","tenant":null}`, `{"sub":"a","sub":"b"}`, `{"SUB":"a"}`, `[]`, `{}`, `{"sub":"\ud800"}`, "{\"sub\":\"\xff\"}", `{"a":{"sub":"x"}} x`, `{"exp":-1}`, `{"exp":"1"}`, `{"limits":{"idle":0,"idle":1}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		c, err := readClaims(p)
		var claim *claimError
		if err != nil && !errors.As(err, &claim) {
			return // not valid JSON, or stricter than encoding/json
		}
		var std map[string]any
		if json.Unmarshal(p, &std) != nil {
			t.Fatalf("accepted, but not by encoding/json: %q, %v", p, err)
		}
		if claim != nil {
			if strings.ContainsAny(claim.Error(), "\r\n") {
				t.Fatalf("%q", claim.Error())
			}
			return
		}
		if uid, ok := std["sub"].(string); c.hasUID && (!ok || uid != c.uid) || ok && !c.hasUID {
			t.Fatalf("%q: uid %q (%v), want %q", p, c.uid, c.hasUID, std["sub"])
		}
		if n, ok := std["exp"].(float64); ok != (c.expires != nil) || ok && c.expires.Sub(time.Unix(int64(n), 0)) >= time.Second {
			t.Fatalf("%q: exp %v, want %v", p, c.expires, n)
		}
		for name, got := range map[string][]string{"topics": c.topics, "subscribe": c.subscribe, "publish": c.publish, "aud": c.audience} {
			var want []string
			switch v := std[name].(type) {
			case string:
				want = []string{v}
			case []any:
				for _, one := range v {
					want = append(want, one.(string))
				}
			}
			if len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) || len(got) > message.MaxTargetNames {
				t.Fatalf("%q: %s is %q, want %q", p, name, got, want)
			}
		}
		if c.meta != nil && (!json.Valid(c.meta) || len(c.meta) > session.MaxMeta || !utf8.Valid(c.meta)) {
			t.Fatalf("meta %q", c.meta)
		}
		if present := std["tenant"] != nil; present != (len(c.missing) == 0) {
			t.Fatalf("%q: missing %q", p, c.missing)
		}
	})
}

// Ranges of the limits of a session.
func TestLimits(t *testing.T) {
	for text, want := range map[string]session.SessionLimits{
		`{}`:                            {},
		`{"idle":1,"idle_write":86400}`: {Idle: time.Second, IdleWrite: 24 * time.Hour},
		`{"idle":1.5}`:                  {Idle: 1500 * time.Millisecond},
		`{"ping_interval":"1h"}`:        {PingInterval: time.Hour},
		`{"ping_interval":0}`:           {PingInterval: -1},
		`{"topics":4096,"messages":1}`:  {Topics: 4096, Messages: 1},
	} {
		if l, err := readLimits("limits", []byte(text)); err != nil || l != want {
			t.Errorf("%s: %+v, %v; want %+v", text, l, err, want)
		}
	}
	for _, text := range []string{
		`[]`, `7`, `{"idle":0.5}`, `{"idle":-1}`, `{"idle":"-1s"}`, `{"idle":86401}`, `{"idle":"x"}`, `{"idle":true}`, `{"idle":1e300}`,
		`{"ping_interval":"61m"}`, `{"topics":0}`, `{"topics":4097}`, `{"topics":1.5}`, `{"topics":"1"}`, `{"messages":-1}`, `{"messages":1000001}`,
		`{"idle":1,"idle":2}`, `{"max":1}`, `{"Idle":1}`,
	} {
		if l, err := readLimits("limits", []byte(text)); err == nil || l != (session.SessionLimits{}) {
			t.Errorf("%s: %+v, %v", text, l, err)
		}
	}
}

// What claims that decide may look like.
func TestDates(t *testing.T) {
	for text, want := range map[string]time.Time{
		`0`: time.Unix(0, 0), `1`: time.Unix(1, 0), `1.5e9`: time.Unix(15e8, 0), `1700000000.25`: time.Unix(1700000000, 25e7), `253402300799`: time.Unix(lastDate, 0),
	} {
		if d, err := date("exp", []byte(text)); err != nil || !d.Equal(want) {
			t.Errorf("%s: %v, %v; want %v", text, d, err, want)
		}
	}
	for _, text := range []string{`-1`, `-0.1`, `253402300800`, `1e18`, `1e400`, `"1700000000"`, `true`, `[1]`, `{}`} {
		if d, err := date("exp", []byte(text)); err == nil {
			t.Errorf("%s: %v", text, d)
		}
	}
	for _, claim := range []string{"exp", "nbf", "iat"} {
		_, err := readClaims([]byte(`{"` + claim + `":"soon"}`))
		var wrong *claimError
		if !errors.As(err, &wrong) || wrong.claim != claim {
			t.Errorf("%s is a text: %v", claim, err)
		}
	}
}
