package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// HTTP/2 is spoken where the server chooses it in the TLS handshake, and without
// TLS where the URL says so.
func TestProtocols(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Proto+" "+r.Header.Get("Authorization"))
	})
	plain := httptest.NewUnstartedServer(handler)
	plain.Config.Protocols = new(http.Protocols)
	plain.Config.Protocols.SetHTTP1(true)
	plain.Config.Protocols.SetUnencryptedHTTP2(true)
	plain.Start()
	defer plain.Close()
	secure, old := httptest.NewUnstartedServer(handler), httptest.NewTLSServer(handler)
	secure.EnableHTTP2 = true
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // of the client that does not know the certificate
	secure.StartTLS()
	defer secure.Close()
	defer old.Close()
	authorities := x509.NewCertPool()
	authorities.AddCert(secure.Certificate())
	_, port, _ := strings.Cut(plain.URL, "://")
	for _, tc := range []struct{ url, want string }{
		{plain.URL, "HTTP/1.1 "},
		{"h2c://" + port, "HTTP/2.0 "},
		{secure.URL, "HTTP/2.0 "},
		{old.URL, "HTTP/1.1 "},
		{"http://user:pass@" + port, "HTTP/1.1 Basic dXNlcjpwYXNz"},
	} {
		b := backendAt(t, Options{URLs: []string{tc.url}, TLS: &tls.Config{RootCAs: authorities}})
		answer, err := b.Call(context.Background(), event("x"))
		if err != nil {
			t.Fatalf("%s: %v", tc.url, err)
		}
		if string(answer.Body) != tc.want {
			t.Errorf("%s: %q, want %q", tc.url, answer.Body, tc.want)
		}
		b.Close()
	}
	stranger := backendAt(t, Options{URLs: []string{secure.URL}})
	var unknown x509.UnknownAuthorityError
	if _, err := stranger.Call(context.Background(), event("x")); !errors.As(err, &unknown) {
		t.Error(err)
	}
}

// Something that is not HTTP is an error of the connection.
func TestGarbage(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, "SSH-2.0-OpenSSH_9.9\r\n\r\n")
			c.Close()
		}
	}()
	b := backendAt(t, Options{URLs: []string{"http://" + l.Addr().String()}})
	if _, err := b.Call(context.Background(), event("")); outcomeOf(err) != outcomeError {
		t.Error(err)
	}
}

func BenchmarkCall(bench *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
	defer server.Close()
	b, err := New(Options{URLs: []string{server.URL}, Keys: []Key{mustKey(bench, 1)}})
	if err != nil {
		bench.Fatal(err)
	}
	defer b.Close()
	c := full()
	c.Header = nil
	bench.ReportAllocs()
	bench.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := b.Call(context.Background(), c); err != nil {
				bench.Error(err)
			}
		}
	})
}
