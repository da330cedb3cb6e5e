package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// documented matches commands of this program in documents and in the help.
var documented = regexp.MustCompile("(?m)belfry-bench ([a-z]+)((?: (?:--[^ `\n]+|[^ `\n|]+))*)")

// TestDocumentedCommands: the commands in documents are scenarios with flags that
// exist and values that are allowed.
func TestDocumentedCommands(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	adrs, err := filepath.Glob("../../docs/adr/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, page := range append(append(pages, adrs...), "../../README.md", "../../Makefile") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range documented.FindAllStringSubmatch(string(text), -1) {
			flags := m[2]
			if at := strings.Index(flags, " --"); at < 0 {
				flags = ""
			} else {
				flags = flags[at:]
			}
			flags = strings.NewReplacer("$(ARGS)", "", "$(CONNECTIONS)", "1000", " --help", "").Replace(flags)
			found++
			root := newRootCommand()
			cmd, _, err := root.Find([]string{m[1]})
			if err != nil || cmd == root {
				t.Errorf("%s: %s: %v", page, m[0], err)
				continue
			}
			if cmd.DisableFlagParsing {
				continue
			}
			if err := cmd.ParseFlags(strings.Fields(flags)); err != nil {
				t.Errorf("%s: %s: %v", page, m[0], err)
			}
		}
	}
	if found < 6 {
		t.Errorf("%d commands found only", found)
	}
}
