package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// documented matches commands that start a node, including continued lines.
var documented = regexp.MustCompile(`(?m)^(?:bin/)?belfry serve (?:.*\\\n)*.*$`)

// TestDocumentedCommands: the commands in documents use flags and settings that
// exist.
func TestDocumentedCommands(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, page := range append(pages, "../../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, command := range documented.FindAllString(string(text), -1) {
			found++
			command = strings.ReplaceAll(command, "\\\n", " ")
			args := append([]string{"config", "print"}, strings.Fields(command)[2:]...)
			var out, complaint bytes.Buffer
			if code := execute(args, nil, strings.NewReader(""), &out, &complaint); code != exitOK {
				t.Errorf("%s: %s\n%s", page, command, &complaint)
			}
		}
	}
	if found < 6 {
		t.Errorf("%d commands found only", found)
	}
}
