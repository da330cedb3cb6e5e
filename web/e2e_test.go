//go:build e2e

package web

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// TestE2EPage does what a new user does in the first minutes, with a real
// binary, a real browser and real pushes. Its steps build on each other.
func TestE2EPage(t *testing.T) {
	n := startNode(t)
	b := openBrowser(t)
	b.do(chromedp.Navigate(n.api + "/?uid=ann&topic=news"))
	b.is("connected")

	b.step(t, "says who it is", func(t *testing.T) {
		b.wait(`/^[A-Za-z0-9_-]{30}$/.test(document.querySelector("#sid").textContent)`)
		b.wait(`document.querySelector("#uid").textContent === "ann"`)
		b.wait(`document.querySelector("#dev").checkVisibility()`)
		b.wait(`["#node", "#version"].every((id) => document.querySelector(id).textContent.length > 1)`)
		b.wait(`document.querySelector('.chip[data-topic="news"]').dataset.state === "subscribed"`)
	})
	b.step(t, "shows heartbeats", func(t *testing.T) {
		b.wait(`/^[\d.]+ ms$/.test(document.querySelector("#rtt").textContent)`)
		b.wait(`document.querySelector("#heartbeat").textContent.startsWith("The server pings after")`)
		b.wait(`/^[125]0* ms$/.test(document.querySelector("#spark-top").textContent)`)
		b.wait(`/ ago$/.test(document.querySelector("#spark-first").textContent)`)
	})
	b.step(t, "shows pushes", func(t *testing.T) {
		id := n.push(t, "/v1/all", "text/plain", "hello <b>from</b> the test")
		b.arrives("hello <b>from</b> the test")
		b.wait(`[...document.querySelectorAll("#feed .message-id")].some((e) => e.textContent === ` + quote(id) + `)`)
		n.push(t, "/v1/all", "application/octet-stream", "\xde\xad\xbe\xef!")
		b.arrives("de ad be ef 21  ····!")
		n.push(t, "/v1/users/ann", "text/plain", "for ann")
		b.arrives("for ann")
	})
	b.step(t, "subscribes", func(t *testing.T) {
		b.fill("#topic-input", "chat.room-1\r")
		b.wait(`document.querySelector('.chip[data-topic="chat.room-1"][data-state="subscribed"]')`)
		n.push(t, "/v1/topics/chat.room-2", "text/plain", "next door")
		n.push(t, "/v1/topics/chat.room-1", "text/plain", "in this room")
		b.arrives("in this room")
		if b.shows("next door") {
			t.Error("a push to a topic that was not subscribed to arrived")
		}
		b.click(`.chip[data-topic="chat.room-1"] button`)
		b.wait(`!document.querySelector('.chip[data-topic="chat.room-1"]')`)
	})
	b.step(t, "pushes", func(t *testing.T) { pushFromPage(t, b) })
	b.step(t, "looks", func(t *testing.T) { screenshots(t, b, n) })
	b.step(t, "keeps a bounded list", func(t *testing.T) { flood(t, b, n) })
	b.step(t, "comes back after a crash", func(t *testing.T) {
		b.click("#clear")
		before := b.text("#sid")
		n.stop(t, syscall.SIGKILL)
		b.is("lost")
		b.wait(`document.querySelector("#trouble").checkVisibility()`)
		b.shot("lost")
		n.start(t)
		b.is("connected")
		b.wait(`!document.querySelector("#trouble").checkVisibility()`)
		if after := b.text("#sid"); after == before || len(after) != 30 {
			t.Errorf("the session was %s and is %s", before, after)
		}
		n.push(t, "/v1/topics/news", "text/plain", "good morning")
		b.arrives("good morning")
	})
	b.step(t, "tells why the server closed", func(t *testing.T) {
		n.stop(t, syscall.SIGTERM)
		b.is("lost")
		b.wait(`document.querySelector("#feed").textContent.includes("The server is going away. (1001 shutdown)")`)
		n.start(t)
		b.click("#retry") // earlier than the server has advised
		b.is("connected")
	})
	b.step(t, "speaks plain", func(t *testing.T) {
		b.click("#settings summary")
		b.click(`#connect label:has([value="plain"])`)
		b.click(`#connect button[type="submit"]`)
		b.wait(`document.querySelector("#sid").textContent === "a plain client is not told"`)
		b.is("connected")
		n.push(t, "/v1/topics/news", "text/plain", "plainly")
		b.arrives("plainly")
		b.shot("plain")
	})
	b.checkConsole(t)
}

