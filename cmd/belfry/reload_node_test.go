package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A certificate that cannot be used keeps a good change in the file from being
// applied; with a good one both are.
func TestReloadCertificate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "belfry.yaml")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(file, "log: {level: info}\n")
	n := startSecureNode(t, "--config", file)
	reload := func(status int) string {
		t.Helper()
		resp, err := n.client.Post("https://"+n.API+"/v1/reload", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != status {
			t.Fatalf("%s %s %v", resp.Status, text, err)
		}
		return string(text)
	}
	level := func(want string) {
		t.Helper()
		if all := n.get("/v1/config"); !strings.Contains(all, `{"setting":"log.level","value":"`+want+`"`) {
			t.Errorf("log.level is not %s: %s", want, all)
		}
	}
	open := n.dial("/ws")
	certs, err := filepath.Glob(filepath.Join(n.dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	good := map[string]string{}
	for _, name := range certs {
		if text, err := os.ReadFile(name); err == nil && strings.Contains(string(text), "PRIVATE KEY") {
			good[name] = string(text)
			write(name, "not a key\n")
		}
	}
	write(file, "log: {level: debug}\n")
	if a := reload(422); !strings.Contains(a, `"field":"tls.cert"`) {
		t.Error(a)
	}
	level("info")
	for name, text := range good {
		write(name, text)
	}
	if a := reload(200); !strings.Contains(a, `"applied":["log.level"]`) {
		t.Error(a)
	}
	level("debug")
	if err := open.WriteMessage(1, []byte("hello")); err != nil {
		t.Error(err)
	}
}
