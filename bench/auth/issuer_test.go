package auth

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"belfry/bench"
)

// Each connection has a token of its own, which the key of the node verifies.
func TestTokensAreValid(t *testing.T) {
	const n = 7
	for _, s := range sides[1:] {
		i, err := newIssuer(t.TempDir(), s.algorithm)
		if err != nil {
			t.Fatal(err)
		}
		file, err := i.write(t.Context(), "tokens", n, content{topics: further, expires: true, meta: true})
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		key := i.key
		if i.public != "" {
			data, err := os.ReadFile(i.public)
			if err != nil {
				t.Fatal(err)
			}
			block, _ := pem.Decode(data)
			if key, err = x509.ParsePKIXPublicKey(block.Bytes); err != nil {
				t.Fatal(err)
			}
		}
		lines := strings.Fields(string(text))
		if len(lines) != n {
			t.Fatalf("%s: %d tokens", s.algorithm, len(lines))
		}
		for k, line := range lines {
			var c claims
			if _, err := jwt.ParseWithClaims(line, &c, func(*jwt.Token) (any, error) { return key, nil }, jwt.WithValidMethods([]string{s.algorithm})); err != nil {
				t.Fatalf("%s: %v", s.algorithm, err)
			}
			if c.Subject != bench.UID(k) || len(c.Topics) != 3 || c.ExpiresAt.Before(time.Now()) || len(c.Meta) != metaSize || !json.Valid(c.Meta) {
				t.Errorf("%s: token %d says %+v", s.algorithm, k, c)
			}
		}
	}
}

// What is not asked for is not in the token.
func TestTokensSayNoMore(t *testing.T) {
	c := content{topics: further}.claims(3, time.Now())
	if c.ExpiresAt != nil || c.Meta != nil || len(c.Topics) != 3 {
		t.Errorf("%+v", c)
	}
}
