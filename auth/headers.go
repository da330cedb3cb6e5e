package auth

import (
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
}

// Limits of headers: an issuer has one header for each of its keys.
const (
	maxHeaders = 64
	maxHeader  = 512 // bytes, in base64url
)

func (h *headers) get(set *keySet, text string) *knownHeader {
	known := h.known.Load()
	if known == nil || known.set != set {
		return nil
	}
	return known.tokens[text]
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
	next.tokens[strings.Clone(text)] = &knownHeader{&jwt.Token{Header: t.Header, Method: t.Method}, keys}
	h.known.Store(next)
}

// strict is how the parts of a token are encoded (RFC 7515 §2): a byte has one
// form only.
var strict = base64.RawURLEncoding.Strict()

// checkKnown is checkSignature for a token whose header is known. It does what the
// library does, in the same order. ok is false if the header is not known or the
// token is not well formed: then c holds nothing, and the library says what is
// wrong.
func (v *verifier) checkKnown(token string, set *keySet, c *claims) (ok bool, err error) {
	text, rest, _ := strings.Cut(token, ".")
	h := v.headers.get(set, text)
	if h == nil {
		return false, nil
	}
	payload, last, two := strings.Cut(rest, ".")
	content, err1 := strict.DecodeString(payload)
	signature, err2 := strict.DecodeString(last)
	if !two || err1 != nil || err2 != nil || c.UnmarshalJSON(content) != nil {
		*c = claims{names: c.names, required: c.required}
		return false, nil
	}
	signed := token[:len(token)-len(last)-1]
	for _, k := range h.keys {
		if h.token.Method.Verify(signed, signature, k.value) == nil {
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
