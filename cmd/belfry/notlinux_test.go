package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestBuildElsewhere: a build for another system fails because it needs Linux,
// and does not list missing symbols.
func TestBuildElsewhere(t *testing.T) {
	for _, system := range []string{"darwin", "windows"} {
		build := exec.Command("go", "build", "-o", os.DevNull, ".")
		build.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0")
		out, err := build.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "belfry_needs_linux") || strings.Contains(string(out), "undefined") {
			t.Errorf("%s: %v\n%s", system, err, out)
		}
	}
}
