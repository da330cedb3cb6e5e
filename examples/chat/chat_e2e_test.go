//go:build e2e

// Package chat tests the three backends of the chat with a real node and a real
// browser.
package chat

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// waitLimit is how long anything may take: on a busy machine Chromium needs seconds
// to start.
const waitLimit = time.Minute

func TestE2EChatGo(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "chat")
	run(t, "", "go", "build", "-o", bin, "./go")
	chat(t, "", bin)
}

func TestE2EChatNode(t *testing.T) { chat(t, "node", "node", "server.mjs") }

func TestE2EChatNest(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"main.ts", "package.json", "tsconfig.json"} {
		text, err := os.ReadFile(filepath.Join("nest", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run(t, dir, "npm", "install", "--fetch-retries=5", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error")
	chat(t, dir, "node", "--import", "tsx", "main.ts") // as npm start does
}

// chat lets two people talk through a backend, and a third leave.
func chat(t *testing.T, dir, name string, args ...string) {
	backend := freeAddress(t)
	_, port, _ := net.SplitHostPort(backend)
	t.Setenv("PORT", port)
	start(t, dir, name, args...)
	reachable(t, backend)
	belfry := startBelfry(t, backend)
	page := httptest.NewServer(http.FileServer(http.Dir("page")))
	defer page.Close()

	browser := openBrowser(t)
	ann := open(t, browser, page.URL, belfry, "ann")
	wait(t, ann, `document.querySelector("#who").textContent === "ann"`)
	bob := open(t, browser, page.URL, belfry, "bob é")
	wait(t, bob, `document.querySelector("#who").textContent === "ann, bob é"`)
	wait(t, ann, has("bob é is here"))

	say(t, ann, "hello <b>bob</b>")
	wait(t, bob, has("ann: hello <b>bob</b>"))
	for n := range 20 {
		say(t, bob, fmt.Sprint("line ", n))
	}
	wait(t, ann, has("bob é: line 19"))
	lines := eval[[]string](t, ann, `[...document.querySelectorAll("#lines li")].map((li) => li.textContent).filter((line) => line.startsWith("bob é: "))`)
	for n, line := range lines {
		if want := fmt.Sprint("bob é: line ", n); line != want {
			t.Errorf("line %d is %q", n, line)
		}
	}

	say(t, ann, "") // the backend refuses it and says why
	wait(t, ann, `document.querySelector("#error").textContent === "say something"`)

	if err := chromedp.Cancel(bob); err != nil { // closes the tab
		t.Fatal(err)
	}
	wait(t, ann, has("bob é has left"))
	wait(t, ann, `document.querySelector("#who").textContent === "ann"`)
}

// has is an expression: the page shows a line.
func has(line string) string {
	quoted, _ := json.Marshal(line)
	return `[...document.querySelectorAll("#lines li")].some((li) => li.textContent === ` + string(quoted) + `)`
}

func say(t *testing.T, tab context.Context, text string) {
	t.Helper()
	quoted, _ := json.Marshal(text)
	do(t, tab, chromedp.Evaluate[chromedp.Void](`document.querySelector("#text").value = `+string(quoted)+`; document.querySelector("button").click()`))
}

func do(t *testing.T, tab context.Context, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(tab, waitLimit)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// eval returns the value of an expression.
func eval[T any](t *testing.T, tab context.Context, expression string) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(tab, waitLimit)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// wait waits until an expression is true.
func wait(t *testing.T, tab context.Context, expression string) {
	t.Helper()
	for end := time.Now().Add(waitLimit); time.Now().Before(end); time.Sleep(30 * time.Millisecond) { // before the next look
		if eval[bool](t, tab, "Boolean("+expression+")") {
			return
		}
	}
	t.Fatalf("not true: %s; the page shows\n%s", expression, eval[string](t, tab, "document.body.innerText"))
}

func openBrowser(t *testing.T) context.Context {
	t.Helper()
	alloc, cancelAlloc := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(find(t, "chromium")), chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(2*time.Minute),
		chromedp.NoSandbox, chromedp.DisableGPU)...) // both for containers
	browser, cancel := chromedp.NewContext(alloc)
	t.Cleanup(func() {
		if err := chromedp.Cancel(browser); err != nil { // waits for the exit, so that the profile can be removed
			t.Logf("closing the browser: %v", err)
		}
		cancel()
		cancelAlloc()
	})
	if err := chromedp.Do(browser); err != nil { // starts the browser; a context with a deadline would end it
		t.Fatal(err)
	}
	return browser
}

// open opens the page in a tab of its own.
func open(t *testing.T, browser context.Context, page, belfry, uid string) context.Context {
	t.Helper()
	tab, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	if err := chromedp.Do(tab); err != nil {
		t.Fatal(err)
	}
	do(t, tab, chromedp.Navigate(page+"/?belfry="+belfry+"&uid="+strings.ReplaceAll(uid, " ", "%20")))
	return tab
}

// startBelfry starts a node with the configuration of the example, for a backend at
// another address. It returns the address for clients.
func startBelfry(t *testing.T, backend string) string {
	t.Helper()
	text, err := os.ReadFile("belfry.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "belfry.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(text), "127.0.0.1:3000", backend)), 0o644); err != nil {
		t.Fatal(err)
	}
	bin := os.Getenv("BELFRY_BIN")
	if bin == "" {
		bin = "../../bin/belfry"
	}
	if bin, err = filepath.Abs(bin); err != nil {
		t.Fatal(err)
	}
	clients := freeAddress(t)
	start(t, "", bin, "serve", "--dev", "--config", file, "--listen", clients, "--api", freeAddress(t))
	reachable(t, clients)
	return clients
}

// start runs a program until the test ends.
func start(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(find(t, name), args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, t.Output(), t.Output()
	cmd.WaitDelay = 5 * time.Second // for children that keep its output open
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

func run(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, find(t, name), args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(cmd.Args, " "), err, out)
	}
}

// find returns the path of a program. A missing one fails the test.
func find(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%v; on Debian: apt-get install nodejs npm chromium; for belfry run make build", err)
	}
	return path
}

// reachable waits until something listens at an address.
func reachable(t *testing.T, address string) {
	t.Helper()
	for end := time.Now().Add(waitLimit); time.Now().Before(end); time.Sleep(50 * time.Millisecond) { // before the next look
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			return
		}
	}
	t.Fatalf("nothing listens at %s", address)
}

// freeAddress returns an address that is not in use at the moment.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 1000 { // below the ephemeral range, whose ports may be taken before the program listens
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", 12_000+rand.IntN(20_000)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}
