package auth

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"belfry/message"
	"belfry/session"
)

// verifier checks tokens. Several goroutines may use it at once.
type verifier struct {
	opt       *JWT
	keys      func() *keySet // those in force
	now       func() time.Time
	parser    *jwt.Parser
	validator *jwt.Validator
	cache     *cache // nil: none
	headers   headers
	revoked   func(uid string, issued time.Time) bool
}

func newVerifier(o *Options, keys func() *keySet) *verifier {
	v := &verifier{opt: &o.JWT, keys: keys, now: o.Now, revoked: o.Revoked}
	if o.JWT.CacheBytes > 0 {
		v.cache = newCache(o.JWT.CacheBytes)
	}
	// The claims are checked apart from the signature, because of the cache.
	v.parser = jwt.NewParser(jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation(), jwt.WithValidMethods(Algorithms()))
	checks := []jwt.ParserOption{jwt.WithLeeway(max(o.JWT.Leeway, 0)), jwt.WithTimeFunc(v.now)}
	if o.JWT.Issuer != "" {
		checks = append(checks, jwt.WithIssuer(o.JWT.Issuer))
	}
	if len(o.JWT.Audience) > 0 {
		checks = append(checks, jwt.WithAudience(o.JWT.Audience...))
	}
	v.validator = jwt.NewValidator(checks...)
	return v
}

// allows says whether some key is used for an algorithm.
func (v *verifier) allows(set *keySet, algorithm string) bool {
	return slices.Contains(set.algorithms, algorithm)
}

// verify returns what a token grants. The error is a *refused; it is errUnknownKey
// if the keys may be out of date.
func (v *verifier) verify(token string) (session.Grant, error) {
	return v.verifyFound([]byte(token), v.find([]byte(token)))
}

// find is cache.find.
func (v *verifier) find(token []byte) (k tokenKey) {
	if v.cache != nil {
		k = v.cache.find(token)
	}
	return k
}

// verifyFound is verify for a token that cache.find was called for. It keeps no part of
// the token.
func (v *verifier) verifyFound(token []byte, k tokenKey) (session.Grant, error) {
	set := v.keys()
	if c := v.cached(token, &k, set); c != nil {
		v.cache.hits.Add(1)
		return v.granted(c)
	}
	c := newClaims(v.opt)
	if err := v.checkSignature(token, set, c); err != nil {
		return session.Grant{}, err
	}
	kept := v.cache != nil && v.cache.put(&k, set, c)
	g, err := v.granted(c)
	if !kept {
		c.free()
	}
	return g, err
}

// cached returns the claims of a token that is in the cache, nil if it is not. Another
// verifier may have put it there since cache.find.
func (v *verifier) cached(token []byte, k *tokenKey, set *keySet) *claims {
	if v.cache == nil {
		return nil
	}
	if !k.hashed && (!set.cheap || v.cache.isMarked(k)) {
		k.hash, k.hashed = v.cache.hash(token), true
	}
	if !k.hashed {
		return nil
	}
	c := v.cache.get(&k.hash, set)
	if c != nil {
		v.cache.mark(k)
	}
	return c
}

// granted returns what claims grant if they are valid at this moment.
func (v *verifier) granted(c *claims) (session.Grant, error) {
	if err := v.check(c); err != nil {
		return session.Grant{}, err
	}
	return v.grant(c), nil
}

// recall returns what a token grants if its signature is known to be valid and its
// claims are at this moment. Otherwise verifyFound says what is wrong.
//
// A shard calls it. What must not run on a shard is what takes long, or what a client can
// make long: signatures, base64 and JSON. recall hashes bytes that the shard has just
// read and parsed, looks into a table without a lock, and compares times and names, as
// package session does with every grant. That takes less than 1 µs. A verifier would
// take several: it is woken, and wakes the shard.
func (v *verifier) recall(token []byte) (g session.Grant, k tokenKey, ok bool) {
	if v.cache == nil {
		return g, k, false
	}
	if k = v.cache.find(token); !k.hashed {
		return g, k, false
	}
	c := v.cache.get(&k.hash, v.keys())
	if c == nil || v.check(c) != nil {
		return g, k, false
	}
	v.cache.hits.Add(1)
	return v.grant(c), k, true
}

// checkSignature reads a token into c if one of the keys has signed it.
func (v *verifier) checkSignature(token []byte, set *keySet, c *claims) error {
	if bytes.ContainsAny(token, "\r\n") { // RFC 7515 §2 allows none; package encoding/base64 skips them
		return refuse(session.CauseTokenMalformed, "not a JSON Web Token: it has a line break")
	}
	if known, err := v.checkKnown(token, set, c); known {
		return err
	}
	var wrong error // a claim that is wrong; told only if the signature is valid
	t, err := v.parser.ParseWithClaims(string(token), &tolerant{c, &wrong}, func(t *jwt.Token) (any, error) { return v.keysFor(t, set) })
	if err == nil {
		err = wrong
	}
	if err == nil {
		c.cheap = isHMAC(t.Method)
		id, _ := t.Header["kid"].(string)
		keys, _ := set.find(t.Method.Alg(), id) // the same as keysFor has found
		v.headers.put(set, t, keys)
		return nil
	}
	if errors.Is(err, errUnknownKey) || errors.Is(err, jwt.ErrTokenSignatureInvalid) && v.mayBeNew(t, set) {
		return errUnknownKey
	}
	return v.parseError(err, set, t)
}

// mayBeNew says whether a token whose signature no key without an id has made may be
// signed by a key that its provider has published since the last reading.
func (v *verifier) mayBeNew(t *jwt.Token, set *keySet) bool {
	id, _ := t.Header["kid"].(string)
	return id != "" && v.opt.JWKS != "" && !set.has(id) && t.Method != nil && v.allows(set, t.Method.Alg())
}

