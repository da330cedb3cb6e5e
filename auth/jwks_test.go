package auth

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"
)

// certificate returns a certificate of a key, signed by itself, in DER.
func certificate(t *testing.T, algorithm string) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "id"}, NotAfter: time.Now().Add(-time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private()[algorithm].Public(), private()[algorithm])
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// A key of a JWK set is used for what it is meant for, and only its own numbers count.
func TestJWK(t *testing.T) {
	with := func(algorithm string, members map[string]any) map[string]any {
		k := jwk("k", private()[algorithm].Public())
		for name, value := range members {
			if k[name] = value; value == nil {
				delete(k, name)
			}
		}
		return k
	}
	oct := map[string]any{"kid": "k", "kty": "oct", "k": b64(secret)}
	other := newEC(t)
	foreign := with("ES256", map[string]any{"x5c": []string{base64.StdEncoding.EncodeToString(certificate(t, "RS256"))}, "x5u": "https://evil.example/x"})
	for _, tc := range []struct {
		name    string
		key     map[string]any
		secrets bool
		allowed []string
		want    string // its algorithms
		says    string // of the error, if there are none
	}{
		{"for signatures", with("ES256", nil), false, nil, "ES256", ""},
		{"for nothing in particular", with("ES256", map[string]any{"use": nil}), false, nil, "ES256", ""},
		{"for encryption", with("ES256", map[string]any{"use": "enc"}), false, nil, "", "not for signatures (use)"},
		{"for verification", with("ES256", map[string]any{"key_ops": []string{"verify"}}), false, nil, "ES256", ""},
		{"for signing", with("ES256", map[string]any{"key_ops": []string{"sign"}}), false, nil, "", "not for verification (key_ops)"},
		{"for one algorithm", with("RS256", map[string]any{"alg": "PS384"}), false, nil, "PS384", ""},
		{"for an algorithm of another family", with("RS256", map[string]any{"alg": "HS256"}), false, nil, "", "none of these is allowed"},
		{"for an algorithm that is not allowed", with("RS256", map[string]any{"alg": "RS256"}), false, []string{"PS256"}, "", "none of these is allowed"},
		{"for two that are allowed", with("RS256", nil), false, []string{"RS512", "ES256", "PS256"}, "RS512 PS256", ""},
		{"a secret in a file", oct, true, nil, "HS256 HS384 HS512", ""},
		{"a secret that was published", oct, false, nil, "", "symmetric key in a set that was published"},
		{"with the certificate of another key", foreign, false, nil, "ES256", ""},
		{"RSA of 1024 bits", jwk("k", rsaKey(1024)), false, nil, "", "1024 bits"},
		{"no numbers", map[string]any{"kty": "EC", "crv": "P-256"}, false, nil, "", `not a valid key of the type "EC"`},
		{"another type", map[string]any{"kty": "PQC"}, false, nil, "", `not a valid key of the type "PQC"`},
	} {
		for _, more := range []bool{false, true} { // beside a key that is good, it is skipped
			set := []map[string]any{tc.key}
			if more {
				set = append(set, jwk("other", other.Public()))
			}
			keys, err := readJWKS(jwks(set...), tc.secrets, append(tc.allowed, allowMore(tc.allowed, more)...))
			switch {
			case tc.says != "" && !more:
				if err == nil || !strings.Contains(err.Error(), tc.says) {
					t.Errorf("%s: %v, want %q", tc.name, err, tc.says)
				}
			case err != nil:
				t.Errorf("%s: %v", tc.name, err)
			case tc.says != "" && (len(keys) != 1 || keys[0].id != "other"):
				t.Errorf("%s: %d keys", tc.name, len(keys))
			case tc.says == "" && (keys[0].id != "k" || strings.Join(keys[0].algorithms, " ") != tc.want):
				t.Errorf("%s: %+v, want %s", tc.name, keys[0], tc.want)
			}
		}
	}
}

// allowMore returns what a P-256 key needs beside algorithms that are allowed.
func allowMore(allowed []string, more bool) []string {
	if more && len(allowed) > 0 {
		return []string{"ES256"}
	}
	return nil
}

// A PEM file may hold certificates and several kinds of public keys. Their dates do not
// matter: the keys are the operator's choice.
func TestPEM(t *testing.T) {
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	pkix := must(x509.MarshalPKIXPublicKey(private()["EdDSA"].Public()))
	pkcs1 := x509.MarshalPKCS1PublicKey(private()["RS256"].Public().(*rsa.PublicKey))
	a := start(t, Options{JWT: JWT{PublicKeyFiles: []string{
		writeFile(t, "all.pem", bytes.Join([][]byte{[]byte("# comment\n"), block("CERTIFICATE", certificate(t, "ES256")), block("PUBLIC KEY", pkix), block("RSA PUBLIC KEY", pkcs1)}, nil)),
	}}})
	for _, name := range []string{"ES256", "EdDSA", "RS256", "PS512"} {
		login(a, signed(t, name, "", good())).expect(t, name, 0, "", "")
	}
	if n := a.Stats().Keys; n != 3 {
		t.Errorf("%d keys", n)
	}
	private8 := must(x509.MarshalPKCS8PrivateKey(private()["EdDSA"]))
	for name, data := range map[string][]byte{
		"a private key behind a public one": append(block("PUBLIC KEY", pkix), block("PRIVATE KEY", private8)...),
		"another block":                     block("CERTIFICATE REQUEST", pkix),
		"a short RSA key":                   block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(rsaKey(1024))),
		"too long":                          append(block("PUBLIC KEY", pkix), bytes.Repeat([]byte("# padding\n"), maxKeyFile/10)...),
	} {
		_, err := New(Options{JWT: JWT{PublicKeyFiles: []string{writeFile(t, "bad.pem", data)}}})
		if err == nil || !strings.HasPrefix(err.Error(), "auth.jwt.public_key_file: ") {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), fmt.Sprintf("%.20s", base64.StdEncoding.EncodeToString(private8))) {
			t.Errorf("%s: the error repeats the key: %v", name, err)
		}
	}
}
