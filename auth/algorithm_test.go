package auth

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"slices"
	"strings"
	"testing"
)

// rsaKey is a public key with a modulus of that many bits. Nobody has the private one.
func rsaKey(bits uint) *rsa.PublicKey {
	n := new(big.Int).Lsh(big.NewInt(1), bits-1)
	return &rsa.PublicKey{N: n.Add(n, big.NewInt(1)), E: 65537}
}

// A key is for one family of algorithms. Keys that are too short, too expensive or of
// another kind are for none, wherever they come from.
func TestAlgorithmsOf(t *testing.T) {
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		key  any
		want string // algorithms
		says string // of the error, if there are none
	}{
		{"31 bytes", secret[:31], "", "31 bytes; at least 32"},
		{"32 bytes", secret[:32], "HS256", ""},
		{"47 bytes", secret[:47], "HS256", ""},
		{"48 bytes", secret[:48], "HS256 HS384", ""},
		{"63 bytes", secret[:63], "HS256 HS384", ""},
		{"64 bytes", secret[:64], "HS256 HS384 HS512", ""},
		{"200 bytes", slices.Repeat(secret, 4)[:200], "HS256 HS384 HS512", ""},
		{"RSA of 2047 bits", rsaKey(2047), "", "2047 bits; allowed are 2048 to 8192"},
		{"RSA of 2048 bits", rsaKey(2048), "RS256 RS384 RS512 PS256 PS384 PS512", ""},
		{"RSA of 8192 bits", rsaKey(8192), "RS256 RS384 RS512 PS256 PS384 PS512", ""},
		{"RSA of 8193 bits", rsaKey(8193), "", "8193 bits; allowed are 2048 to 8192"},
		{"P-224", &p224.PublicKey, "", "curve P-224; allowed are P-256"},
		{"P-256", private()["ES256"].Public(), "ES256", ""},
		{"P-384", private()["ES384"].Public(), "ES384", ""},
		{"P-521", private()["ES512"].Public(), "ES512", ""},
		{"Ed25519", private()["EdDSA"].Public(), "EdDSA", ""},
		{"X25519", x25519.PublicKey(), "", "not for signatures"},
		{"a private key", private()["ES256"], "", "not for signatures"},
	} {
		got, err := algorithmsOf(tc.key)
		if strings.Join(got, " ") != tc.want || (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %q, %v; want %q, %q", tc.name, got, err, tc.want, tc.says)
		}
	}
}

// Every algorithm that can be allowed is of a key, and none is not among them.
func TestAlgorithmNames(t *testing.T) {
	all := Algorithms()
	if len(all) != 13 || slices.ContainsFunc(all, func(name string) bool { return strings.EqualFold(name, "none") }) {
		t.Errorf("%q", all)
	}
	for _, name := range all {
		if private()[name] == nil && !slices.Contains(hmacAlgorithms, name) {
			t.Errorf("no key is for %s", name)
		}
	}
}
