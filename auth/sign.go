package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// Sign returns a token with the given claims, for trying things out. key is a
// []byte, an *rsa.PrivateKey, an *ecdsa.PrivateKey or an ed25519.PrivateKey.
// algorithm "" means the first one that fits the key; id is the kid, "" for none.
func Sign(key any, algorithm, id string, claims map[string]any) (string, error) {
	public := key
	if private, ok := key.(crypto.Signer); ok {
		public = private.Public()
	}
	fits, err := algorithmsOf(public)
	if err != nil {
		return "", err
	}
	if algorithm == "" {
		algorithm = fits[0]
	}
	if !slices.Contains(fits, algorithm) {
		return "", fmt.Errorf("the key does not fit the algorithm %.16q; it fits %s", algorithm, strings.Join(fits, ", "))
	}
	t := jwt.NewWithClaims(jwt.GetSigningMethod(algorithm), jwt.MapClaims(claims))
	if id != "" {
		t.Header["kid"] = id
	}
	return t.SignedString(key)
}

// ReadPrivateKey returns the key in the first PEM block of a file: PKCS #8, PKCS #1,
// or SEC 1. Its errors repeat nothing of the file.
func ReadPrivateKey(name string) (any, error) {
	data, err := readFile(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			return nil, fmt.Errorf("%s: no private key in it; allowed are PEM blocks PRIVATE KEY, RSA PRIVATE KEY and EC PRIVATE KEY", name)
		}
		data = rest
		var key any
		switch block.Type {
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			err = errors.New("it has a password; decrypt it first (openssl pkey)")
		default: // EC PARAMETERS, a certificate
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		switch key.(type) {
		case *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey:
			return key, nil
		}
		return nil, fmt.Errorf("%s: a key that is not for signatures; allowed are RSA, ECDSA and Ed25519", name)
	}
}
