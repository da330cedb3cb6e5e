package push

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
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
	unnamed := &keyCount{name: keyUnnamed}
	ring := &keyring{none: &keyCount{name: keyNone}}
	ring.all = []*keyCount{ring.none, unnamed}
	for i, key := range keys {
		if key.Secret == "" {
			return nil, fmt.Errorf("push: API key %d is empty", i+1)
		}
		if strings.IndexFunc(key.Secret, func(r rune) bool { return r <= ' ' || r > '~' }) >= 0 {
			return nil, fmt.Errorf("push: API key %d has a character outside printable ASCII without space", i+1)
		}
		count := unnamed
		if key.Name != "" {
			count = &keyCount{name: key.Name}
			for _, other := range ring.all {
				if other.name == key.Name {
					return nil, fmt.Errorf("push: API key %d has the name %s, which is taken", i+1, key.Name)
				}
			}
			ring.all = append(ring.all, count)
		}
		ring.digests = append(ring.digests, sha256.Sum256([]byte(key.Secret)))
		ring.counts = append(ring.counts, count)
	}
	return ring, nil
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
