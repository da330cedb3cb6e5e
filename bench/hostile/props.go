package hostile

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// props are what the nodes of a row need beside themselves: files with keys, and an
// HTTP server that is their identity provider, their webhook and the backend of
// their gateway. In settings {dir} stands for the folder of the files, and {backend}
// for the address of the server.
type props struct {
	dir     string
	key     *ecdsa.PrivateKey // of the identity provider, and of the TLS certificate
	address string
	http    http.Server
	ended   chan struct{} // closed by stop
}

// Files of props.
const (
	publicKeyFile = "public.pem"
	certFile      = "cert.pem"
	keyFile       = "key.pem"
	configFile    = "belfry.yaml"
)

func newProps(config string) (p *props, err error) {
	p = &props{ended: make(chan struct{})}
	if p.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p.address = l.Addr().String()
	if p.dir, err = os.MkdirTemp("", "hostile"); err == nil {
		err = p.files(config)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	p.http.Handler = p.routes()
	go p.http.Serve(l) // ends with Close
	return p, nil
}

func (p *props) stop() {
	if p != nil {
		close(p.ended)
		_ = p.http.Close()
		_ = os.RemoveAll(p.dir)
	}
}

// fill replaces the placeholders in settings and configuration.
func (p *props) fill(text string) string {
	return strings.NewReplacer("{dir}", p.dir, "{backend}", p.address).Replace(text)
}

// files writes the keys, a certificate for localhost and the configuration.
func (p *props) files(config string) error {
	public, err := x509.MarshalPKIXPublicKey(&p.key.PublicKey)
	if err != nil {
		return err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(24 * time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &p.key.PublicKey, p.key)
	if err != nil {
		return err
	}
	for name, block := range map[string]*pem.Block{
		publicKeyFile: {Type: "PUBLIC KEY", Bytes: public},
		certFile:      {Type: "CERTIFICATE", Bytes: cert},
		keyFile:       {Type: "PRIVATE KEY", Bytes: p.private()},
	} {
		if err := os.WriteFile(filepath.Join(p.dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(p.dir, configFile), []byte(p.fill(config)), 0o600)
}

// private returns the key as an attacker process gets it.
func (p *props) private() []byte {
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		panic(err) // of a key that was generated here
	}
	return der
}

// routes are what the server answers.
func (p *props) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/hang", func(_ http.ResponseWriter, r *http.Request) { p.hang(r.Context()) })
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = r.Header["Content-Type"]
		_, _ = io.Copy(w, r.Body) // else the node has given the call up
	})
	mux.HandleFunc("/decide", p.decide)
	mux.HandleFunc("/jwks", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(p.jwks()) })
	return mux
}

// hang answers nothing until the node gives the call up.
func (p *props) hang(ctx context.Context) {
	select {
	case <-p.ended:
	case <-ctx.Done():
	}
}

// hostileQuery marks the handshakes of attackers to the connect webhook.
const hostileQuery = "hostile=1"

// decide is a connect webhook that admits everybody, and hangs for attackers.
func (p *props) decide(w http.ResponseWriter, r *http.Request) {
	var client struct{ Query string }
	if err := json.NewDecoder(r.Body).Decode(&client); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if strings.Contains(client.Query, hostileQuery) {
		p.hang(r.Context())
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// jwks is the JWK set of the identity provider (RFC 7518 §6.2.1).
func (p *props) jwks() []byte {
	point, err := p.key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		panic(err) // of a key that was generated here
	}
	text := base64.RawURLEncoding.EncodeToString
	return fmt.Appendf(nil, `{"keys":[{"kty":"EC","crv":"P-256","alg":"ES256","use":"sig","kid":%q,"x":%q,"y":%q}]}`, keyID, text(point[1:33]), text(point[33:]))
}
