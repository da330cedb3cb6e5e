package tool

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
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