// pushFromPage uses the page's own form.
func pushFromPage(t *testing.T, b *browser) {
	b.fill("#payload", `it's {"from":"here"}`)
	b.click("#push-button")
	b.arrives(`it's {"from":"here"}`)
	b.wait(`document.querySelector("#result").dataset.good === "true"`)
	b.wait(`/^after [\d.]+ ms$/.test(document.querySelector("#feed .lag").textContent)`)
	id := b.text("#result code")
	b.wait(`document.querySelector("#feed .message-id").textContent === ` + quote(id))
	if curl := b.text("#curl"); !strings.HasPrefix(curl, `curl -d 'it'\''s {"from":"here"}' http://`) || !strings.HasSuffix(curl, "/v1/all") {
		t.Errorf("the command is %s", curl)
	}

	b.click(`#scope label:has([value="topics"])`)
	b.wait(`document.querySelector("#target").checkVisibility() && document.querySelector("#target").value === "news"`)
	b.click(`#push label:has([value="binary"])`)
	b.fill("#payload", "00 ff 41")
	b.click("#push-button")
	b.arrives("00 ff 41  ··A")

	b.fill("#target", "no such topic")
	b.click("#push-button")
	b.wait(`document.querySelector("#result").dataset.good === "false"`)
	if result := b.text("#result"); !strings.HasPrefix(result, "400: topic: ") {
		t.Errorf("the refusal reads %q", result)
	}
	b.fill("#target", "news")
	b.click(`#push label:has([value="text"])`)
	b.fill("#payload", "belfry rings")
	b.click("#push-button")
	b.arrives("belfry rings")
}

// screenshots takes the page in both schemes and at a phone's width, where
// nothing may stick out.
func screenshots(t *testing.T, b *browser, n *node) {
	n.push(t, "/v1/all", "application/octet-stream", strings.Repeat("\x00\x1bbelfry\xff", 6))
	n.push(t, "/v1/all", "text/plain", strings.Repeat("A long line that has to be wrapped somewhere. ", 8))
	n.push(t, "/v1/topics/news", "text/plain", `{"headline":"belfry rings","at":"noon"}`)
	b.arrives(`{"headline":"belfry rings","at":"noon"}`)
	for _, look := range []struct {
		name, scheme  string
		width, height int64
	}{
		{"light", "light", 1280, 1000},
		{"dark", "dark", 1280, 1000},
		{"phone-light", "light", 390, 844},
		{"phone-dark", "dark", 390, 844},
		{"phone-small", "light", 320, 640},
		{"tablet", "light", 800, 1000},
	} {
		b.prefer(look.scheme)
		b.do(chromedp.EmulateViewport(look.width, look.height, chromedp.EmulateScale(2)))
		b.wait(fmt.Sprintf("innerWidth === %d && document.documentElement.scrollWidth <= innerWidth", look.width))
		b.shot(look.name)
		if look.width <= 480 {
			phone(t, b, look.name)
		}
	}
	b.do(chromedp.EmulateViewport(1280, 1000))
	b.prefer("light")
	const background = `getComputedStyle(document.body).backgroundColor`
	light := b.eval(background)
	b.click("#theme")
	if dark := b.eval(background); dark == light {
		t.Errorf("the toggle leaves the background %s", dark)
	}
	b.click("#theme")
	if again := b.eval(background); again != light {
		t.Errorf("the toggle does not come back to %s but to %s", light, again)
	}
}

// phone checks the page on a phone: messages are above the facts of the
// session, and controls are at least 44 px high and wide.
func phone(t *testing.T, b *browser, look string) {
	if above := b.eval(`String(document.querySelector("#feed").getBoundingClientRect().top < document.querySelector("#session-title").getBoundingClientRect().top)`); above != "true" {
		t.Errorf("%s: the feed is below the session", look)
	}
	small := b.eval(`[...document.querySelectorAll("button, input, textarea, summary, .segments label, .check")]
		.filter((e) => e.checkVisibility() && !e.closest(".segments label, .check")?.contains(e.parentElement))
		.map((e) => [e.outerHTML.slice(0, 60), e.getBoundingClientRect()])
		.filter(([, r]) => r.height < 44 || r.width < 44)
		.map(([html, r]) => html + " is " + r.width + " by " + r.height).join("\n")`)
	if small != "" {
		t.Errorf("%s: too small to be touched:\n%s", look, small)
	}
}

// flood sends more messages than the page keeps; the newest is on top and all
// are counted.
func flood(t *testing.T, b *browser, n *node) {
	b.click("#clear")
	b.wait(`document.querySelector("#empty").checkVisibility()`)
	const pushes = 230
	for i := range pushes {
		n.push(t, "/v1/all", "text/plain", fmt.Sprintf("flood %d", i+1))
	}
	b.wait(fmt.Sprintf(`document.querySelector("#count").textContent.startsWith("%d received")`, pushes))
	b.wait(fmt.Sprintf(`document.querySelector("#feed .data").textContent === "flood %d"`, pushes))
	if rows := b.eval(`String(document.querySelector("#feed").childElementCount)`); rows != "200" {
		t.Errorf("%s rows are kept; want 200", rows)
	}
}

// step runs one step. After a failure it stops, because later steps would fail
// too.
func (b *browser) step(t *testing.T, name string, part func(*testing.T)) {
	t.Helper()
	ok := t.Run(name, func(t *testing.T) {
		b.t = t
		part(t)
	})
	if b.t = t; !ok {
		t.FailNow()
	}
}

var idForm = regexp.MustCompile(`^\{"id":"([^"]+)"\}\s*$`)

// push posts a message like a backend and returns its id.
func (n *node) push(t *testing.T, path, kind, body string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.api+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	m := idForm.FindSubmatch(answer)
	if resp.StatusCode != http.StatusAccepted || m == nil {
		t.Fatalf("POST %s: %s %s", path, resp.Status, answer)
	}
	return string(m[1])
}
