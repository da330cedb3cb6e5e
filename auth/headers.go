package auth

import (
	"bytes"
	"encoding/base64"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/golang-jwt/jwt/v5"
)

// headers remembers the headers of tokens that keys have signed. All tokens of an
// issuer begin with the same few bytes, and the library takes longer to read these
// as JSON than to check an HMAC. Only the header of a token whose signature was
// valid is remembered, so that nobody without a key can fill the table.
type headers struct {
	known atomic.Pointer[knownHeaders] // replaced, never changed
	mu    sync.Mutex                   // held to replace known
}

// knownHeaders are headers for one set of keys.
type knownHeaders struct {
	set    *keySet
	tokens map[string]*knownHeader // by the first part of the token, as it came
}

// knownHeader is what a header says.
type knownHeader struct {
	token *jwt.Token // with only the header and the method
	keys  []*key     // to try
	macs  []*mac     // of these keys; nil for a key that is no secret
}

func newKnownHeader(t *jwt.Token, keys []*key) *knownHeader {
	h := &knownHeader{token: &jwt.Token{Header: t.Header, Method: t.Method}, keys: keys}
	for _, k := range keys {
		h.macs = append(h.macs, newMAC(t.Method, k.value))
	}
	return h
}

// signedBy says whether key i has signed the first n bytes of a token.
func (h *knownHeader) signedBy(i int, token []byte, n int, s *scratch) bool {
	if m := h.macs[i]; m != nil {
		return m.verify(token[:n], s.signature)
	}
	return h.token.Method.Verify(string(token[:n]), s.signature, h.keys[i].value) == nil
}

// scratch has the buffers for one token, which are used again for the next one.
type scratch struct{ payload, signature []byte }

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// maxScratch is the longest buffer that is kept, in bytes.
const maxScratch = 8 << 10

// decode decodes the second and third part of a token. It returns false if one is not
// in base64url.
func (s *scratch) decode(payload, signature []byte) bool {
	var err1, err2 error
	s.payload, err1 = strict.AppendDecode(s.payload[:0], payload)
	s.signature, err2 = strict.AppendDecode(s.signature[:0], signature)
	return err1 == nil && err2 == nil
}

// put gives the buffers back. They still hold the claims and the signature of a
// token, as the memory of a process does that has freed them.
func (s *scratch) put() {
	if cap(s.payload)+cap(s.signature) <= maxScratch {
		scratches.Put(s)
	}
}

// Limits of headers: an issuer has one header for each of its keys.
const (
	maxHeaders = 64
	maxHeader  = 512 // bytes, in base64url
)

func (h *headers) get(set *keySet, text []byte) *knownHeader {
	known := h.known.Load()
	if known == nil || known.set != set {
		return nil
	}
	return known.tokens[string(text)]
}

// put remembers the header of a token that one of the keys has signed. Beyond
// maxHeaders nothing is remembered any more.
func (h *headers) put(set *keySet, t *jwt.Token, keys []*key) {
	text, _, _ := strings.Cut(t.Raw, ".")
	if len(text) > maxHeader {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	next := &knownHeaders{set: set, tokens: map[string]*knownHeader{}}
	if known := h.known.Load(); known != nil && known.set == set {
		if len(known.tokens) >= maxHeaders {
			return
		}
		for name, value := range known.tokens {
			next.tokens[name] = value
		}
	}
	next.tokens[strings.Clone(text)] = newKnownHeader(t, keys)
	h.known.Store(next)
}

// strict is how the parts of a token are encoded (RFC 7515 §2): a byte has one
// form only.
var strict = base64.RawURLEncoding.Strict()

var dot = []byte(".")

// checkKnown is checkSignature for a token whose header is known. It does what the
// library does, in the same order. ok is false if the header is not known or the
// token is not well formed: then c holds nothing, and the library says what is
// wrong.
func (v *verifier) checkKnown(token []byte, set *keySet, c *claims) (ok bool, err error) {
	text, rest, _ := bytes.Cut(token, dot)
	h := v.headers.get(set, text)
	if h == nil {
		return false, nil
	}
	payload, last, two := bytes.Cut(rest, dot)
	s := scratches.Get().(*scratch)
	defer s.put()
	if !two || !s.decode(payload, last) || c.UnmarshalJSON(s.payload) != nil {
		c.reset()
		return false, nil
	}
	for i := range h.keys {
		if h.signedBy(i, token, len(token)-len(last)-1, s) {
			c.cheap = isHMAC(h.token.Method)
			return true, nil
		}
	}
	if v.mayBeNew(h.token, set) {
		return true, errUnknownKey
	}
	return true, v.parseError(jwt.ErrTokenSignatureInvalid, set, h.token)
}

func isHMAC(m jwt.SigningMethod) bool {
	_, ok := m.(*jwt.SigningMethodHMAC)
	return ok
}
