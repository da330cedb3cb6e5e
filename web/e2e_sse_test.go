//go:build e2e

package web

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"
)

// listening opens an event stream in the page, with cookies, and records the
// dispatched events in window.got.
const listening = `window.got = []; window.opened = 0; window.failed = 0;
window.source = new EventSource(%s, { withCredentials: true });
source.onopen = () => opened++;
source.onerror = () => failed++;
for (const type of ["message", "message;base64", "news", "news;base64"]) {
	source.addEventListener(type, (e) => got.push([e.type, e.data, e.lastEventId].join("|")));
}`

// listen opens the event stream at a path of a node, in a page of another
// origin.
func (b *browser) listen(n *node, path string) {
	b.t.Helper()
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<!DOCTYPE html><title>events</title>")
	}))
	b.t.Cleanup(page.Close)
	b.do(chromedp.Navigate(page.URL), chromedp.Evaluate[chromedp.Void](fmt.Sprintf(listening, quote("http://"+n.listen+path))))
}

// dispatched waits until the page's event stream has dispatched an event.
func (b *browser) dispatched(kind, data, id string) {
	b.t.Helper()
	b.wait(`got.includes(` + quote(kind+"|"+data+"|"+id) + `)`)
}

// Chromium's EventSource gets events of topics and of all, text of several
// lines, and binary payloads. It reconnects after a restart of the node.
func TestE2EEventSource(t *testing.T) {
	n := startNode(t)
	b := openBrowser(t)
	b.listen(n, "/sse?topic=news&topic=sport&uid=ann")
	b.wait(`opened === 1 && source.readyState === EventSource.OPEN`)
	b.dispatched("news", "one\n two", n.push(t, "/v1/topics/news", "text/plain", "one\r\n two"))
	b.dispatched("message", "for ann", n.push(t, "/v1/users/ann", "text/plain", "for ann"))
	b.dispatched("news;base64", "3q2+7w==", n.push(t, "/v1/topics/news", "application/octet-stream", "\xde\xad\xbe\xef"))
	b.dispatched("message;base64", "3q0=", n.push(t, "/v1/all", "application/octet-stream", "\xde\xad"))
	n.push(t, "/v1/topics/sport", "text/plain", "no listener") // of an event that the page does not listen for
	b.dispatched("message", "all", n.push(t, "/v1/all", "text/plain", "all"))
	if got := b.eval(`String([got.length, failed])`); got != "5,0" {
		t.Errorf("events, errors: %s; want 5,0", got)
	}

	n.stop(t, syscall.SIGKILL)
	b.wait(`failed > 0 && source.readyState === EventSource.CONNECTING`)
	n.start(t)
	b.wait(`opened === 2`)
	b.dispatched("news", "good morning", n.push(t, "/v1/topics/news", "text/plain", "good morning"))

	n.stop(t, syscall.SIGTERM) // it would reconnect after 20 s
	b.wait(`source.readyState === EventSource.CONNECTING`)
}

// A browser tries a full node again until there is room.
func TestE2EEventSourceFullNode(t *testing.T) {
	n := startNode(t, "--set", "max_connections=1")
	b := openBrowser(t)
	b.listen(n, "/sse")
	b.wait(`source.readyState === EventSource.OPEN`)
	b.do(chromedp.Evaluate[chromedp.Void](`window.first = source`))
	b.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(listening, quote("http://"+n.listen+"/sse?topic=news"))))
	b.wait(`failed > 0 && source.readyState === EventSource.CONNECTING`)
	b.do(chromedp.Evaluate[chromedp.Void](`first.close()`))
	b.wait(`opened > 1 && source.readyState === EventSource.OPEN`)
	b.dispatched("news", "at last", n.push(t, "/v1/topics/news", "text/plain", "at last"))
}
