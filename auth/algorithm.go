package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
	"slices"
	"strings"
)

// Algorithms are the names of the signature algorithms that can be allowed (RFC 7518
// §3.1, RFC 8037 §3.1). "none" is not one of them.
func Algorithms() []string {
	return slices.Concat(hmacAlgorithms, rsaAlgorithms, []string{"ES256", "ES384", "ES512", "EdDSA"})
}

var (
	hmacAlgorithms = []string{"HS256", "HS384", "HS512"}
	rsaAlgorithms  = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
)

// Bounds of the modulus of an RSA key, in bits: RFC 7518 §3.3 demands 2048, and a
// much longer one would make each verification expensive.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// MinSecret is the least length of the secret of HS256 in bytes: that of its hash
// (RFC 7518 §3.2).
const MinSecret = 32

// algorithmsOf returns the algorithms that a key is for. A key belongs to one family
// of algorithms, whatever a token's header says: the public key of RS256, which
// everybody knows, is never the secret of HS256.
func algorithmsOf(key any) ([]string, error) {
	switch k := key.(type) {
	case []byte:
		// As long as the hash at least: 32, 48, 64 bytes.
		if n := len(k); n < MinSecret {
			return nil, fmt.Errorf("a secret of %d bytes; at least %d are needed (RFC 7518 §3.2)", n, MinSecret)
		}
		return hmacAlgorithms[:min(len(k)/16-1, len(hmacAlgorithms))], nil
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return nil, fmt.Errorf("an RSA key of %d bits; allowed are %d to %d", bits, minRSABits, maxRSABits)
		}
		return rsaAlgorithms, nil
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return []string{"ES256"}, nil
		case elliptic.P384():
			return []string{"ES384"}, nil
		case elliptic.P521():
			return []string{"ES512"}, nil
		}
		return nil, fmt.Errorf("a key on the curve %s; allowed are P-256, P-384 and P-521", k.Curve.Params().Name)
	case ed25519.PublicKey:
		return []string{"EdDSA"}, nil
	}
	return nil, fmt.Errorf("a key that is not for signatures (%T); allowed are RSA, ECDSA and Ed25519", key)
}

// key is a key with the algorithms that it is used for.
type key struct {
	id         string // kid; "" for none
	algorithms []string
	value      any // []byte, *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

// newKey returns a key for those of its algorithms that are allowed (nil: all). alg,
// if it is not empty, is the only one that the key is meant for (RFC 7517 §4.4).
func newKey(id, alg string, value any, allowed []string) (*key, error) {
	algorithms, err := algorithmsOf(value)
	if err != nil {
		return nil, err
	}
	k := &key{id: id, value: value}
	for _, name := range algorithms {
		if (alg == "" || alg == name) && (len(allowed) == 0 || slices.Contains(allowed, name)) {
			k.algorithms = append(k.algorithms, name)
		}
	}
	if len(k.algorithms) == 0 {
		return nil, fmt.Errorf("a key for %s; none of these is allowed", strings.Join(algorithms, ", "))
	}
	return k, nil
}
