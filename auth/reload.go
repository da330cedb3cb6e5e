package auth

import (
	"context"
	"errors"
	"fmt"
)

// tokens is what decides about tokens: settings of JWT, their keys, and the tokens that
// these are known to have signed.
type tokens struct {
	keys     *source
	verifier *verifier
	stop     func() // ends reading the keys again
}

func newTokens(o Options) (*tokens, error) {
	keys, err := newSource(&o)
	if err != nil {
		return nil, err
	}
	return &tokens{keys: keys, verifier: newVerifier(&o, keys.set.Load)}, nil
}

// read has the keys read again until Close, or until t.stop.
func (a *Authenticator) read(t *tokens) {
	until, stop := context.WithCancel(a.stopping)
	t.stop = stop
	a.running.Go(func() { t.keys.run(until) })
}

// errUnconfigured says that there is no place for keys.
var errUnconfigured = errors.New("auth: no key for tokens; set auth.jwt.secret, auth.jwt.public_key_file or auth.jwt.jwks")

// Prepare reads the keys that a reload has brought, also a JWKS with a URL, and returns
// what puts them in force with the other settings, which cannot fail. MaxLifetime,
// CacheBytes and Transport stay as they are. Tokens that came before are verified anew
// when they come again; open sessions keep what they were granted. If apply is not
// called, nothing is left of the keys. It is called after Start.
func (a *Authenticator) Prepare(j JWT) (apply func(), err error) {
	o := a.opt
	j.MaxLifetime, j.CacheBytes, j.Transport = o.JWT.MaxLifetime, o.JWT.CacheBytes, o.JWT.Transport
	o.JWT = j
	if err := o.fill(); err != nil {
		return nil, err
	}
	if !j.Configured() {
		return nil, errUnconfigured
	}
	next, err := newTokens(o)
	if err != nil {
		return nil, err
	}
	was := a.inForce.Load()
	next.keys.readings = was.keys.readings
	if next.verifier.cache != nil {
		next.verifier.cache.hits = was.verifier.cache.hits
	}
	if IsURL(j.JWKS) && !next.keys.readAll(a.stopping) {
		return nil, fmt.Errorf("auth.jwt.jwks: %w", next.keys.remote().failed)
	}
	return func() { a.change(next) }, nil
}

// change puts tokens in force. Those that wait for keys of the former ones are verified
// with the new ones.
func (a *Authenticator) change(next *tokens) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopping.Err() != nil {
		return
	}
	was := a.inForce.Swap(next)
	a.read(next)
	was.stop()
}
