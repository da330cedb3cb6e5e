package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// A reload changes the routes of sessions that are open. A route for a path that is not
// served needs a restart; a fault elsewhere in the file keeps the routes as they are.
func TestReloadRoutes(t *testing.T) {
	t.Parallel()
	b := newGatewayBackend(t)
	file := filepath.Join(t.TempDir(), "belfry.yaml")
	write := func(rest string, routes ...string) {
		t.Helper()
		text := "gateway:\n  routes:\n"
		for _, r := range routes {
			text += "  - " + strings.ReplaceAll(r, "URL", b.URL) + "\n"
		}
		if err := os.WriteFile(file, []byte(text+rest), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	first := `{name: first, url: URL/first, events: [connect, message, disconnect], match: {uid: "*"}}`
	write("", first)
	n := startClusterNode(t, "gw", "--config", file)
	results := map[string]float64{}
	reload := func(result string) {
		t.Helper()
		results[result]++
		if err := n.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		soon(t, "reload", func() bool {
			return n.metric(fmt.Sprintf(`belfry_reloads_total{result="%s"}`, result)) == results[result]
		})
	}
	ann := n.connect("/ws", "ann")
	ann.say("one")
	ann.gets("one")

	write("  session_queue: 0\n", `{name: second, url: URL/second}`, first)
	reload("failed")
	ann.say("two")
	ann.gets("two")
	write("  session_queue: 2\n", `{name: second, url: URL/second}`, first)
	reload("ok")
	ann.say("three")
	ann.gets("three")
	write("", `{name: room, url: URL/room, path: /room}`, first)
	reload("ok") // the route for /room is not there, and so are none of this file
	ann.say("four")
	ann.gets("four")
	write("", `{name: first, url: URL/other, events: [message, disconnect]}`)
	reload("ok")
	ann.say("five")
	ann.gets("five")
	if got := n.metric(`belfry_gateway_answers_total{answer="pushed",route="first"}`); got != 3 {
		t.Errorf("%v answers: the counter of a route that has changed goes on", got)
	}
	_ = ann.Close()
	want := []string{"session.opened/first", "message/first one", "message/first two", "message/second three", "message/second four", "message/other five", "session.closed/other gone"}
	soon(t, "disconnect", func() bool { return len(b.of("ann")) >= len(want) })
	if got := b.of("ann"); !slices.Equal(got, want) {
		t.Errorf("%q; want %q", got, want)
	}
}

// Without routes at start sessions have none, so the first needs a restart.
func TestReloadFirstRoute(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "belfry.yaml")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	n := startClusterNode(t, "gw", "--config", file)
	if err := os.WriteFile(file, []byte("gateway:\n  in_flight: 7\n  routes: [{name: first, url: \"http://127.0.0.1:1\"}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, a := n.post("/v1/reload", ""); !strings.Contains(a, `"applied":["gateway.in_flight"],"needs_restart":["gateway.routes"]`) {
		t.Error(a)
	}
}
