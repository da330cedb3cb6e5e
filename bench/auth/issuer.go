package auth

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"belfry/bench"
)

// issuer signs tokens with one key. Its files are in a folder of the run.
type issuer struct {
	folder string
	method jwt.SigningMethod
	key    any    // that signs
	public string // file with the public key; "" with a secret
}

// newIssuer makes a key for an algorithm, and the file with its public half.
func newIssuer(folder, algorithm string) (*issuer, error) {
	i := &issuer{folder: folder, method: jwt.GetSigningMethod(algorithm)}
	var public any
	var err error
	switch algorithm {
	case "HS256":
		i.key = []byte(rand.Text() + rand.Text())
		return i, nil
	case "EdDSA":
		public, i.key, err = ed25519.GenerateKey(rand.Reader)
	case "RS256":
		var key *rsa.PrivateKey
		if key, err = rsa.GenerateKey(rand.Reader, 2048); err == nil {
			i.key, public = key, &key.PublicKey
		}
	case "ES256":
		var key *ecdsa.PrivateKey
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err == nil {
			i.key, public = key, &key.PublicKey
		}
	default:
		err = fmt.Errorf("%s: not an algorithm of this scenario", algorithm)
	}
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	i.public = filepath.Join(folder, algorithm+".pem")
	return i, os.WriteFile(i.public, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600)
}

// server returns the environment and the arguments of a node that accepts the
// tokens. It remembers all of them, so that those that come back are known.
func (i *issuer) server() (env, args []string) {
	if secret, ok := i.key.([]byte); ok {
		return []string{"BELFRY_AUTH_JWT_SECRET=" + string(secret)}, nil
	}
	return nil, []string{"--set", "auth.jwt.public_key_file=" + i.public, "--set", "auth.jwt.cache=64MiB"}
}

// content is what a token says beside the user.
type content struct {
	topics  []string // beside the connection's own
	expires bool
	meta    bool // an object of metaSize bytes

	users     int // line n is the token of user n modulo this; 0: each is of its own user
	ownTopics int // how many different own topics there are; 0: benchTopic
}

const (
	metaSize   = 64 // bytes
	benchTopic = 100
	lifetime   = time.Hour
)

type claims struct {
	jwt.RegisteredClaims
	Topics []string        `json:"topics,omitempty"`
	Meta   json.RawMessage `json:"meta,omitempty"`
}

// claims returns those of the n-th token.
func (c content) claims(n int, now time.Time) *claims {
	t := &claims{Topics: append([]string{fmt.Sprintf("bench.%d", n%cmp.Or(c.ownTopics, benchTopic))}, c.topics...)}
	t.Subject, t.IssuedAt = bench.UID(n), jwt.NewNumericDate(now)
	if c.expires {
		t.ExpiresAt = jwt.NewNumericDate(now.Add(lifetime))
	}
	if c.meta {
		t.Meta = meta(n)
	}
	return t
}

// meta is different for each token, as what a team keeps of its users is.
func meta(n int) json.RawMessage {
	text := fmt.Sprintf(`{"plan":"gold","tenant":"t%06d","name":"`, n)
	return json.RawMessage(text + strings.Repeat("x", metaSize-len(text)-2) + `"}`)
}

// write signs the tokens of n connections on all processors and returns the file with
// them.
func (i *issuer) write(ctx context.Context, name string, n int, c content) (string, error) {
	users := min(cmp.Or(c.users, n), n)
	tokens, width, now := make([]string, users, n), runtime.NumCPU(), time.Now()
	err := bench.Parallel(ctx, width, width, func(ctx context.Context, part int) (err error) {
		for k := part; k < users && err == nil && ctx.Err() == nil; k += width {
			tokens[k], err = jwt.NewWithClaims(i.method, c.claims(k, now)).SignedString(i.key)
		}
		return err
	})
	if err != nil {
		return "", err
	}
	for k := users; k < n; k++ {
		tokens = append(tokens, tokens[k-users])
	}
	file := filepath.Join(i.folder, name)
	return file, os.WriteFile(file, []byte(strings.Join(tokens, "\n")+"\n"), 0o600)
}
