package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"syscall"
	"testing"
)

// goneBackend counts the disconnects that it is told of.
type goneBackend struct {
	*httptest.Server
	mu     sync.Mutex
	closed map[string]int // by user, node and reason
	ids    map[string]bool
}

func newGoneBackend(t *testing.T) *goneBackend {
	b := &goneBackend{closed: map[string]int{}, ids: map[string]bool{}}
	b.Server = httptest.NewServer(b)
	t.Cleanup(b.Close)
	return b
}

func (b *goneBackend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p, _ := io.ReadAll(r.Body)
	var body struct{ UID, SID, Reason string }
	_ = json.Unmarshal(p, &body)
	if r.Header.Get("Ce-Type") == "belfry.session.closed" && r.Header.Get("Ce-Sid") == body.SID {
		b.mu.Lock()
		b.closed[fmt.Sprint(body.UID, " ", r.Header.Get("Ce-Node"), " ", body.Reason)]++
		b.ids[r.Header.Get("Ce-Id")] = true
		b.mu.Unlock()
	}
	w.WriteHeader(http.StatusNoContent)
}

// told returns of how many sessions it was told, and how many ids that had.
func (b *goneBackend) told() (n, ids int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.closed), len(b.ids)
}

// The disconnects of a node that is killed are sent by the others: one for each
// session with a route that wants it, and none for other sessions. A node that is told
// to stop sends its own.
func TestGoneNodesAreTold(t *testing.T) {
	t.Parallel()
	b := newGoneBackend(t)
	flags := []string{"--set", "nats.beacon=100ms", "--nats-cluster-listen", "127.0.0.1:0", "--set", fmt.Sprintf(
		`gateway.routes=[{name: chat, url: "%[1]s", path: /chat, events: [connect, disconnect], queue: 64}, {name: news, url: "%[1]s", path: /news}]`, b.URL)}
	x := startClusterNode(t, "x", flags...)
	flags = append(flags, "--nats-routes", x.Cluster)
	y, z := startClusterNode(t, "y", flags...), startClusterNode(t, "z", flags...)
	nodes := []*clusterNode{x, y, z}
	const each = 60
	for i := range each {
		for at, n := range nodes {
			n.connect("/chat", fmt.Sprint("u", i, "-", at))
		}
		z.connect("/news", fmt.Sprint("news", i))
		z.connect("/ws", fmt.Sprint("plain", i))
	}
	sum := func(series string) (sum float64) {
		for _, n := range nodes {
			sum += n.metric(series)
		}
		return sum
	}
	soon(t, "every session is known to two nodes", func() bool {
		return sum(`belfry_cluster_sessions{of="kept"}`) == 5*each && sum("belfry_cluster_pending") == 0 && sum("belfry_bus_peers") == 6
	})
	z.kill()
	nodes = nodes[:2]
	soon(t, "the backend is told", func() bool { n, _ := b.told(); return n >= each })
	soon(t, "nothing waits", func() bool {
		return sum("belfry_gateway_gone_sessions") == 0 && sum("belfry_gateway_sessions") == 0
	})
	for i := range each {
		if got := b.closed[fmt.Sprint("u", i, "-2 z node_gone")]; got != 1 {
			t.Errorf("of the session of u%d on z the backend was told %d times", i, got)
		}
	}
	if n, ids := b.told(); n != each || ids != each {
		t.Errorf("%d sessions with %d ids, want %d: %v", n, ids, each, b.closed)
	}
	if err := y.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-y.done
	soon(t, "y has left", func() bool { return x.metric("belfry_bus_peers") == 0 })
	for i := range each {
		if got := b.closed[fmt.Sprint("u", i, "-1 y shutdown")]; got != 1 {
			t.Errorf("of the session of u%d on y the backend was told %d times", i, got)
		}
	}
	if n, _ := b.told(); n != 2*each {
		t.Errorf("%d sessions, want %d: %v", n, 2*each, b.closed)
	}
}
