package auth

import (
	"crypto/hmac"
	"hash"
	"sync"

	"github.com/golang-jwt/jwt/v5"
)

// mac checks the HMACs of one key and algorithm. It keeps the hashes, in the state
// that they have after the key: to make one costs as much as to check a token.
// Several goroutines may use it at once.
type mac struct{ hashes sync.Pool }

type macHash struct {
	hash.Hash
	sum [64]byte // room for a result
}

// newMAC returns nil if the method is no HMAC or the key no secret.
func newMAC(method jwt.SigningMethod, value any) *mac {
	m, ok := method.(*jwt.SigningMethodHMAC)
	secret, is := value.([]byte)
	if !ok || !is {
		return nil
	}
	return &mac{sync.Pool{New: func() any { return &macHash{Hash: hmac.New(m.Hash.New, secret)} }}}
}

// verify says whether signature is the HMAC of text (RFC 7518 §3.2). It takes the
// same time for every signature that is wrong.
func (m *mac) verify(text, signature []byte) bool {
	h := m.hashes.Get().(*macHash)
	defer m.hashes.Put(h)
	h.Reset()
	h.Write(text) // never fails
	return hmac.Equal(signature, h.Sum(h.sum[:0]))
}
