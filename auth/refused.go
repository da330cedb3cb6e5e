package auth

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"belfry/session"
	"belfry/ws"
)

// refused is why a token is not accepted. Its text never repeats a part of the
// token.
type refused struct {
	cause  ws.Cause
	detail string
}

func (e *refused) Error() string { return e.detail }

func refuse(cause ws.Cause, format string, args ...any) *refused {
	return &refused{cause, "token: " + fmt.Sprintf(format, args...)}
}

// refusal returns the answer to the client: 401, or 503 if the keys are at fault.
func (e *refused) refusal(retryAfter time.Duration) *ws.Refusal {
	if e.cause == session.CauseAuthKeys {
		return ws.Unavailable(e.detail, retryAfter).WithCause(e.cause)
	}
	return ws.Unauthorized(e.detail).WithCause(e.cause)
}

// refuseKeys is for a token that may be valid, and cannot be checked at the moment.
func refuseKeys(detail string) *refused { return refuse(session.CauseAuthKeys, "%s", detail) }

// errUnknownKey is why a token is refused whose key id no key has. The keys may be
// out of date.
var errUnknownKey = refuse(session.CauseTokenKey, "signed by an unknown key: no key here has the id that the header names (kid)")

// parseError returns why the library refused a token before its claims were checked.
func (v *verifier) parseError(err error, set *keySet, t *jwt.Token) *refused {
	var own *refused
	var claim *claimError
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &claim):
		return refuse(session.CauseTokenClaims, "%v", claim)
	case errors.Is(err, jwt.ErrTokenMalformed) || t == nil:
		return refuse(session.CauseTokenMalformed, "not a JSON Web Token: three parts in base64url, the first two of them JSON objects")
	case errors.Is(err, jwt.ErrTokenSignatureInvalid) && t.Method != nil && v.allows(set, t.Method.Alg()):
		return refuse(session.CauseTokenSignature, "the signature is not valid for this server's keys")
	}
	return refuse(session.CauseTokenAlgorithm, "signed with an algorithm that is not allowed here; allowed are %s", strings.Join(set.algorithms, ", "))
}

// claimsError returns why the claims of a token with a valid signature are refused.
func (v *verifier) claimsError(err error, c *claims) *refused {
	now := v.now()
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return refuse(session.CauseTokenExpired, "expired %s ago", ago(now.Sub(c.expires.Time)))
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return refuse(session.CauseTokenEarly, "not valid yet: its time (nbf) begins in %s", ago(c.begins.Sub(now)))
	case errors.Is(err, jwt.ErrTokenInvalidIssuer), errors.Is(err, jwt.ErrTokenRequiredClaimMissing) && c.issuer == "" && v.opt.Issuer != "":
		return refuse(session.CauseTokenClaims, "the issuer (iss) is not the one that is expected here")
	}
	return refuse(session.CauseTokenClaims, "not meant for this server: the audience (aud) does not name it")
}

// ago writes a duration for people, in whole seconds.
func ago(d time.Duration) string {
	d = d.Truncate(time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}
