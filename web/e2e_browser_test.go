//go:build e2e

package web

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// waitLimit is how long the page may take to show something. It reconnects to a
// restarted node within seconds.
const waitLimit = 30 * time.Second

// browser is one tab of a headless Chromium.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex // guards problems
	problems []string   // errors of the browser console
}

// openBrowser starts a Chromium with a profile of its own. If there is none the
// test fails: e2e tests run only on request.
func openBrowser(t *testing.T, more ...chromedp.ExecAllocatorOption) *browser {
	t.Helper()
	var found string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			found = path
			break
		}
	}
	if found == "" {
		t.Fatal("no Chromium found; on Debian: apt-get install chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(found), chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1280, 1000),
		chromedp.WSURLReadTimeout(2*time.Minute),
		chromedp.NoSandbox, chromedp.DisableGPU, // both for containers
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	alloc, cancelAlloc := chromedp.NewExecAllocator(context.Background(), append(options, more...)...)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil { // waits for the exit, so that the profile can be removed
			t.Logf("closing the browser: %v", err)
		}
		cancel()
		cancelAlloc()
	})
	b := &browser{t: t, ctx: ctx}
	if err := chromedp.Do(ctx); err != nil { // starts the browser; a context with a deadline would end it
		t.Fatal(err)
	}
	messages := chromedp.Console(ctx)
	go func() {
		for m, err := range messages {
			if err != nil {
				return // the browser was closed
			}
			if m.Type == chromedp.ConsoleError || m.IsException() {
				b.mu.Lock()
				b.problems = append(b.problems, m.String())
				b.mu.Unlock()
			}
		}
	}()
	return b
}

// checkConsole fails if there were exceptions or violations of the page's own
// policy. Connections refused by a stopped node and the bad push are part of
// the test.
func (b *browser) checkConsole(t *testing.T) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.problems {
		if !strings.Contains(p, "WebSocket connection to") && !strings.Contains(p, "status of 400") {
			t.Errorf("in the console: %s", p)
		}
	}
}

// do runs actions and fails the test if they do not succeed in time.
func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, waitLimit)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatalf("%v; the page shows:\n%s", err, b.page())
	}
}

func (b *browser) click(selector string) {
	b.t.Helper()
	b.do(chromedp.Click(chromedp.CSS(selector)))
}

// fill replaces the text of a field.
func (b *browser) fill(selector, text string) {
	b.t.Helper()
	b.do(chromedp.Evaluate[chromedp.Void](`document.querySelector(`+quote(selector)+`).select()`),
		chromedp.SendKeys(chromedp.CSS(selector), text))
}

// prefer sets the colour scheme that the system asks for.
func (b *browser) prefer(scheme string) {
	b.t.Helper()
	b.do(chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := cdp.Call(ctx, tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	}))
}

// wait waits until a JavaScript expression is true. chromedp.Poll cannot: it
// makes a function of a string, which the page's policy forbids.
func (b *browser) wait(expression string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, waitLimit)
	defer cancel()
	for {
		is, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("Boolean("+expression+")"))
		switch {
		case is:
			return
		case ctx.Err() != nil:
			b.t.Fatalf("not true: %s (%v); the page shows:\n%s", expression, err, b.page())
		}
		select {
		case <-ctx.Done():
		case <-time.After(30 * time.Millisecond): // before the next look
		}
	}
}

// is waits until the page shows the given state of its connection.
func (b *browser) is(state string) {
	b.t.Helper()
	b.wait(`document.querySelector("#state")?.dataset.state === ` + quote(state))
}

// arrives waits until a message with exactly that text is in the feed.
func (b *browser) arrives(text string) {
	b.t.Helper()
	b.wait(inFeed(text))
}

func (b *browser) shows(text string) bool {
	b.t.Helper()
	return b.eval("String("+inFeed(text)+")") == "true"
}

func inFeed(text string) string {
	return `[...document.querySelectorAll("#feed .data")].some((e) => e.textContent === ` + quote(text) + `)`
}

func (b *browser) text(selector string) string {
	b.t.Helper()
	return b.eval(`document.querySelector(` + quote(selector) + `).textContent`)
}

// eval returns the string that a JavaScript expression gives.
func (b *browser) eval(expression string) string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, waitLimit)
	defer cancel()
	s, err := chromedp.Run(ctx, chromedp.Evaluate[string](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return s
}

// page returns the text of the page, for a failure's message.
func (b *browser) page() string {
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string]("document.body.innerText"))
	if err != nil {
		return err.Error()
	}
	return text
}

// shot puts a screenshot of the whole page into the folder that BELFRY_SHOTS
// names, or into the test's own. Animations that end are over then.
func (b *browser) shot(name string) {
	b.t.Helper()
	b.wait(`document.getAnimations().every((a) => a.playState !== "running" || a.effect.getTiming().iterations === Infinity)`)
	ctx, cancel := context.WithTimeout(b.ctx, waitLimit)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatal(err)
	}
	dir := os.Getenv("BELFRY_SHOTS")
	if dir == "" {
		dir = b.t.ArtifactDir()
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

func quote(s string) string {
	q, _ := json.Marshal(s) // a string can always be
	return string(q)
}
