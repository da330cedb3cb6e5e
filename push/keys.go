package push

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// keyring holds the digests of the API keys. Comparing digests of equal
// length, all of them every time, keeps the time taken independent of how
// much of which key was guessed.
type keyring [][sha256.Size]byte

// newKeyring refuses keys that could not arrive in an Authorization header.
// The errors say which key by its position, not by its content.
func newKeyring(keys []string) (keyring, error) {
	ring := make(keyring, 0, len(keys))
	for i, key := range keys {
		if key == "" {
			return nil, fmt.Errorf("push: API key %d is empty", i+1)
		}
		if strings.IndexFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) >= 0 {
			return nil, fmt.Errorf("push: API key %d has a character outside printable ASCII without space", i+1)
		}
		ring = append(ring, sha256.Sum256([]byte(key)))
	}
	return ring, nil
}

var (
	errNoKey    = errors.New("send an API key as Authorization: Bearer KEY")
	errWrongKey = errors.New("the API key is not one of this server's")
)

// check returns nil if the request carries one of the keys (RFC 6750 §2.1) or
// if there are none.
func (ring keyring) check(r *http.Request) error {
	if len(ring) == 0 {
		return nil
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimLeft(token, " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return errNoKey
	}
	digest := sha256.Sum256([]byte(token))
	found := 0
	for i := range ring {
		found |= subtle.ConstantTimeCompare(digest[:], ring[i][:])
	}
	if found == 0 {
		return errWrongKey
	}
	return nil
}

// challenge is the WWW-Authenticate of a 401 (RFC 6750 §3).
func challenge(err error) string {
	if err == errWrongKey {
		return `Bearer realm="belfry", error="invalid_token"`
	}
	return `Bearer realm="belfry"`
}
