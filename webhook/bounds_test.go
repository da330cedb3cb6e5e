package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// A header of an answer is bounded as its body is.
func TestAnswerHeaderTooBig(t *testing.T) {
	for size, ok := range map[int]bool{maxHeader / 2: true, 2 * maxHeader: false} {
		b := newBackend(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("x", size))
		})
		if _, err := b.Call(context.Background(), event("")); (err == nil) != ok || !ok && outcomeOf(err) != outcomeError {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// A backend that speaks no TLS above 1.1 is not called. Its certificate is not what is
// wrong: the handshake ends before it.
func TestOldTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	server.StartTLS()
	defer server.Close()
	b := backendAt(t, Options{URLs: []string{server.URL}})
	_, err := b.Call(context.Background(), event(""))
	var unknown x509.UnknownAuthorityError
	if err == nil || errors.As(err, &unknown) || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("%v", err)
	}
}

// A call that is not signed has no fields of the signature that a client made up, and the
// password of a URL does not replace what the call itself says.
func TestForeignFields(t *testing.T) {
	got := make(chan received, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got <- received{header: r.Header} }))
	defer server.Close()
	b := backendAt(t, Options{URLs: []string{strings.Replace(server.URL, "http://", "http://user:pass@", 1)}})
	if u := b.endpoints[0].url; u.User != nil || strings.Contains(u.String(), "pass") {
		t.Errorf("the password stays in the URL: %s", u)
	}
	for name, want := range map[string]string{"": "Basic dXNlcjpwYXNz", "Bearer abc": "Bearer abc"} {
		c := event("")
		c.Header = http.Header{"webhook-signature": {"v1,forged"}, "Webhook-Timestamp": {"1"}, "Webhook-Extra": {"x"}, "Ce-Admin": {"yes"}, "Te": {"trailers"}}
		if name != "" {
			c.Header.Set("Authorization", name)
		}
		if _, err := b.Call(context.Background(), c); err != nil {
			t.Fatal(err)
		}
		h := (<-got).header
		if h["Webhook-Signature"] != nil || h["Webhook-Extra"] != nil || h["Ce-Admin"] != nil || h["Te"] != nil || h.Get("Webhook-Timestamp") == "1" || h.Get("Authorization") != want {
			t.Errorf("%v", h)
		}
	}
}

// An idempotent call is repeated for what a repetition may mend only. While its backend is
// left alone a new call fails at once, but one that was tried goes on.
func TestNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		long := &script{statuses: []int{200}}
		b := virtual(t, Options{URLs: []string{"http://a"}, Retries: 3, MaxAnswer: 1}, map[string]http.HandlerFunc{"a": func(w http.ResponseWriter, r *http.Request) {
			long.ServeHTTP(w, r)
			io.WriteString(w, "long")
		}})
		c := event("")
		c.Idempotent = true
		if _, err := b.Call(context.Background(), c); !errors.Is(err, ErrAnswerTooBig) || len(long.at) != 1 {
			t.Errorf("a long answer: %v after %d attempts", err, len(long.at))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := &script{statuses: []int{500}}
		b := virtual(t, Options{URLs: []string{"http://a"}, Retries: 3, Failures: 2, Pause: time.Hour}, map[string]http.HandlerFunc{"a": s.ServeHTTP})
		b.Call(context.Background(), event("")) // of another client
		c := event("")
		c.Idempotent = true
		if _, err := b.Call(context.Background(), c); !errors.Is(err, ErrOpen) || len(s.at) != 2 || b.Stats().Retries != 3 {
			t.Errorf("a call that was tried: %v after %d attempts, %d retries", err, len(s.at), b.Stats().Retries)
		}
		before := time.Now()
		if _, err := b.Call(context.Background(), c); !errors.Is(err, ErrOpen) || time.Since(before) != 0 || b.Stats().Retries != 3 {
			t.Errorf("a new call: %v after %v", err, time.Since(before))
		}
		if st := b.Stats(); st.Latency.Count != 1 || st.Calls["open"] != 2 { // how long nothing was sent says nothing about the backend
			t.Errorf("%+v", st)
		}
	})
}

// 410 is one line in the log a minute, not one for each call.
func TestGoneIsToldOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, lines := observer.New(zap.WarnLevel)
		b := virtual(t, Options{URLs: []string{"http://a/?hidden"}, Log: zap.New(core)}, map[string]http.HandlerFunc{"a": (&script{statuses: []int{410}}).ServeHTTP})
		for range 3 {
			for range 10 {
				b.Call(context.Background(), event(""))
			}
			time.Sleep(time.Minute + time.Nanosecond)
		}
		if lines.Len() != 3 || strings.Contains(lines.All()[0].Message, "hidden") {
			t.Errorf("%d lines: %v", lines.Len(), lines.All())
		}
	})
}
