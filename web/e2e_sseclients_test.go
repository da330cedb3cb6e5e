//go:build e2e

package web

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// eventsourceVersion is the version of the npm package eventsource; it runs on
// Node.js 18.
const eventsourceVersion = "3.0.7"

// program is a client that prints what it receives.
type program struct {
	t     *testing.T
	lines chan string // closed at the end of its output
	ended chan error
}

// startProgram runs a client until the test ends.
func startProgram(t *testing.T, dir, name string, args ...string) *program {
	t.Helper()
	cmd := exec.Command(findProgram(t, name), args...)
	cmd.Dir, cmd.Stderr = dir, t.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &program{t: t, lines: make(chan string, 1024), ended: make(chan error, 1)}
	go func() {
		for in := bufio.NewScanner(out); in.Scan(); {
			p.lines <- in.Text()
		}
		close(p.lines)
		p.ended <- cmd.Wait()
	}()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return p
}

// findProgram returns the path of a program. A missing one fails the test.
func findProgram(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%v; on Debian: apt-get install curl nodejs npm", err)
	}
	return path
}

// want fails the test unless these are the next lines.
func (p *program) want(lines ...string) {
	p.t.Helper()
	for _, want := range lines {
		select {
		case got, ok := <-p.lines:
			if !ok || got != want {
				p.t.Fatalf("%q (more: %v), want %q", got, ok, want)
			}
		case <-time.After(waitLimit):
			p.t.Fatalf("%q did not arrive", want)
		}
	}
}

// await skips lines up to the given one.
func (p *program) await(line string) {
	p.t.Helper()
	for end := time.After(waitLimit); ; {
		select {
		case got, ok := <-p.lines:
			if got == line {
				return
			}
			if !ok {
				p.t.Fatalf("ended without %q", line)
			}
		case <-end:
			p.t.Fatalf("%q did not arrive", line)
		}
	}
}

// curl -N shows the unchanged stream, and each event at once.
func TestE2ECurl(t *testing.T) {
	n := startNode(t)
	c := startProgram(t, "", "curl", "--silent", "--show-error", "-N", "http://"+n.listen+"/sse?topic=news")
	c.want("retry: 3000", "")
	id := n.push(t, "/v1/topics/news", "text/plain", "one\ntwo")
	c.want("id: "+id, "event: news", "data: one", "data: two", "")
	id = n.push(t, "/v1/all", "application/octet-stream", "\xff")
	c.want("id: "+id, "event: message;base64", "data: /w==", "")
	n.stop(t, syscall.SIGTERM)
	c.want(": 1001 server is going away", "retry: 20000", "")
	if err := <-c.ended; err != nil {
		t.Errorf("curl: %v", err)
	}
}

// The npm package eventsource, which Node.js programs use.
func TestE2ENodeEventSource(t *testing.T) {
	n := startNode(t)
	c := startProgram(t, npmFolder(t, "eventsource.mjs", "eventsource@"+eventsourceVersion), "node", "eventsource.mjs", "http://"+n.listen+"/sse?topic=news")
	c.want(`["open"]`)
	id := n.push(t, "/v1/topics/news", "text/plain", "one\ntwo")
	c.want(`["news","one\ntwo",` + quote(id) + `]`)
	id = n.push(t, "/v1/topics/news", "application/octet-stream", "\xff")
	c.want(`["news;base64","/w==",` + quote(id) + `]`)
	id = n.push(t, "/v1/all", "text/plain", "all")
	c.want(`["message","all",` + quote(id) + `]`)
	n.stop(t, syscall.SIGKILL)
	c.want(`["error",0]`)
	n.start(t)
	c.await(`["open"]`)
	id = n.push(t, "/v1/topics/news", "text/plain", "again")
	c.want(`["news","again",` + quote(id) + `]`)
}

// npmFolder returns a folder with a script of testdata and the npm package that it
// imports, given as name@version.
func npmFolder(t *testing.T, script, pkg string) string {
	t.Helper()
	dir := t.TempDir()
	text, err := os.ReadFile(filepath.Join("testdata", script))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, script), text, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte("{}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, findProgram(t, "npm"), "install", "--fetch-retries=5", "--no-package-lock", "--no-audit", "--no-fund",
		"--loglevel=error", pkg)
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(install.Args, " "), err, out)
	}
	return dir
}