// tolerant reads claims and keeps the error about a wrong one, so that the library
// goes on to check the signature.
type tolerant struct {
	*claims
	wrong *error
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *tolerant) UnmarshalJSON(p []byte) error {
	err := t.claims.UnmarshalJSON(p)
	var claim *claimError
	if errors.As(err, &claim) {
		*t.wrong, err = claim, nil
	}
	return err
}

// keysFor returns the keys to try for a token whose signature is not checked yet.
func (v *verifier) keysFor(t *jwt.Token, set *keySet) (any, error) {
	if _, critical := t.Header["crit"]; critical { // RFC 7515 §4.1.11
		return nil, refuse(session.CauseTokenMalformed, "its header has critical extensions (crit), which this server does not understand")
	}
	id := ""
	if value, there := t.Header["kid"]; there {
		var ok bool
		if id, ok = value.(string); !ok {
			return nil, refuse(session.CauseTokenMalformed, "the key id in its header (kid) is not a string")
		}
	}
	algorithm := t.Method.Alg()
	keys, more := set.find(algorithm, id)
	switch {
	case more:
		return nil, refuse(session.CauseTokenKey, "its header names no key (kid), and more than %d keys could have signed it", maxTried)
	case len(keys) > 0:
		tried := jwt.VerificationKeySet{Keys: make([]jwt.VerificationKey, len(keys))}
		for i, k := range keys {
			tried.Keys[i] = k.value
		}
		return tried, nil
	case len(v.opt.Algorithms) > 0 && !slices.Contains(v.opt.Algorithms, algorithm),
		!v.allows(set, algorithm) && (v.opt.JWKS == "" || len(set.keys) > 0 && id == ""):
		return nil, refuse(session.CauseTokenAlgorithm, "signed with an algorithm that is not allowed here; allowed are %s", strings.Join(set.algorithms, ", "))
	case set.has(id):
		return nil, refuse(session.CauseTokenKey, "the key that its header names (kid) is not for the algorithm that it names (alg)")
	}
	return nil, errUnknownKey
}

// check checks the claims at this moment.
func (v *verifier) check(c *claims) error {
	if err := v.validator.Validate(c); err != nil {
		return v.claimsError(err, c)
	}
	switch {
	case len(c.missing) > 0:
		return refuse(session.CauseTokenClaims, "the claim %s is missing (auth.jwt.required)", strings.Join(c.missing, ", "))
	case !c.hasUID:
		return refuse(session.CauseTokenClaims, "the claim %s is missing, which names the user (auth.jwt.uid_claim)", v.opt.Claims.UID)
	}
	if err := v.checkNames(c); err != nil {
		return refuse(session.CauseTokenClaims, "%v", err)
	}
	return v.checkAge(c)
}

// checkNames checks the names in claims by the rules of package message. The server
// checks them too, but takes a fault for one of its own.
func (v *verifier) checkNames(c *claims) error {
	if err := message.CheckUID(c.uid); err != nil {
		return &claimError{v.opt.Claims.UID, err.Error()}
	}
	for _, topic := range c.topics {
		if err := message.CheckTopic(topic); err != nil {
			return &claimError{v.opt.Claims.Topics, err.Error()}
		}
	}
	if err := message.CheckPatterns(c.subscribe); err != nil {
		return &claimError{v.opt.Claims.Subscribe, err.Error()}
	}
	if err := message.CheckPatterns(c.publish); err != nil {
		return &claimError{v.opt.Claims.Publish, err.Error()}
	}
	return nil
}

// checkAge refuses tokens that live too long, so that a revocation can be forgotten
// after that time, and those that were revoked.
func (v *verifier) checkAge(c *claims) error {
	now, most := v.now(), v.opt.MaxLifetime
	if most > 0 {
		switch {
		case c.issued != nil && now.Sub(c.issued.Time) > most+v.leeway():
			return refuse(session.CauseTokenExpired, "issued %s ago; tokens are valid for at most %v (auth.max_lifetime)", ago(now.Sub(c.issued.Time)), most)
		case c.issued != nil && c.issued.Sub(now) > v.leeway():
			return refuse(session.CauseTokenEarly, "issued in the future (iat): the clocks differ by %s", ago(c.issued.Sub(now)))
		case c.issued == nil && (c.expires == nil || c.expires.Sub(now) > most):
			return refuse(session.CauseTokenClaims, "without a time of issue (iat) it must expire within %v (auth.max_lifetime)", most)
		}
	}
	issued := time.Time{}
	if c.issued != nil {
		issued = c.issued.Time
	}
	if v.revoked != nil && v.revoked(c.uid, issued) {
		return refuse(session.CauseTokenRevoked, "revoked; log in again")
	}
	return nil
}

func (v *verifier) leeway() time.Duration { return max(v.opt.Leeway, 0) }

// grant returns what the claims of a valid token grant. The session ends when the
// token does: with the leeway, so that a token that is accepted opens a session.
func (v *verifier) grant(c *claims) session.Grant {
	g := session.Grant{UID: c.uid, Topics: c.topics, Subscribe: c.subscribe, Publish: c.publish, Meta: c.meta, Limits: c.limits, DeviceClass: c.deviceClass}
	if c.issued != nil {
		g.Issued = c.issued.Time
	}
	if c.expires != nil {
		g.Expires = c.expires.Add(v.leeway())
	}
	if most := v.opt.MaxLifetime; most > 0 && c.issued != nil {
		if last := c.issued.Add(most + v.leeway()); g.Expires.IsZero() || last.Before(g.Expires) {
			g.Expires = last
		}
	}
	return g
}
