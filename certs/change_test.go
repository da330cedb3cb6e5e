package certs

import (
	"crypto/tls"
	"errors"
	"os"
	"testing"
	"time"

	"belfry/certs/certtest"
)

// A file counts as changed when its content was written in place, and when another file
// has taken its name, even with the same time and size. A file that is the same is not
// read again.
func TestWhatIsAChange(t *testing.T) {
	ca, dir := certtest.NewCA(t), t.TempDir()
	cert, key := ca.WritePair(dir, "a.example")
	s, _ := mustOpen(t, Options{Pairs: []Pair{{cert, key}}})
	reloaded := func(what string, n uint64) {
		t.Helper()
		s.Reload()
		if st := s.Stats(); st.Reloads != n || st.Failures != 0 {
			t.Errorf("%s: %+v, want %d reloads", what, st, n)
		}
	}
	reloaded("nothing", 0)
	text, info := readAll(t, cert), must(os.Stat(cert))
	if err := os.WriteFile(cert, append(text, '\n'), 0o600); err != nil { // the same file, longer
		t.Fatal(err)
	}
	if err := os.Chtimes(cert, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	reloaded("another size", 1)
	later := info.ModTime().Add(time.Second)
	if err := os.Chtimes(cert, later, later); err != nil {
		t.Fatal(err)
	}
	reloaded("another time", 2)
	keyInfo := must(os.Stat(key))
	put(t, key, readAll(t, key))
	if err := os.Chtimes(key, keyInfo.ModTime(), keyInfo.ModTime()); err != nil {
		t.Fatal(err)
	}
	reloaded("another file of the same time and size", 3)
	reloaded("nothing", 3)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// While the present certificate has ended too, any other one is taken: an operator who
// tries things out with old certificates is not stuck.
func TestEndedForEnded(t *testing.T) {
	ca, dir := certtest.NewCA(t), t.TempDir()
	cert, key := ca.WritePair(dir, "a.example")
	first, firstKey := ca.Pair(-2*time.Minute, "one.example")
	put(t, cert, first)
	put(t, key, firstKey)
	s, _ := mustOpen(t, Options{Pairs: []Pair{{cert, key}}})
	second, secondKey := ca.Pair(-time.Minute, "two.example")
	put(t, cert, second)
	put(t, key, secondKey)
	s.Reload()
	if st := s.Stats(); st.Reloads != 1 || st.Failures != 0 || st.Certificates[0].Names[0] != "two.example" {
		t.Errorf("%+v", st)
	}
}

// What a client and this server agree to speak is HTTP/1.1, which is all that shards and
// the API know.
func TestALPN(t *testing.T) {
	ca := certtest.NewCA(t)
	cert, key := ca.WritePair(t.TempDir(), "a.example")
	for _, tc := range []struct {
		server, client []string
		ok             bool
	}{{nil, []string{"h2", "http/1.1"}, true}, {nil, nil, true}, {nil, []string{"h2"}, false}, {[]string{"h2"}, []string{"h2"}, true}} {
		s, _ := mustOpen(t, Options{Pairs: []Pair{{cert, key}}, NextProtos: tc.server})
		c := clientOf(ca, "a.example")
		c.NextProtos = tc.client
		chosen := ""
		c.VerifyConnection = func(state tls.ConnectionState) error {
			chosen = state.NegotiatedProtocol
			return nil
		}
		_, _, err := shake(t, s.Config(), c)
		if (err == nil) != tc.ok || tc.ok && tc.server == nil && chosen == "h2" {
			t.Errorf("%q and %q: %q, %v", tc.server, tc.client, chosen, err)
		}
	}
}

// A new certificate of a CA for clients is read like the others, and a file without any
// changes nothing.
func TestClientCAChange(t *testing.T) {
	ca, dir := certtest.NewCA(t), t.TempDir()
	cert, key := ca.WritePair(dir, "a.example")
	file := ca.Write(dir)
	s, _ := mustOpen(t, Options{Pairs: []Pair{{cert, key}}, ClientCA: file})
	put(t, file, readAll(t, key))
	s.Reload()
	if st := s.Stats(); st.Reloads != 0 || st.Failures != 1 {
		t.Errorf("%+v", st)
	}
	c := clientOf(ca, "a.example")
	pair, err := tls.X509KeyPair(ca.Pair(time.Hour, "backend"))
	if err != nil {
		t.Fatal(err)
	}
	c.Certificates = []tls.Certificate{pair}
	if _, serverErr, clientErr := shake(t, s.Config(), c); serverErr != nil || clientErr != nil {
		t.Errorf("%v", errors.Join(serverErr, clientErr))
	}
}
