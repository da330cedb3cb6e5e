package auth

import (
	"context"

	"belfry/session"
	"belfry/ws"
)

// Inspect says what an Authenticator with these options would decide about a token
// at this moment. It reads the keys for it. The error is of the options or the keys.
func Inspect(ctx context.Context, o Options, token string) (session.Grant, *ws.Refusal, error) {
	a, err := New(o)
	if err != nil {
		return session.Grant{}, nil, err
	}
	defer a.stop()
	if IsURL(o.JWT.JWKS) && !a.inForce.Load().keys.readAll(ctx) {
		return session.Grant{}, nil, a.inForce.Load().keys.remote().failed
	}
	if n := len(token); n > a.opt.MaxToken {
		return session.Grant{}, tooLong(n, a.opt.MaxToken), nil
	}
	g, err := a.inForce.Load().verifier.verify(token)
	switch e := err.(type) {
	case nil:
		return g, nil, nil
	case *refused:
		return session.Grant{}, e.refusal(a.opt.RetryAfter), nil
	}
	return session.Grant{}, nil, err
}
