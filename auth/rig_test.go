package auth

import (
	"bufio"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"belfry/session"
	"belfry/ws"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// secret is long enough for HS512.
var secret = []byte("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")

// private has a key for each algorithm of a public key; making RSA keys takes time.
var private = sync.OnceValue(func() map[string]crypto.Signer {
	all := map[string]crypto.Signer{}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	for _, name := range rsaAlgorithms {
		all[name] = r
	}
	for name, curve := range map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()} {
		if all[name], err = ecdsa.GenerateKey(curve, rand.Reader); err != nil {
			panic(err)
		}
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	all["EdDSA"] = ed
	return all
})

// publicFile writes public keys to a file of PEM blocks.
func publicFile(t testing.TB, algorithms ...string) string {
	t.Helper()
	var data []byte
	for _, name := range algorithms {
		der, err := x509.MarshalPKIXPublicKey(private()[name].Public())
		if err != nil {
			t.Fatal(err)
		}
		data = append(data, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})...)
	}
	return writeFile(t, "keys.pem", data)
}

func writeFile(t testing.TB, name string, data []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func b64(p []byte) string { return base64.RawURLEncoding.EncodeToString(p) }

// jwk is a public key as a JSON Web Key, written without the library.
func jwk(kid string, public crypto.PublicKey) map[string]any {
	k := map[string]any{"kid": kid, "use": "sig"}
	switch p := public.(type) {
	case *rsa.PublicKey:
		k["kty"], k["n"], k["e"] = "RSA", b64(p.N.Bytes()), b64(big.NewInt(int64(p.E)).Bytes())
	case *ecdsa.PublicKey:
		point, _ := p.Bytes() // 4, x, y
		half := len(point) / 2
		k["kty"], k["crv"], k["x"], k["y"] = "EC", p.Params().Name, b64(point[1:1+half]), b64(point[1+half:])
	case ed25519.PublicKey:
		k["kty"], k["crv"], k["x"] = "OKP", "Ed25519", b64(p)
	}
	return k
}

func jwks(keys ...map[string]any) []byte {
	data, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		panic(err)
	}
	return data
}

// good returns valid claims.
func good() map[string]any {
	return map[string]any{"sub": "ann", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix()}
}

// with returns good claims with changes; nil removes a claim.
func with(changes map[string]any) map[string]any {
	c := good()
	for name, value := range changes {
		if c[name] = value; value == nil {
			delete(c, name)
		}
	}
	return c
}

func signed(t testing.TB, algorithm, kid string, claims map[string]any) string {
	t.Helper()
	var key any = secret
	if !strings.HasPrefix(algorithm, "HS") {
		key = private()[algorithm]
	}
	token, err := Sign(key, algorithm, kid, claims)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// raw returns a token with any header, signed with HS256.
func raw(header, claims string) string {
	text := b64([]byte(header)) + "." + b64([]byte(claims))
	sum, _ := jwt.SigningMethodHS256.Sign(text, secret)
	return text + "." + b64(sum)
}

// start returns a running Authenticator.
func start(t testing.TB, o Options) *Authenticator {
	t.Helper()
	a, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	a.Start()
	t.Cleanup(a.Close)
	return a
}

// attempt parses a request; header has whole lines.
func attempt(t testing.TB, target, header string) *session.Attempt {
	t.Helper()
	p, err := ws.NewParser(ws.ParserOptions{MaxHead: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	r, _, refusal := p.Parse([]byte("GET " + target + " HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n" + header + "\r\n"))
	if refusal != nil {
		t.Fatal(refusal)
	}
	if _, refusal = r.ChooseSubprotocol([]string{"belfry.v1", "belfry.plain"}); refusal != nil {
		t.Fatal(refusal)
	}
	return &session.Attempt{Request: r, Remote: func() netip.AddrPort { return netip.AddrPort{} }}
}

// outcome is what an Authenticator decided.
type outcome struct {
	grant   session.Grant
	refusal *ws.Refusal
}

// ask returns the decision about a request, and waits for it if it comes later.
func ask(a *Authenticator, at *session.Attempt) outcome {
	return waitFor(func(later func(session.Grant, *ws.Refusal)) (session.Grant, *ws.Refusal, bool) {
		return a.Authenticate(at, later)
	})
}

// login is ask for credentials in a command.
func login(a *Authenticator, token string) outcome {
	return waitFor(func(later func(session.Grant, *ws.Refusal)) (session.Grant, *ws.Refusal, bool) {
		return a.Login(&session.Client{}, []byte(token), later)
	})
}

func waitFor(call func(func(session.Grant, *ws.Refusal)) (session.Grant, *ws.Refusal, bool)) outcome {
	done := make(chan outcome, 1)
	g, refusal, pending := call(func(g session.Grant, r *ws.Refusal) { done <- outcome{g, r} })
	if !pending {
		return outcome{g, refusal}
	}
	return <-done
}

// expect checks a refusal: its status, its cause, and that the text says something.
func (o outcome) expect(t *testing.T, what string, status int, cause ws.Cause, says string) {
	t.Helper()
	switch r := o.refusal; {
	case status == 0 && r != nil:
		t.Errorf("%s: %v (%s); want a grant", what, r, r.Cause)
	case status == 0:
	case r == nil:
		t.Errorf("%s: admitted as %+v; want %d", what, o.grant, status)
	case r.Status != status || r.Cause != cause || !strings.Contains(r.Detail, says):
		t.Errorf("%s: %v (%s); want %d, %s, %q", what, r, r.Cause, status, cause, says)
	}
}

func bufioReader(head string) *bufio.Reader { return bufio.NewReader(strings.NewReader(head)) }
