//go:build e2e

// Package deploy tests the proxy configurations in this folder with the
// programs of Debian. Only ports and file names are changed.
package deploy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// site is the host name in the configurations.
const site = "push.example.com"

// freeAddress returns an address that is not in use at the moment.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 1000 { // below the ephemeral range, whose ports may be taken before a server listens
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", 12_000+mathrand.IntN(20_000)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}

// start runs a program until the test ends. The channel is closed if the
// program ends by itself.
func start(t *testing.T, program string, args ...string) (ended chan struct{}) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended = make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
	})
	return ended
}

// eventually repeats ask until it returns no error.
func eventually(t *testing.T, what string, ended chan struct{}, ask func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = ask(); err == nil {
			return
		}
		select {
		case <-ended:
			t.Fatalf("%s has ended: %v", what, err)
		default:
		}
	}
	t.Fatalf("%s: %v", what, err)
}

// node is a belfry node.
type node struct{ listen, api string }

// belfryFile returns the program that BELFRY_BIN names, by default the one that make build
// makes.
func belfryFile(t *testing.T) string {
	t.Helper()
	bin := os.Getenv("BELFRY_BIN")
	if bin == "" {
		bin = "../bin/belfry"
	}
	bin, err := filepath.Abs(bin)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(bin); err != nil {
		t.Fatalf("%v; run make build first, or set BELFRY_BIN", err)
	}
	return bin
}

// startNode starts the binary. It is not in development mode, which would allow more
// origins. Clients may subscribe to every topic and publish.
func startNode(t *testing.T, settings ...string) *node {
	t.Helper()
	bin := belfryFile(t)
	n := &node{listen: freeAddress(t), api: freeAddress(t)}
	args := []string{"serve", "--set", "auth.subscribe=*", "--set", "auth.publish=*", "--log-level", "warn", "--listen", n.listen, "--api", n.api}
	for _, s := range settings {
		args = append(args, "--set", strings.ReplaceAll(s, "{listen}", n.listen))
	}
	ended := start(t, bin, args...)
	eventually(t, "belfry", ended, func() error {
		resp, err := http.Get("http://" + n.api + "/readyz")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("readyz: %s", resp.Status)
		}
		return nil
	})
	return n
}

// push pushes to a topic.
func (n *node) push(t *testing.T, topic, text string) {
	t.Helper()
	resp, err := http.Post("http://"+n.api+"/v1/topics/"+topic, "text/plain", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		body, _ := io.ReadAll(resp.Body)
		t.Fatalf("push: %s: %s", resp.Status, body)
	}
}

// certificate makes a self-signed certificate for the site: two files for nginx
// and one for HAProxy.
type certificate struct {
	cert, key, both string
	pool            *x509.CertPool
}

func makeCertificate(t *testing.T) certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: site}, DNSNames: []string{site},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	dir := t.TempDir()
	c := certificate{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "both.pem"), x509.NewCertPool()}
	for name, text := range map[string][]byte{c.cert: certPEM, c.key: keyPEM, c.both: append(certPEM, keyPEM...)} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.pool.AppendCertsFromPEM(certPEM)
	return c
}

// configuration reads a file of this folder and replaces values in it by those
// of the test. A value that is not found fails, because the file has changed.
func configuration(t *testing.T, name string, pairs ...string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	s := string(text)
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(s, pairs[i]) {
			t.Fatalf("%s has no %q", name, pairs[i])
		}
		s = strings.ReplaceAll(s, pairs[i], pairs[i+1])
	}
	return s
}

// proxy is an nginx or HAProxy in front of a node.
type proxy struct {
	address string // address that it listens on
	roots   *x509.CertPool
}

// startNginx runs nginx with a file of nginx/, changed by pairs.
func startNginx(t *testing.T, n *node, file string, pairs ...string) *proxy {
	t.Helper()
	bin := installed(t, "nginx")
	p, cert := &proxy{address: freeAddress(t)}, makeCertificate(t)
	p.roots = cert.pool
	s := configuration(t, file, append([]string{"listen 443", "listen " + p.address, "127.0.0.1:8080", n.listen,
		"/etc/ssl/push.example.com.pem", cert.cert, "/etc/ssl/push.example.com.key", cert.key}, pairs...)...)
	dir := t.TempDir()
	temp := ""
	for _, what := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temp += fmt.Sprintf("%s_temp_path %s/%s;\n", what, dir, what)
	}
	main := fmt.Sprintf("daemon off;\nmaster_process off;\npid %s/pid;\nerror_log stderr warn;\nevents {}\nhttp {\naccess_log off;\n%s%s}\n", dir, temp, s)
	name := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(name, []byte(main), 0o600); err != nil {
		t.Fatal(err)
	}
	p.awaitTLS(t, "nginx", start(t, bin, "-c", name, "-e", "stderr"))
	return p
}

// startHAProxy runs HAProxy with a file of haproxy/, changed by pairs. It checks often,
// so that a test need not wait for a server to be up, and is slow to call one down: each
// check has only the time to the next one, and the machine may be busy.
func startHAProxy(t *testing.T, n *node, file string, pairs ...string) *proxy {
	t.Helper()
	p, cert := &proxy{address: freeAddress(t)}, makeCertificate(t)
	p.roots = cert.pool
	p.awaitTLS(t, "haproxy", p.runHAProxy(t, configuration(t, file, append([]string{"bind :443", "bind " + p.address, "127.0.0.1:8080", n.listen,
		"/etc/haproxy/push.example.com.pem", cert.both, "inter 2s", "inter 100ms fall 50"}, pairs...)...)))
	return p
}

// runHAProxy runs HAProxy with a configuration, and returns when it listens.
func (p *proxy) runHAProxy(t *testing.T, configuration string) (ended chan struct{}) {
	t.Helper()
	bin := installed(t, "haproxy")
	name := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(name, []byte(configuration), 0o600); err != nil {
		t.Fatal(err)
	}
	ended = start(t, bin, "-db", "-f", name)
	eventually(t, "haproxy", ended, func() error {
		c, err := net.Dial("tcp", p.address)
		if err == nil {
			c.Close()
		}
		return err
	})
	return ended
}

// installed returns the path of a program, or skips the test.
func installed(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + name) // which is not in every PATH
	}
	if err != nil {
		t.Skipf("%s is not installed (Debian: apt-get install %s)", name, name)
	}
	return path
}

func (p *proxy) awaitTLS(t *testing.T, what string, ended chan struct{}) {
	t.Helper()
	eventually(t, what, ended, func() error {
		c, err := tls.Dial("tcp", p.address, &tls.Config{RootCAs: p.roots, ServerName: site})
		if err == nil {
			c.Close()
		}
		return err
	})
}
