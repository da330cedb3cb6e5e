package centrifugo

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeGo puts a go command into PATH that runs a script. It writes its arguments
// to a file, whose name fakeGo returns.
func fakeGo(t *testing.T, script string) (log string) {
	t.Helper()
	dir := t.TempDir()
	log = filepath.Join(dir, "log")
	text := "#!/bin/sh\necho \"$@\" >>'" + log + "'\n" + script + "\n"
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
	return log
}

func TestBuildOnce(t *testing.T) {
	log := fakeGo(t, `printf '#!/bin/sh\n' >"$GOBIN/centrifugo" && chmod +x "$GOBIN/centrifugo"`)
	dir := t.TempDir()
	if program, ok := Built(dir); ok {
		t.Errorf("%s is there before it is built", program)
	}
	for range 2 {
		program, err := Build(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		if want, ok := Built(dir); !ok || program != want {
			t.Errorf("program %s, want %s", program, want)
		}
	}
	calls, err := os.ReadFile(log)
	if want := "install github.com/centrifugal/centrifugo/v6@v" + Version + "\n"; err != nil || string(calls) != want {
		t.Errorf("%v; the go command was called with %q, want once %q", err, calls, want)
	}
}

func TestBuildFails(t *testing.T) {
	for script, want := range map[string]string{
		"echo no network >&2; exit 1":    "no network",
		"exit 0":                         "did not make",
		`printf '' >"$GOBIN/centrifugo"`: "did not make", // no program
	} {
		fakeGo(t, script)
		if _, err := Build(t.Context(), t.TempDir()); !errors.Is(err, ErrNotBuilt) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want one with %q", script, err, want)
		}
	}
	t.Setenv("PATH", "")
	if _, err := Build(t.Context(), t.TempDir()); !errors.Is(err, ErrNotBuilt) || !strings.Contains(err.Error(), "go command") {
		t.Errorf("without a go command: %v", err)
	}
}
