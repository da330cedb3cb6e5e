package auth

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"belfry/session"
	"belfry/webhook"
	"belfry/ws"
)

// hookAt returns a Hook with a backend at a server of its own.
func hookAt(t testing.TB, handler http.HandlerFunc) Hook {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return hookOf(t, webhook.Options{URLs: []string{server.URL}, MaxAnswer: 64 << 10})
}

func hookOf(t testing.TB, o webhook.Options) Hook {
	t.Helper()
	o.Name = "test"
	b, err := webhook.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return Hook{Backend: b, Source: "/nodes/a", Workers: 4}
}

// answers is a handler with one answer.
func answers(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func newWebhook(t testing.TB, next session.LoginAuthenticator, o WebhookOptions) *Webhook {
	t.Helper()
	w, err := NewWebhook(next, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// askHook returns the decision about a request.
func askHook(w *Webhook, at *session.Attempt) outcome {
	return waitFor(func(later func(session.Grant, *ws.Refusal)) (session.Grant, *ws.Refusal, bool) {
		return w.Authenticate(at, later)
	})
}

// wantEmpty checks that nothing waits and all room was given back.
func (c *caller) wantEmpty(t *testing.T) {
	t.Helper()
	if waiting, n, _ := c.queue.load(); waiting != 0 || n != 0 {
		t.Errorf("%d decisions wait, %d bytes are reserved", waiting, n)
	}
}

// wantDecisions compares the counters that are not 0.
func wantDecisions(t *testing.T, st HookStats, want map[string]uint64) {
	t.Helper()
	for name, n := range st.Decisions {
		if n != want[name] {
			t.Errorf("%d decisions %s, want %d", n, name, want[name])
		}
	}
}

// granted is an authenticator that grants the same to everybody, at once or later.
type granted struct {
	grant   session.Grant
	refusal *ws.Refusal
	later   bool
}

func (g granted) Authenticate(_ *session.Attempt, later func(session.Grant, *ws.Refusal)) (session.Grant, *ws.Refusal, bool) {
	if g.later {
		go later(g.grant, g.refusal)
		return session.Grant{}, nil, true
	}
	return g.grant, g.refusal, false
}

func (g granted) Login(_ *session.Client, _ []byte, later func(session.Grant, *ws.Refusal)) (session.Grant, *ws.Refusal, bool) {
	return g.Authenticate(nil, later)
}

// documented returns a body in docs/webhooks.md, without the white space.
func documented(t *testing.T, name string) string {
	t.Helper()
	page, err := os.ReadFile("../docs/webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "<!-- body: "+name+" -->\n```json\n")
	text, _, ends := strings.Cut(rest, "```")
	if !found || !ends {
		t.Fatalf("docs/webhooks.md has no body %s", name)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(text)); err != nil {
		t.Fatal(err)
	}
	return compact.String()
}

var (
	address = netip.MustParseAddrPort("192.0.2.7:51034")
	issued  = time.Unix(1_800_000_000, 0)
	ann     = session.Grant{UID: "ann", Topics: []string{"news"}, Subscribe: []string{"rooms.*"}, Issued: issued, Expires: issued.Add(time.Hour), Meta: []byte(`{"team":"blue"}`)}
	client  = session.Client{SID: "s1", UID: "ann", Meta: ann.Meta, Addr: address, Agent: "Mozilla/5.0", Encoding: "belfry.v1"}
)

// browser is a request with everything that the webhook can be told.
func browser(t testing.TB, target string) *session.Attempt {
	at := attempt(t, target, "User-Agent: Mozilla/5.0\r\nAccept-Language: de\r\nACCEPT-LANGUAGE: en\r\nCookie: a=b; session=abc; token=secret\r\nAuthorization: Bearer secret\r\n")
	at.Remote = func() netip.AddrPort { return address }
	at.Encoding = "belfry.v1"
	return at
}
