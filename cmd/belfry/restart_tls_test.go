package main

import (
	"net/http"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/gorilla/websocket"
)

// TLS connections that the node terminates itself cannot move: the successor takes their
// listeners over, and the old process closes them, so that their clients connect again.
func TestRestartWithTLS(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "control.sock")
	n := startSecureNode(t, "--set", "control.socket="+socket)
	before := n.dial("/ws?topic=news&uid=u1")
	was := n.pid()
	if out, err := exec.Command("belfry", "restart", "--control", socket).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	soon(t, "the successor has the control socket", func() bool { return n.pid() != was })
	if _, _, err := before.ReadMessage(); !websocket.IsCloseError(err, 1012) {
		t.Errorf("%v; want 1012", err)
	}
	before.Close()
	after := n.dial("/ws?topic=news&uid=u1")
	resp, err := n.client.Post("https://"+n.API+"/v1/topics/news", "text/plain", http.NoBody)
	if err != nil || resp.StatusCode != http.StatusAccepted {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
	if _, _, err := after.ReadMessage(); err != nil {
		t.Error(err)
	}
}
