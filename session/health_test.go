package session

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

func TestHealth(t *testing.T) {
	var healthy atomic.Bool
	healthy.Store(true)
	r := newRig(t, Options{MaxSessions: 1, Healthy: healthy.Load})
	r.mustWire("/ws", "") // as many as there may be
	ask := func(method, path string) (int, string) {
		req, _ := http.NewRequest(method, "http://"+r.Addrs()[0].String()+path, nil)
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var text strings.Builder
		buf := make([]byte, 512)
		for n, err := 0, error(nil); err == nil; {
			n, err = resp.Body.Read(buf)
			text.Write(buf[:n])
		}
		return resp.StatusCode, text.String()
	}
	for _, method := range []string{"GET", "HEAD"} {
		if status, _ := ask(method, HealthPath); status != 200 {
			t.Errorf("%s: %d", method, status)
		}
	}
	// As haproxy's "option httpchk GET /healthz" asks.
	old, _ := r.connect()
	defer old.Close()
	old.Write([]byte("GET /healthz HTTP/1.0\r\n\r\n"))
	if status, _ := old.refused(t); status != 200 {
		t.Errorf("HTTP/1.0: %d", status)
	}
	old.Close()
	if status, _ := ask("POST", HealthPath); status == 200 {
		t.Errorf("POST: %d", status)
	}
	healthy.Store(false)
	if status, text := ask("GET", HealthPath); status != 503 || strings.Contains(text, "shard") {
		t.Errorf("unhealthy: %d %q", status, text)
	}
	eventually(t, "four ended", func() bool { return r.Stats().Closed["health"] == 4 })
	for status, n := range r.Stats().Upgrades {
		if n > 0 && status[0] != "101" && status[0] != "405" {
			t.Errorf("%d upgrades were answered with %s", n, status)
		}
	}
}

func TestNoHealth(t *testing.T) {
	r := newRig(t, Options{})
	resp, err := http.Get("http://" + r.Addrs()[0].String() + HealthPath)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 404 {
		t.Error(resp.StatusCode)
	}
}
