package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"belfry/auth"
)

// A token of a key that a reload has removed is refused from then on, also if it was
// verified before; its session stays. Without any key a restart is needed.
func TestReloadTokens(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "belfry.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("auth: {jwt: {secret: " + revokeSecret + "}}")
	n := startClusterNode(t, "tokens", "--config", file)
	reload := func(status int, answer string) {
		t.Helper()
		if got, a := n.post("/v1/reload", ""); got != status || !strings.Contains(a, answer) {
			t.Errorf("%d %s; want %d %s", got, a, status, answer)
		}
	}
	old := tokenOf(t, "ann", time.Minute)
	theirs, err := auth.Sign([]byte(jwtSecret), "HS256", "", map[string]any{"sub": "ann", "exp": time.Now().Add(time.Hour).Unix()})
	if err != nil {
		t.Fatal(err)
	}
	open := n.mustHold(old)
	n.mustHold(old)
	refused := func(token string) {
		t.Helper()
		if h, _ := n.hold(token); h != nil {
			t.Error("admitted")
		}
	}
	refused(theirs)

	write("auth: {jwt: {secret: " + jwtSecret + ", public_key_file: [/no/such/file]}}")
	reload(422, `"field":"auth.jwt.public_key_file"`)
	n.mustHold(old)
	write("auth: {jwt: {secret: " + jwtSecret + "}}")
	reload(200, `"applied":["auth.jwt.secret"],"needs_restart":[]`)
	refused(old)
	n.mustHold(theirs)
	write("")
	reload(200, `"applied":[],"needs_restart":["auth.jwt.secret"]`)
	n.mustHold(theirs)
	refused(old)
	select {
	case code := <-open.ended:
		t.Errorf("the session of the first token was closed with %d", code)
	default:
	}
}
