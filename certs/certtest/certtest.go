// Package certtest makes certificates for tests.
package certtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// CA signs certificates.
type CA struct {
	tb   testing.TB
	cert *x509.Certificate
	key  crypto.Signer
	pem  []byte
}

// NewCA makes a CA.
func NewCA(tb testing.TB) *CA {
	tb.Helper()
	ca := &CA{tb: tb, key: newKey(tb)}
	template := &x509.Certificate{
		SerialNumber: serial(tb), Subject: pkix.Name{CommonName: "a CA for tests"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, ca.key.Public(), ca.key)
	if err != nil {
		tb.Fatal(err)
	}
	if ca.cert, err = x509.ParseCertificate(der); err != nil {
		tb.Fatal(err)
	}
	ca.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return ca
}

// Pool returns a pool with the CA alone.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// Client returns a configuration for clients that trust the CA alone.
func (ca *CA) Client() *tls.Config { return &tls.Config{RootCAs: ca.Pool()} }

// DER returns the CA's certificate.
func (ca *CA) DER() []byte { return ca.cert.Raw }

// Write writes the CA's certificate to a file in dir and returns its name.
func (ca *CA) Write(dir string) string { return write(ca.tb, dir, "ca.pem", ca.pem) }

// Pair makes a certificate with a key of its own, for servers and clients, that
// ends after so long.
func (ca *CA) Pair(ends time.Duration, names ...string) (cert, key []byte) {
	return ca.PairFor(newKey(ca.tb), ends, names...)
}

// PairFor is Pair with a given key.
func (ca *CA) PairFor(signer crypto.Signer, ends time.Duration, names ...string) (cert, key []byte) {
	ca.tb.Helper()
	template := &x509.Certificate{
		SerialNumber: serial(ca.tb), Subject: pkix.Name{CommonName: names[0]},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(ends),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, signer.Public(), ca.key)
	if err != nil {
		ca.tb.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		ca.tb.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
}

// WritePair makes a certificate that ends after a day, and writes it and its key to
// files in dir that are called after its first name.
func (ca *CA) WritePair(dir string, names ...string) (cert, key string) {
	c, k := ca.Pair(24*time.Hour, names...)
	return write(ca.tb, dir, names[0]+".pem", c), write(ca.tb, dir, names[0]+".key", k)
}

// write replaces a file in one step, as deployments do.
func write(tb testing.TB, dir, name string, text []byte) string {
	tb.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		tb.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		tb.Fatal(err)
	}
	return path
}

func newKey(tb testing.TB) crypto.Signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func serial(tb testing.TB) *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		tb.Fatal(err)
	}
	return n
}
