package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// notInServer are packages and modules that the server must not contain, by
// what they are for.
var notInServer = map[string][]string{
	"load and figures": {"belfry/bench", "github.com/HdrHistogram", "github.com/vbauerster/mpb"},
	"plots, PDF, LaTeX and fonts": {"gonum.org", "codeberg.org", "git.sr.ht", "golang.org/x/image",
		"github.com/golang/freetype", "github.com/ajstarks/svgo"},
	"templates, whose reflection keeps every exported method in the binary": {"html/template"},
	"formats of Prometheus that are not text":                               {"google.golang.org/protobuf", "github.com/prometheus"},
}

// mostBytes is the largest size of the server's binary. It is exceeded if the
// Makefile's COLD no longer reaches the NATS server.
const mostBytes = 23_000_000

// TestServerHoldsNothingButAServer: what measures and draws belongs to
// cmd/belfry-bench.
func TestServerHoldsNothingButAServer(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := strings.Fields(string(out))
	if len(packages) < 100 {
		t.Fatalf("go list found %d packages only", len(packages))
	}
	for _, p := range packages {
		for purpose, forbidden := range notInServer {
			if within(p, forbidden) {
				t.Errorf("the server contains %s, for %s", p, purpose)
			}
		}
	}
}

// TestServerSize builds the server as make does.
func TestServerSize(t *testing.T) {
	dir := t.TempDir()
	build := exec.Command("make", "--no-print-directory", "-C", "../..", "server", "BIN="+dir)
	build.Env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=") // not those of a make that runs this test
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	info, err := os.Stat(filepath.Join(dir, "belfry"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%.1f MB", float64(info.Size())/1e6)
	if info.Size() > mostBytes {
		t.Errorf("the server has %.1f MB; at most %.1f", float64(info.Size())/1e6, float64(mostBytes)/1e6)
	}
}
