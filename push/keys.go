package push

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
)

// Key is an API key.
type Key struct {
	Name   string // its name in metrics and logs; "" for a key without a name
	Secret string
}

// Names in metrics and logs for requests without a valid key, and for requests
// with a key that has no name.
const (
	keyNone    = "none"
	keyUnnamed = "unnamed"
)

// keyCount counts requests and pushes with a key.
type keyCount struct {
	name             string
	requests, pushes atomic.Uint64
}

// keyring has the digests of the API keys. Every check compares all digests, which
// have the same length. So the time of a check does not show how much of a key was
// guessed.
type keyring struct {
	digests [][sha256.Size]byte
	counts  []*keyCount // one for each digest; keys without a name share one
	none    *keyCount
	all     []*keyCount // each keyCount once
}

// newKeyring returns an error for keys that cannot be sent in an Authorization
// header. The error names a key by its position and does not contain it.
func newKeyring(keys []Key) (*keyring, error) {
	none, unnamed := &keyCount{name: keyNone}, &keyCount{name: keyUnnamed}
	return (&keyring{none: none, all: []*keyCount{none, unnamed}}).with(keys)
}

// with returns a keyring with other keys that goes on counting where ring is. A name
// whose key is gone keeps its counts, so that no counter falls.
func (ring *keyring) with(keys []Key) (*keyring, error) {
	next := &keyring{none: ring.none, all: slices.Clone(ring.all)}
	taken := map[string]bool{}
	for i, key := range keys {
		if key.Secret == "" {
			return nil, fmt.Errorf("push: API key %d is empty", i+1)
		}
		if strings.IndexFunc(key.Secret, func(r rune) bool { return r <= ' ' || r > '~' }) >= 0 {
			return nil, fmt.Errorf("push: API key %d has a character outside printable ASCII without space", i+1)
		}
		name := cmp.Or(key.Name, keyUnnamed)
		if taken[key.Name] || key.Name == keyNone || key.Name == keyUnnamed {
			return nil, fmt.Errorf("push: API key %d has the name %s, which is taken", i+1, key.Name)
		}
		taken[key.Name] = key.Name != ""
		next.digests = append(next.digests, sha256.Sum256([]byte(key.Secret)))
		next.counts = append(next.counts, next.count(name))
	}
	return next, nil
}

// count returns the keyCount of a name.
func (ring *keyring) count(name string) *keyCount {
	for _, c := range ring.all {
		if c.name == name {
			return c
		}
	}
	c := &keyCount{name: name}
	ring.all = append(ring.all, c)
	return c
}

// PrepareKeys returns a function that puts other keys in the place of the present
// ones; it cannot fail. A request that is being served goes on. Keys cannot be taken
// from a Server that has some, nor given to one without: that changes which requests
// are checked for their Host. It may be called from any goroutine, by one at a time.
func (s *Server) PrepareKeys(keys []Key) (apply func(), err error) {
	ring := s.keys.Load()
	if (len(keys) == 0) != (len(ring.digests) == 0) {
		return nil, errors.New("push: the first API key and the last one need a restart")
	}
	next, err := ring.with(keys)
	if err != nil {
		return nil, err
	}
	return func() { s.keys.Store(next) }, nil
}

var (
	errNoKey    = errors.New("send an API key, once, as Authorization: Bearer KEY")
	errWrongKey = errors.New("this server does not know the API key")
)

// check returns the keyCount for a request. The error is nil if the request has
// one of the keys (RFC 6750 §2.1), or if there are no keys.
func (ring *keyring) check(r *http.Request) (*keyCount, error) {
	if len(ring.digests) == 0 {
		return ring.none, nil
	}
	given, once := single(r.Header, "Authorization")
	scheme, token, _ := strings.Cut(given, " ")
	token = strings.TrimLeft(token, " ")
	if !once || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return ring.none, errNoKey
	}
	digest := sha256.Sum256([]byte(token))
	found := 0 // 1 + the index of the key, of the last one among equal keys
	for i := range ring.digests {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(digest[:], ring.digests[i][:]), i+1, found)
	}
	if found == 0 {
		return ring.none, errWrongKey
	}
	return ring.counts[found-1], nil
}

// challenge returns the WWW-Authenticate header of a 401 (RFC 6750 §3).
func challenge(err error) string {
	if err == errWrongKey {
		return `Bearer realm="belfry", error="invalid_token"`
	}
	return `Bearer realm="belfry"`
}
