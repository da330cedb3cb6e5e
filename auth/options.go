package auth

import (
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
)

// Options configure an Authenticator.
type Options struct {
	JWT JWT

	Cookie    string   // name of the cookie that may carry a token; "": none
	MaxToken  int      // longest token, in bytes; 0: 4 KiB; beyond: 401
	Anonymous bool     // admit clients without a token, as sessions without a user
	Unproven  bool     // believe ?uid= of clients without a token: for development only
	Subscribe []string // patterns of topics that every client may subscribe to

	// LeaveTopics says that a Webhook behind the Authenticator checks the topics that
	// requests ask for: it may grant more.
	LeaveTopics bool

	Verifiers  int           // goroutines that verify tokens; 0: one for each processor
	Queue      int           // tokens that may wait for a verifier; 0: 4096; beyond: 503
	RetryAfter time.Duration // Retry-After of a 503; 0: 5 s

	// Revoked says whether tokens of a user that were issued at a time are
	// revoked; the time is zero if the token does not say it. Verifiers call it,
	// several at once. nil: no token is.
	Revoked func(uid string, issued time.Time) bool

	Now func() time.Time // nil: time.Now
	Log *zap.Logger      // nil: none
}

// JWT says which JSON Web Tokens are valid.
type JWT struct {
	Secret         []byte   // of HS256, HS384 and HS512; empty: none
	PublicKeyFiles []string // PEM files
	JWKS           string   // file or URL of a JWK set; "": none

	Refresh  time.Duration // time between two readings of JWKS and PublicKeyFiles; 0: 5 min
	Interval time.Duration // least time between two readings because of an unknown key id; 0: 10 s

	Algorithms  []string      // that are allowed; nil: those that fit the keys
	Issuer      string        // iss; "": any
	Audience    []string      // aud must hold one of them; nil: any
	Leeway      time.Duration // how far clocks may differ
	Required    []string      // claims that a token must have
	Claims      ClaimNames
	MaxLifetime time.Duration // longest time from iat (or from now) to the end of a token; 0: any
	CacheBytes  int           // of tokens whose signature is known to be valid; 0: none

	Transport http.RoundTripper // for a JWKS; nil: a transport of its own
}

// Configured says whether there are keys, or a place for them.
func (j *JWT) Configured() bool {
	return len(j.Secret) > 0 || len(j.PublicKeyFiles) > 0 || j.JWKS != ""
}

// fill sets defaults and checks ranges.
func (o *Options) fill() error {
	o.JWT.Claims.fill()
	for _, name := range o.JWT.Algorithms {
		if !slices.Contains(Algorithms(), name) {
			return fmt.Errorf("auth: the algorithm %.16q; allowed are %s", name, strings.Join(Algorithms(), ", "))
		}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return errors.Join(
		fill("MaxToken", &o.MaxToken, 4<<10, 16, 64<<10),
		fill("Verifiers", &o.Verifiers, max(1, runtime.NumCPU()), 1, 1024),
		fill("Queue", &o.Queue, 4096, 1, 1<<20),
		fill("RetryAfter", &o.RetryAfter, 5*time.Second, 1, 24*time.Hour),
		fill("JWT.Refresh", &o.JWT.Refresh, 5*time.Minute, time.Second, 7*24*time.Hour),
		fill("JWT.Interval", &o.JWT.Interval, 10*time.Second, time.Second, 24*time.Hour),
		fill("JWT.Leeway", &o.JWT.Leeway, 0, 0, time.Hour),
		fill("JWT.MaxLifetime", &o.JWT.MaxLifetime, 0, 0, 100*365*24*time.Hour),
		fill("JWT.CacheBytes", &o.JWT.CacheBytes, 0, 0, 1<<40),
	)
}

// fill sets an option that is 0 to its default, and returns an error if it is out of
// range.
func fill[T int | time.Duration](name string, v *T, def, least, most T) error {
	if *v == 0 {
		*v = def
	}
	if *v < least || *v > most {
		return fmt.Errorf("auth: %s is %v; allowed are %v to %v", name, *v, least, most)
	}
	return nil
}
