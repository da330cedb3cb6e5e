package broadcast

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"belfry/message"
)

// certificates writes a CA and a certificate signed by it, for server and client.
func certificates(t *testing.T) TLS {
	t.Helper()
	files := TLS{filepath.Join(t.TempDir(), "ca.pem"), filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "node"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	check(err)
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	check(err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	check(err)
	write := func(name, kind string, b []byte) {
		t.Helper()
		check(os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600))
	}
	write(files.CA, "CERTIFICATE", caDER)
	write(files.Cert, "CERTIFICATE", der)
	write(files.Key, "EC PRIVATE KEY", keyDER)
	return files
}

// TLS works with certificates on both sides, on the client port and on routes.
func TestTLS(t *testing.T) {
	files := certificates(t)
	a := open(t, Options{NodeName: "a", TLS: files, Embedded: Embedded{Listen: "127.0.0.1:0", ClusterListen: "127.0.0.1:0"}})
	b := open(t, Options{NodeName: "b", TLS: files, Embedded: Embedded{ClusterListen: "127.0.0.1:0", Routes: []string{"nats://" + a.ClusterAddr()}}})
	c := open(t, Options{NodeName: "c", TLS: files, URLs: []string{"tls://" + a.NATSAddr()}})
	b.sees(t, subjectAll, 2) // its own, and one of the other server
	b.publish(t, message.ToAll(), "x")
	for _, n := range []*member{a, c} {
		eventually(t, "delivery", func() bool { return len(n.messages()) == 1 })
	}
	if nc, err := nats.Connect("tls://"+a.NATSAddr(), nats.RootCAs(files.CA)); err == nil {
		nc.Close()
		t.Error("a client without certificate was admitted")
	}
}

// Messages that NATS permissions forbid are not lost silently: they are counted,
// and Ready names the subject.
func TestRefusedPermissionsAreReported(t *testing.T) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, Users: []*server.User{{
		Username: "u", Password: "p",
		Permissions: &server.Permissions{Subscribe: &server.SubjectPermission{Deny: []string{"belfry.topic.secret"}}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() { kill(s) })
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("server not ready")
	}
	n := open(t, Options{URLs: []string{s.ClientURL()}, User: "u", Password: "p"})
	eventually(t, "permissions checked", func() bool { return n.Ready() == nil })
	n.topic(t, "secret")
	eventually(t, "the refusal", func() bool {
		err := n.Ready()
		return n.Stats().Denied == 1 && err != nil && strings.Contains(err.Error(), "belfry.topic.secret")
	})
}

func TestMissingFiles(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	for name, o := range map[string]Options{
		"CA":            {URLs: []string{"tls://127.0.0.1:1"}, TLS: TLS{CA: none}},
		"pair":          {URLs: []string{"tls://127.0.0.1:1"}, TLS: TLS{Cert: none, Key: none}},
		"server's pair": {TLS: TLS{Cert: none, Key: none}, Embedded: Embedded{Listen: "127.0.0.1:0"}},
		"credentials":   {URLs: []string{"nats://127.0.0.1:1"}, Credentials: none},
	} {
		if n, err := Open(o); err == nil {
			n.Close()
			t.Errorf("%s: no error", name)
		}
	}
}
