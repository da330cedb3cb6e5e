//go:build e2e

package deploy

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// TLS ends at the proxy: for belfry its connections are plain sockets, so they survive a
// hot restart, and neither the proxy nor its clients notice.
func TestE2ERestartBehindProxies(t *testing.T) {
	for name, startProxy := range map[string]func(t *testing.T, n *node) *proxy{
		"nginx":        func(t *testing.T, n *node) *proxy { return startNginx(t, n, "nginx/belfry.conf") },
		"haproxy http": func(t *testing.T, n *node) *proxy { return startHAProxy(t, n, "haproxy/belfry-http.cfg") },
	} {
		t.Run(name, func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "control.sock")
			n := startNode(t, "control.socket="+socket)
			p := startProxy(t, n)
			var clients []*websocket.Conn
			for i := range 20 {
				c := p.mustDial(t, visit{url: fmt.Sprintf("wss://%s/ws?topic=t%d", site, i%2), origin: "https://" + site})
				c.SetPongHandler(func(string) error { return nil })
				clients = append(clients, c)
			}
			for round := range 3 {
				for i, c := range clients {
					if err := c.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second)); err != nil {
						t.Fatalf("client %d: %v", i, err)
					}
				}
				out, err := exec.Command(belfryFile(t), "restart", "--control", socket).CombinedOutput()
				if err != nil {
					t.Fatalf("belfry restart: %v: %s", err, out)
				}
				for topic := range 2 {
					text := fmt.Sprintf("topic %d after restart %d", topic, round)
					n.push(t, fmt.Sprint("t", topic), text)
					for i := topic; i < len(clients); i += 2 {
						arrives(t, clients[i], text)
					}
				}
			}
			exchange(t, p, n, visit{url: "wss://" + site, origin: "https://" + site}, "new")
		})
	}
}
