package hostile

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// The connect webhook of a row hangs for attackers only, and the certificate and the
// configuration are where the settings say.
func TestProps(t *testing.T) {
	p, err := newProps("at: '{backend}'\n")
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	ask := func(query string, patience time.Duration) (int, error) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.address+"/decide", strings.NewReader(`{"query":"`+query+`"}`))
		if err != nil {
			return 0, err
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0, err
		}
		answer.Body.Close()
		return answer.StatusCode, nil
	}
	if status, err := ask("uid=u", time.Minute); status != http.StatusNoContent {
		t.Errorf("an innocent client: %d, %v", status, err)
	}
	if status, err := ask("uid=u&"+hostileQuery, 50*time.Millisecond); err == nil {
		t.Errorf("an attacker: %d", status)
	}
	if _, err := tls.LoadX509KeyPair(p.fill("{dir}/"+certFile), p.fill("{dir}/"+keyFile)); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(p.fill("{dir}/" + configFile)); string(text) != "at: '"+p.address+"'\n" {
		t.Errorf("%q, %v", text, err)
	}
	aim := Aim{Key: p.private()}
	if key := aim.privateKey(); key == nil || !key.Equal(p.key) {
		t.Error("an attacker does not get the key")
	}
}

// An attacker that waits for any bytes begins anew when it has them.
func TestRenewAfterBytes(t *testing.T) {
	target := fake(t, func(c net.Conn) {
		if _, err := io.ReadFull(c, make([]byte, 5)); err == nil {
			_, _ = c.Write([]byte{22})
			_, _ = io.Copy(io.Discard, c)
		}
	})
	plan := Plan{Count: 1, Head: func(int) []byte { return []byte("hello") }, Bytes: true, Renew: true, Reads: true}
	r := attackUntil(t, target, plan, func(a *attacker) bool { return a.begun > 10 })
	if r.Connected < 10 || len(r.Failed) > 0 {
		t.Errorf("%+v", r)
	}
}

// A row may say that newcomers cannot be let in; nothing else is forgiven.
func TestShut(t *testing.T) {
	r := Row{NewAttacked: Newcomers{Failed: map[string]int{"status 503": 3}}}
	if len(r.Faults()) != 1 {
		t.Errorf("%v", r.Faults())
	}
	r.Shut, r.Attacked.Lost = "the webhook hangs", 1
	if f := r.Faults(); len(f) != 1 || !strings.Contains(f[0], "lost") {
		t.Errorf("%v", f)
	}
}
