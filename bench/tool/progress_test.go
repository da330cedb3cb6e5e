package tool

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Without a terminal there is a line for each step, and one for each Say.
func TestProgressLines(t *testing.T) {
	name := filepath.Join(t.TempDir(), "out")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := NewProgress(f)
	p.Begin(2)
	p.Step("first, of %d", 2)
	p.Note("not printed")
	p.Say("left out: %s", "x")
	p.Step("second")
	p.End()
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if want := regexp.MustCompile(`^ +0s  1/2  first, of 2\nleft out: x\n +0s  2/2  second\n$`); !want.Match(got) {
		t.Errorf("%q does not match %s", got, want)
	}
}

// Without Begin there is a line for each step too, and a step that counts says
// every 10 s how far it is.
func TestProgressOfALongStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		p := NewProgress(&out)
		p.Step("starting")
		p.Count(100, "connecting")
		for range 25 {
			time.Sleep(time.Second) // of virtual time: the work
			p.Add(1)
		}
		p.Note("too early")
		if p.Doing() != "connecting" {
			t.Error(p.Doing())
		}
		p.End()
		const want = "    0s  starting\n    0s  connecting\n   10s    10 of 100, 1/s\n   20s    20 of 100, 1/s\n"
		if out.String() != want {
			t.Errorf("%q, want %q", out.String(), want)
		}
	})
}
