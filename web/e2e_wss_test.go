//go:build e2e

package web

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"belfry/certs/certtest"
)

// secrets has the key that nodes verify tokens with, and another one.
var secrets = [2]string{"a-secret-of-at-least-32-bytes-for-HS256", "another-secret-of-32-bytes-for-HS256-too"}

// token makes a token with one of the secrets, as an identity provider would.
func token(t *testing.T, n *node, secret string, flags ...string) string {
	t.Helper()
	cmd := exec.Command(n.bin, append([]string{"token", "new", "--secret-env", "TOKEN_SECRET"}, flags...)...)
	cmd.Env = append(os.Environ(), "TOKEN_SECRET="+secret)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// secureWorld is a CA, and what Chromium meets under its certificates.
type secureWorld struct {
	t  *testing.T
	ca *certtest.CA
}

func newSecureWorld(t *testing.T) *secureWorld {
	t.Setenv("BELFRY_AUTH_JWT_SECRET", secrets[0])
	return &secureWorld{t, certtest.NewCA(t)}
}

// pair makes a certificate with the CA's behind it.
func (w *secureWorld) pair(name string) (chain, key []byte) {
	chain, key = w.ca.Pair(24*time.Hour, name)
	return append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.ca.DER()})...), key
}

// browser opens a Chromium that accepts the CA. It has no option to add a CA, and the
// system's are not the test's to change. What it has is a list of public keys: a chain
// that has one of them, here the CA's own, is accepted although no CA of the system
// signed it. All other certificates are checked as always. The list works only together
// with a profile of its own, which openBrowser gives.
func (w *secureWorld) browser() *browser {
	w.t.Helper()
	ca, err := x509.ParseCertificate(w.ca.DER())
	if err != nil {
		w.t.Fatal(err)
	}
	key := sha256.Sum256(ca.RawSubjectPublicKeyInfo)
	return openBrowser(w.t, chromedp.Flag("ignore-certificate-errors-spki-list", base64.StdEncoding.EncodeToString(key[:])),
		chromedp.Flag("host-resolver-rules", "MAP *.test 127.0.0.1")) // RFC 6761 §6.2 reserves test
}

// pushHost is the name of nodes.
const pushHost = "push.site.test"

// node starts a node that verifies tokens, with TLS for its clients.
func (w *secureWorld) node(settings ...string) *node {
	w.t.Helper()
	dir := w.t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certText, keyText := w.pair(pushHost)
	for name, text := range map[string][]byte{cert: certText, key: keyText} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	return startNode(w.t, append([]string{"--dev=false", "--set", "tls.cert=" + cert, "--set", "tls.key=" + key}, settings...)...)
}

// url is an address of a node by its name.
func (n *node) url(scheme, path string) string {
	_, port, _ := strings.Cut(n.listen, ":")
	return scheme + "://" + pushHost + ":" + port + path
}

// page serves the page that dials, over https at a host name. It sets a cookie for all
// hosts of the site if that is not empty.
func (w *secureWorld) page(host string, cookie *string) (origin string) {
	w.t.Helper()
	page := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		if *cookie != "" {
			http.SetCookie(rw, &http.Cookie{Name: "auth", Value: *cookie, Domain: "site.test", Path: "/", HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode})
		}
		rw.Header().Set("Content-Type", "text/html")
		io.WriteString(rw, dialing)
	}))
	pair, err := tls.X509KeyPair(w.pair(host))
	if err != nil {
		w.t.Fatal(err)
	}
	page.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	page.StartTLS()
	w.t.Cleanup(page.Close)
	return strings.Replace(page.URL, "127.0.0.1", host, 1)
}

// open goes to a page, whose results start anew.
func (b *browser) open(page string) {
	b.t.Helper()
	b.do(chromedp.Navigate(page))
	b.wait(`typeof dial === "function"`)
}

// gives runs a script of the page and waits for one more result, which has the text.
func (b *browser) gives(script, want string) {
	b.t.Helper()
	before := b.eval("String(results.length)")
	b.do(chromedp.Evaluate[chromedp.Void](script))
	b.wait("results.length > " + before)
	if got := b.eval("results[" + before + "]"); !strings.Contains(got, want) {
		b.t.Errorf("%.60s: %s; want %s", script, got, want)
	}
}

