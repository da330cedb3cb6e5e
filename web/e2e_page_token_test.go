//go:build e2e

package web

import (
	"testing"

	"github.com/chromedp/chromedp"
)

// The demo page takes a token: it is who the token names, and says why a token is
// refused.
func TestE2EPageToken(t *testing.T) {
	t.Setenv("BELFRY_AUTH_JWT_SECRET", secrets[0])
	n := startNode(t, "--set", "auth.subscribe=*")
	b := openBrowser(t)
	b.do(chromedp.Navigate(n.api + "/?uid=guest"))
	b.is("connected")
	connect := func(token string) {
		t.Helper()
		b.fill("#token-input", token)
		b.click(`#connect button[type="submit"]`)
	}
	b.click("#settings summary")
	b.wait(`document.querySelector("#token-hint").checkVisibility() && !document.querySelector("#no-tokens").checkVisibility()`)
	connect("not a token")
	b.wait(`document.querySelector("#token-problem").textContent.startsWith("A token is one word")`)
	connect(token(t, n, secrets[0], "--uid", "ann"))
	b.wait(`document.querySelector("#uid").textContent === "ann"`)
	b.is("connected")
	n.push(t, "/v1/users/ann", "text/plain", "for ann alone")
	b.arrives("for ann alone")
	b.shot("token")

	connect(token(t, n, secrets[1], "--uid", "ann"))
	b.is("lost")
	const why = "The credentials were not accepted. (4401 unauthorized) The server says: token: the signature is not valid for this server's keys."
	b.wait(`document.querySelector("#trouble-text").textContent.startsWith(` + quote(why) + `)`)
	b.wait(`document.querySelector("#trouble-text").textContent.endsWith("Not trying again by itself.")`)
	b.shot("token-refused")
	connect("opaque-token") // no JWT: it is marked as a token all the same
	b.wait(`document.querySelector("#trouble-text").textContent.includes("token: not a JSON Web Token")`)

	b.click(`#connect label:has([value="plain"])`)
	connect(token(t, n, secrets[0], "--uid", "bob"))
	b.is("connected")
	n.push(t, "/v1/users/bob", "text/plain", "for bob alone")
	b.arrives("for bob alone")
	b.wait(`document.querySelector("#uid").textContent === "a plain client is not told"`)
	b.do(chromedp.EmulateViewport(390, 844, chromedp.EmulateScale(2)))
	b.wait("innerWidth === 390 && document.documentElement.scrollWidth <= innerWidth")
	phone(t, b, "token-phone")
	b.shot("token-phone")
	b.checkConsole(t)

	t.Setenv("BELFRY_AUTH_JWT_SECRET", "")
	n = startNode(t)
	b.do(chromedp.Navigate(n.api + "/"))
	b.is("connected")
	b.click("#settings summary")
	b.wait(`document.querySelector("#no-tokens").checkVisibility() && document.querySelector("#token-input").disabled`)
	b.shot("no-tokens")
}
