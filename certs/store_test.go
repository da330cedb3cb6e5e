package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"belfry/certs/certtest"
)

// shake makes a TLS connection without a network. It returns the certificate that
// the server has shown, and the errors of both sides.
func shake(t *testing.T, server, client *tls.Config) (name string, serverErr, clientErr error) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	done := make(chan error, 1)
	go func() {
		s := tls.Server(a, server)
		err := s.Handshake()
		if err == nil {
			_, err = s.Write([]byte("x")) // in TLS 1.3 the client learns of a refused certificate by its first read
		}
		a.Close()
		done <- err
	}()
	c := tls.Client(b, client)
	if clientErr = c.Handshake(); clientErr == nil {
		name = c.ConnectionState().PeerCertificates[0].Subject.CommonName
		_, clientErr = c.Read(make([]byte, 1))
	}
	b.Close()
	return name, <-done, clientErr
}

func clientOf(ca *certtest.CA, name string) *tls.Config {
	c := ca.Client()
	c.ServerName = name
	return c
}

func mustOpen(t *testing.T, o Options) (*Store, *observer.ObservedLogs) {
	t.Helper()
	core, lines := observer.New(zap.InfoLevel)
	o.Log, o.Name = zap.New(core), "tls"
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s, lines
}

// put replaces a file and makes sure that it is seen as changed.
func put(t *testing.T, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(name+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

// A changed pair is used by the next handshake. A pair whose halves do not match,
// or that cannot be read, is not, and the earlier one stays.
func TestReload(t *testing.T) {
	ca, dir := certtest.NewCA(t), t.TempDir()
	cert, key := ca.WritePair(dir, "a.example")
	s, lines := mustOpen(t, Options{Pairs: []Pair{{cert, key}}})
	config := s.Config()
	shown := func(want string, reloads, failures uint64) {
		t.Helper()
		s.Reload()
		c := ca.Client()
		c.InsecureSkipVerify = true
		if name, _, err := shake(t, config, c); err != nil || name != want {
			t.Fatalf("%q is shown, %v; want %q", name, err, want)
		}
		if st := s.Stats(); st.Reloads != reloads || st.Failures != failures {
			t.Fatalf("%d reloads and %d failures, want %d and %d", st.Reloads, st.Failures, reloads, failures)
		}
	}
	shown("a.example", 0, 0)
	newCert, newKey := ca.Pair(time.Hour, "b.example")
	put(t, cert, newCert)
	shown("a.example", 0, 1) // its key is not there yet
	shown("a.example", 0, 1) // said once
	put(t, key, newKey)
	shown("b.example", 1, 1)
	put(t, cert, newCert[:len(newCert)/2])
	shown("b.example", 1, 2)
	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	shown("b.example", 1, 3)
	put(t, cert, newCert)
	shown("b.example", 2, 3)
	old, oldKey := ca.Pair(-time.Minute, "old.example")
	put(t, cert, old)
	put(t, key, oldKey)
	shown("b.example", 2, 4) // it has ended, and the present one has not
	for _, l := range lines.FilterLevelExact(zap.ErrorLevel).All() {
		if !strings.Contains(l.ContextMap()["error"].(string), "tls: ") {
			t.Errorf("%v", l.ContextMap())
		}
	}
}

// Kubernetes replaces a link, through which the files are found.
func TestReloadThroughLink(t *testing.T) {
	ca, dir := certtest.NewCA(t), t.TempDir()
	for _, v := range []string{"one", "two"} {
		sub := filepath.Join(dir, v)
		if err := os.Mkdir(sub, 0o700); err != nil {
			t.Fatal(err)
		}
		cert, key := ca.Pair(time.Hour, v+".example")
		put(t, filepath.Join(sub, "tls.crt"), cert)
		put(t, filepath.Join(sub, "tls.key"), key)
	}
	link := filepath.Join(dir, "now")
	if err := os.Symlink("one", link); err != nil {
		t.Fatal(err)
	}
	s, _ := mustOpen(t, Options{Pairs: []Pair{{filepath.Join(link, "tls.crt"), filepath.Join(link, "tls.key")}}})
	if err := errors.Join(os.Symlink("two", link+".new"), os.Rename(link+".new", link)); err != nil {
		t.Fatal(err)
	}
	s.Reload()
	if name, _, err := shake(t, s.Config(), clientOf(ca, "two.example")); err != nil || name != "two.example" {
		t.Errorf("%q, %v", name, err)
	}
}

// Run reads changed files by itself.
func TestRun(t *testing.T) {
	ca, dir := certtest.NewCA(t), t.TempDir()
	cert, key := ca.WritePair(dir, "a.example")
	newCert, newKey := ca.Pair(24*time.Hour, "b.example")
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(Options{Pairs: []Pair{{cert, key}}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go s.Run(ctx)
		put(t, cert, newCert)
		put(t, key, newKey)
		time.Sleep(lookEvery + time.Millisecond) // of the bubble: it takes no time
		synctest.Wait()
		if st := s.Stats(); st.Reloads != 1 || st.Certificates[0].Names[0] != "b.example" {
			t.Errorf("%+v", st)
		}
		cancel()
	})
}

func TestServerNames(t *testing.T) {
	ca, dir := certtest.NewCA(t), t.TempDir()
	var pairs []Pair
	for _, name := range []string{"first.example", "a.example", "*.b.example"} {
		cert, key := ca.WritePair(dir, name)
		pairs = append(pairs, Pair{cert, key})
	}
	s, _ := mustOpen(t, Options{Pairs: pairs})
	for _, tc := range [][2]string{{"a.example", "a.example"}, {"x.b.example", "*.b.example"}, {"first.example", "first.example"}, {"other.example", "first.example"}, {"", "first.example"}} {
		c := ca.Client()
		c.ServerName, c.InsecureSkipVerify = tc[0], true
		if name, _, err := shake(t, s.Config(), c); err != nil || name != tc[1] {
			t.Errorf("%q gets %q, %v; want %q", tc[0], name, err, tc[1])
		}
	}
}

func TestMinVersion(t *testing.T) {
	ca := certtest.NewCA(t)
	cert, key := ca.WritePair(t.TempDir(), "a.example")
	for _, tc := range []struct {
		least, client uint16
		ok            bool
	}{{0, tls.VersionTLS12, true}, {0, tls.VersionTLS11, false}, {tls.VersionTLS13, tls.VersionTLS12, false}, {tls.VersionTLS13, tls.VersionTLS13, true}} {
		s, _ := mustOpen(t, Options{Pairs: []Pair{{cert, key}}, MinVersion: tc.least})
		c := clientOf(ca, "a.example")
		c.MinVersion, c.MaxVersion = tls.VersionTLS10, tc.client
		if _, _, err := shake(t, s.Config(), c); (err == nil) != tc.ok {
			t.Errorf("least %x, client %x: %v", tc.least, tc.client, err)
		}
	}
}

// With a CA for clients, a client without a certificate of that CA is refused. A
// new CA in the file applies to the next handshake, and to clients that were there
// before.
func TestClientCA(t *testing.T) {
	ca, other, dir := certtest.NewCA(t), certtest.NewCA(t), t.TempDir()
	cert, key := ca.WritePair(dir, "a.example")
	file := ca.Write(dir)
	s, _ := mustOpen(t, Options{Pairs: []Pair{{cert, key}}, ClientCA: file})
	config := s.Config()
	with := func(from *certtest.CA) *tls.Config {
		c := clientOf(ca, "a.example")
		c.ClientSessionCache = tls.NewLRUClientSessionCache(8)
		if from != nil {
			cert, key := from.Pair(time.Hour, "backend")
			pair, err := tls.X509KeyPair(cert, key)
			if err != nil {
				t.Fatal(err)
			}
			c.Certificates = []tls.Certificate{pair}
		}
		return c
	}
	mine, none, foreign := with(ca), with(nil), with(other)
	for _, tc := range []struct {
		who    string
		client *tls.Config
		ok     bool
	}{{"a client of the CA", mine, true}, {"no certificate", none, false}, {"another CA", foreign, false}} {
		if _, serverErr, _ := shake(t, config, tc.client); (serverErr == nil) != tc.ok {
			t.Errorf("%s: %v", tc.who, serverErr)
		}
	}
	put(t, file, readAll(t, other.Write(t.TempDir())))
	s.Reload()
	if _, err, _ := shake(t, config, mine); err == nil {
		t.Error("a client of the CA that was replaced is admitted")
	}
	if _, err, _ := shake(t, config, foreign); err != nil {
		t.Errorf("a client of the new CA: %v", err)
	}
}

func readAll(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Errors name the setting and the file, and have nothing of a key.
func TestOpenRefuses(t *testing.T) {
	ca, dir := certtest.NewCA(t), t.TempDir()
	cert, key := ca.WritePair(dir, "a.example")
	_, otherKey := ca.WritePair(dir, "b.example")
	long := filepath.Join(dir, "long")
	put(t, long, make([]byte, maxFile+1))
	for _, tc := range []struct {
		o    Options
		want string
	}{
		{Options{}, "at least one"},
		{Options{Pairs: []Pair{{dir + "/none", key}}}, "none"},
		{Options{Pairs: []Pair{{cert, dir + "/none"}}}, "none"},
		{Options{Pairs: []Pair{{cert, otherKey}}}, "does not match"},
		{Options{Pairs: []Pair{{key, key}}}, key},
		{Options{Pairs: []Pair{{cert, long}}}, "longer than"},
		{Options{Pairs: []Pair{{cert, key}}, ClientCA: key}, "no certificate"},
		{Options{Pairs: []Pair{{cert, key}}, ClientCA: dir + "/none"}, "none"},
	} {
		tc.o.Name = "api.tls"
		_, err := Open(tc.o)
		if err == nil || !strings.HasPrefix(err.Error(), "api.tls: ") || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: %v", tc.o, err)
			continue
		}
		if secret := string(readAll(t, key)); strings.Contains(err.Error(), secret[40:60]) {
			t.Errorf("a part of the key is in %q", err)
		}
	}
}

// A certificate that ends soon is warned of when it is read, and again a day
// later.
func TestEndsSoon(t *testing.T) {
	ca, dir := certtest.NewCA(t), t.TempDir()
	cert, key := ca.WritePair(dir, "a.example") // a day
	core, lines := observer.New(zap.WarnLevel)
	now := time.Now()
	s, err := open(Options{Name: "tls", Pairs: []Pair{{cert, key}}, Log: zap.New(core)}, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	for i, step := range []struct {
		after time.Duration
		lines int
	}{{0, 1}, {warnEvery - time.Second, 1}, {time.Second, 2}, {0, 2}} {
		now = now.Add(step.after)
		s.Reload()
		if lines.Len() != step.lines {
			t.Errorf("step %d: %d lines, want %d", i, lines.Len(), step.lines)
		}
	}
	if _, lines = mustOpen(t, Options{Pairs: []Pair{{cert, key}}, Soon: time.Hour}); lines.Len() != 0 {
		t.Errorf("%v", lines.All())
	}
}

// A prepared change is in force when it is applied, not before. A pair that cannot be
// used is an error, also if Reload has refused it already.
func TestPrepare(t *testing.T) {
	ca, dir := certtest.NewCA(t), t.TempDir()
	cert, key := ca.WritePair(dir, "a.example")
	s, _ := mustOpen(t, Options{Pairs: []Pair{{cert, key}}})
	name := func() string { return s.Stats().Certificates[0].Names[0] }
	if apply, err := s.Prepare(); apply != nil || err != nil {
		t.Fatalf("nothing has changed: %v", err)
	}
	newCert, newKey := ca.Pair(time.Hour, "b.example")
	put(t, cert, newCert)
	for range 2 {
		if apply, err := s.Prepare(); apply != nil || err == nil {
			t.Fatal("a pair whose halves do not match was prepared")
		}
		s.Reload()
	}
	put(t, key, newKey)
	apply, err := s.Prepare()
	if err != nil || name() != "a.example" {
		t.Fatalf("%s before apply, %v", name(), err)
	}
	apply()
	if name() != "b.example" {
		t.Errorf("%s after apply", name())
	}
	if apply, err := s.Prepare(); apply != nil || err != nil {
		t.Errorf("applied already: %v", err)
	}
}