// A page carries a token as a subprotocol over wss: it is who it claims to be, and gets
// what is pushed to that user. A refused token is a close code that the page sees, 4401
// and not 1006.
func TestE2ETokenOverTLS(t *testing.T) {
	w := newSecureWorld(t)
	none := ""
	page := w.page("www.site.test", &none)
	n := w.node("--set", "upgrade.origins="+page)
	b := w.browser()
	b.open(page)
	dial := func(secret, uid, encoding string) string {
		return fmt.Sprintf("dial(%s, [%s, %s])", quote(n.url("wss", "/ws")), quote(encoding), quote(token(t, n, secret, "--uid", uid)))
	}
	b.gives(dial(secrets[0], "ann", "belfry.v1"), `belfry.v1 {"type":"hello","session":`)
	if hello := b.eval("results.at(-1)"); !strings.Contains(hello, `"uid":"ann"`) {
		t.Errorf("ann is greeted with %s", hello)
	}
	b.gives(dial(secrets[0], "bob", "belfry.plain"), "belfry.plain open")
	id := n.push(t, "/v1/users/ann", "text/plain", "for ann")
	b.wait("results.length === 3")
	if got := b.eval("results[2]"); !strings.Contains(got, `"id":`+quote(id)) || !strings.Contains(got, `"data":"for ann"`) {
		t.Errorf("ann gets %s", got)
	}
	n.push(t, "/v1/users/bob", "text/plain", "for bob")
	b.wait(`results[3] === "belfry.plain for bob"`)

	const refused = "token: the signature is not valid for this server's keys"
	b.gives(dial(secrets[1], "mallory", "belfry.v1"), `belfry.v1 {"type":"bye","code":4401,"reason":"unauthorized","reconnect":false,"after":0}`)
	b.wait("results.length === 6")
	if got := b.eval("results[5]"); got != "closed 4401 "+refused {
		t.Errorf("belfry.v1 with a wrong signature: %s", got)
	}
	// onopen comes first: the close code is on a connection that was accepted.
	b.gives(dial(secrets[1], "mallory", "belfry.plain"), "belfry.plain open")
	b.wait("results.length === 8")
	if got := b.eval("results[7]"); got != "closed 4401 "+refused {
		t.Errorf("belfry.plain with a wrong signature: %s", got)
	}
	if !n.metric(t, `belfry_tokens_total{result="token_signature"} 2`) || !n.metric(t, "belfry_sessions 2") || !n.metric(t, "belfry_tls_connections 2") {
		t.Error("the metrics do not show two refusals and two sessions over TLS")
	}
}

// A page of another origin has the visitor's browser connect, and the browser sends the
// visitor's cookie along (cross-site WebSocket hijacking). To a host of the same site the
// cookie goes with SameSite=Lax too, and other sites depend on the browser's policy. The
// node refuses such pages because of their origin: over wss, with either encoding, and
// for event streams.
func TestE2ECrossSiteHijacking(t *testing.T) {
	w := newSecureWorld(t)
	bearer, none := "", ""
	good, evil, other := w.page("www.site.test", &bearer), w.page("users.site.test", &none), w.page("www.other.test", &none)
	careful := w.node("--set", "auth.cookie=auth", "--set", "upgrade.origins="+good)
	careless := w.node("--set", "auth.cookie=auth", "--set", "upgrade.origins="+good+","+evil)
	bearer = token(t, careful, secrets[0], "--uid", "ann")
	b := w.browser()
	dial := func(n *node, protocols string) string {
		return "dial(" + quote(n.url("wss", "/ws")) + protocols + ")"
	}
	stream := func(n *node) string { return "stream(" + quote(n.url("https", "/sse")) + ")" }
	const v1 = `, ["belfry.v1"]`

	b.open(good)
	b.gives(dial(careful, v1), `"uid":"ann"`)
	b.gives(stream(careful), "stream open")
	b.open(evil)
	// A node that lists the other origin shows what the check is for: the cookie comes
	// along, and the page would be ann.
	b.gives(dial(careless, v1), `"uid":"ann"`)
	b.gives(stream(careless), "stream open")
	b.gives(dial(careful, v1), "closed 1006")
	b.gives(dial(careful, `, ["belfry.plain"]`), "closed 1006")
	b.gives(dial(careful, ""), "closed 1006")
	b.gives(stream(careful), "stream refused")
	b.open(other)
	b.gives(dial(careful, v1), "closed 1006")
	b.gives(stream(careful), "stream refused")
	if !careful.metric(t, `belfry_upgrades_total{cause="origin",status="403"} 6`) {
		t.Error("the pages of other origins were not refused six times because of their origin")
	}
	if !careful.metric(t, `belfry_tokens_total{result="accepted"} 2`) {
		t.Error("a token of their requests was looked at")
	}
}
