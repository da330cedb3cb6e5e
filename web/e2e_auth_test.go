//go:build e2e

package web

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// dialing is a page that opens WebSockets and event streams, and keeps what became of
// them.
const dialing = `<!DOCTYPE html><title>tokens</title><script>
const results = [];
function dial(url, ...protocols) {
	const ws = new WebSocket(url, ...protocols);
	ws.onmessage = (e) => results.push(ws.protocol + " " + e.data);
	ws.onopen = () => ws.protocol === "belfry.v1" || results.push(ws.protocol + " open");
	ws.onclose = (e) => results.push("closed " + e.code + " " + e.reason);
}
function stream(url) {
	const es = new EventSource(url, {withCredentials: true});
	es.onopen = () => results.push("stream open");
	es.onerror = () => { results.push("stream refused"); es.close(); };
}
</script>`

// startPage serves the page at an origin of its own, without TLS. It sets a cookie if that is not
// empty.
func startPage(t *testing.T, cookie *string) string {
	t.Helper()
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if *cookie != "" {
			http.SetCookie(w, &http.Cookie{Name: "auth", Value: *cookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
		}
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, dialing)
	}))
	t.Cleanup(page.Close)
	return page.URL
}

// metric says whether the node's metrics have a line.
func (n *node) metric(t *testing.T, line string) bool {
	t.Helper()
	resp, err := http.Get(n.api + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(text), "\n"+line+"\n")
}

// Chromium carries a token as a subprotocol and in a cookie. A page of another origin
// on the same host, to which Chromium sends the cookie too, does not connect with it.
func TestE2ETokens(t *testing.T) {
	t.Setenv("BELFRY_AUTH_JWT_SECRET", "a-secret-of-at-least-32-bytes-for-HS256")
	var token, none string
	good, evil := startPage(t, &token), startPage(t, &none)
	n := startNode(t, "--dev=false", "--set", "auth.cookie=auth", "--set", "upgrade.origins="+good)
	out, err := exec.Command(n.bin, "token", "new", "--uid", "ann").Output()
	if err != nil {
		t.Fatal(err)
	}
	b, url := openBrowser(t), quote("ws://"+n.listen+"/ws")
	bearer := strings.TrimSpace(string(out))
	results := 0
	dial := func(protocols, want string) {
		t.Helper()
		results++
		b.do(chromedp.Evaluate[chromedp.Void]("dial(" + url + protocols + ")"))
		b.wait(fmt.Sprintf("results.length === %d", results))
		if got := b.eval("results.at(-1)"); !strings.Contains(got, want) {
			t.Errorf("%.40s: %s; want %s", protocols, got, want)
		}
	}
	b.do(chromedp.Navigate(good)) // without the cookie
	dial(`, ["belfry.v1", `+quote(bearer)+`]`, `"uid":"ann"`)
	dial(`, [`+quote(bearer)+`, "belfry.plain"]`, "belfry.plain open")
	dial(`, [`+quote(bearer)+`]`, "closed 1006")
	dial(``, "closed 1006")
	if !n.metric(t, `belfry_tokens_total{result="token_place"} 1`) || !n.metric(t, `belfry_tokens_total{result="token_missing"} 1`) {
		t.Error("the refusals are not counted")
	}

	token, results = bearer, 0
	b.do(chromedp.Navigate(good))
	dial(``, "open")
	b.do(chromedp.Navigate(evil))
	results = 0
	dial(``, "closed 1006")
	if !n.metric(t, `belfry_upgrades_total{cause="origin",status="403"} 1`) {
		t.Error("the page of another origin was not refused because of its origin")
	}
}
