package gateway

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"belfry/message"
	"belfry/session"
	"belfry/webhook"
	"belfry/ws"
)

var update = flag.Bool("update", false, "write the golden files anew")

// parse parses a client's request.
func parse(t *testing.T, text string) *ws.Request {
	t.Helper()
	p, err := ws.NewParser(ws.ParserOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r, _, refusal := p.Parse([]byte(text))
	if refusal != nil {
		t.Fatal(refusal)
	}
	return r
}

const request = "GET /chat HTTP/1.1\r\nHost: x\r\nX-Tenant: one\r\nX-Tenant: two\r\nAccept-Language: de\r\nAuthorization: Bearer secret\r\n" +
	"Cookie: theme=dark; session=abc=; id=7\r\nCookie: other=1\r\n\r\n"

// Headers and cookies are kept only if a route of the session wants them, and each
// route gets its own.
func TestKept(t *testing.T) {
	b := &backend{}
	g := start(t, newNode(), Options{Routes: []Route{
		{Backend: b, Path: "/chat", Headers: []string{"x-tenant"}, Cookies: []string{"session", "id"}},
		{Backend: b, Headers: []string{"Accept-Language"}},
		{Backend: b, Path: "/other", Headers: []string{"Authorization"}},
		{Backend: b, Subprotocol: "chat"},
	}})
	defer stop(g)
	number, kept := g.Match(parse(t, request), "plain")
	if s := g.sets.get(number); len(s.routes) != 2 || s.routes[1].Name != "r1" {
		t.Errorf("routes %v", s.routes)
	}
	if again, _ := g.Match(parse(t, request), "v1"); again != number {
		t.Errorf("another number: %d, %d", again, number)
	}
	for i, want := range []string{
		`map[Cookie:[session=abc=; id=7] X-Tenant:[one two]]`,
		`map[Accept-Language:[de]]`,
		`map[]`,
	} {
		if got := fmt.Sprint(g.routes()[i].keptHeader(kept)); got != want {
			t.Errorf("route %d gets %s; want %s", i, got, want)
		}
	}
	long := strings.Replace(request, "one", strings.Repeat("x", session.MaxKept), 1)
	if _, kept := g.Match(parse(t, long), "plain"); len(kept) > session.MaxKept || !strings.Contains(string(kept), "two") || g.Stats().KeptCut != 1 {
		t.Errorf("%d bytes kept, %+v", len(kept), g.Stats())
	}
	other := start(t, newNode(), Options{Routes: []Route{{Backend: b, Path: "/other"}}})
	defer stop(other)
	if number, kept := other.Match(parse(t, request), "plain"); number != 0 || kept != nil {
		t.Errorf("route %d, %q for a session without one", number, kept)
	}
}

// What backends get, byte for byte but for the ids, times and signatures.
func TestGoldens(t *testing.T) {
	got := make(chan string, 16)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if err := webhook.Verify(r.Header, body, keys(t), time.Now()); err != nil {
			t.Errorf("%s: %v", r.Header.Get("Ce-Type"), err)
		}
		got <- dump(r, body)
		w.WriteHeader(http.StatusNoContent)
	}))
	defer server.Close()
	b, err := webhook.New(webhook.Options{Name: "r", URLs: []string{server.URL + "/events?x=1"}, Keys: keys(t)})
	if err != nil {
		t.Fatal(err)
	}
	g := start(t, newNode(), Options{Routes: []Route{{
		Backend: b, Events: []Kind{Connect, Message, Disconnect, Subscribe, Unsubscribe},
		Headers: []string{"X-Tenant"}, Cookies: []string{"session"},
	}}})
	c := client(g, "0123456789abcdef01234567")
	c.UID, c.Agent, c.Meta, c.Encoding = "Zoë 7", `Mozilla/5.0 "x"`, []byte(`{"plan":"pro","name":"Zoë"}`), "belfry.v1"
	_, c.Kept = g.Match(parse(t, request), "belfry.v1")
	g.Opened(c)
	g.Received(c, &session.Inbound{Event: "orders.create", Topic: "orders", Ref: "7", Answered: true, RPC: true, JSON: true, Payload: []byte(`{"item":"bell"}`)})
	plain := client(g, "p")
	plain.UID, plain.Encoding = "", "plain"
	g.Received(plain, &session.Inbound{Kind: message.Binary, Payload: []byte("\x00\xff")})
	g.Received(plain, &session.Inbound{Payload: []byte("grüße")})
	g.Subscribed(c, "room.1")
	g.Unsubscribed(c, "room.1")
	g.Closed(c, session.ReasonPongTimeout, 61500*time.Millisecond)
	g.Closed(plain, session.ReasonGone, time.Second)
	g.Shutdown(context.Background())
	close(got)
	var all []string
	for one := range got {
		all = append(all, one)
	}
	slices.Sort(all) // the sessions' events may come in any order
	text := strings.Join(all, "\n")
	golden := filepath.Join("testdata", "events.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}

func keys(t *testing.T) []webhook.Key {
	t.Helper()
	k, err := webhook.ParseKey("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	return []webhook.Key{k}
}

// dump returns a request as text.
func dump(r *http.Request, body []byte) string {
	var lines []string
	for name, values := range r.Header {
		value := strings.Join(values, ", ")
		switch name {
		case "Ce-Id", "Ce-Time", "Webhook-Id", "Webhook-Timestamp", "Webhook-Signature":
			value = "…"
		}
		lines = append(lines, name+": "+value)
	}
	slices.Sort(lines)
	if r.Header.Get("Content-Type") == "application/octet-stream" {
		body = fmt.Appendf(nil, "%q", body)
	}
	return fmt.Sprintf("%s %s\n%s\n\n%s\n", r.Method, r.URL, strings.Join(lines, "\n"), body)
}

// Every event has an id of its own, which begins with that of the node.
func TestIDs(t *testing.T) {
	b := &backend{}
	g := start(t, newNode(), Options{Routes: []Route{{Backend: b}}})
	for range 3 {
		g.Received(client(g, "s"), text("x"))
	}
	g.Shutdown(context.Background())
	seen := map[string]bool{}
	for _, c := range b.got() {
		seen[c.ID] = true
		if !strings.HasPrefix(c.ID, "00000007-") || strings.Contains(c.ID, ".") {
			t.Errorf("id %q", c.ID)
		}
	}
	if len(seen) != 3 {
		t.Errorf("%v", seen)
	}
}
