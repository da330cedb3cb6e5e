package main

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"belfry/auth"
)

// capConn is a session whose end is awaited.
type capConn struct {
	*websocket.Conn
	class  string
	number int
	opened time.Time
	ended  atomic.Int64 // close code; 0: open
	at     atomic.Int64 // when it ended, Unix nanoseconds
}

// capStorm opens sessions of a user in the same moment on all nodes, and returns those
// that opened, and the statuses of all.
func capStorm(t *testing.T, nodes []*clusterNode, sessions int, query func(i int) (query, class string)) (open []*capConn, statuses map[int]int) {
	t.Helper()
	begin, mu := make(chan struct{}), sync.Mutex{}
	var all sync.WaitGroup
	statuses = map[int]int{}
	for i := range sessions {
		text, class := query(i)
		all.Go(func() {
			<-begin
			dialer := websocket.Dialer{HandshakeTimeout: waitLimit}
			conn, resp, err := dialer.Dial("ws://"+nodes[i%len(nodes)].Listen[0]+"/ws?"+text, nil)
			now := time.Now()
			mu.Lock()
			defer mu.Unlock()
			if resp == nil {
				t.Errorf("session %d: %v", i, err)
				return
			}
			if statuses[resp.StatusCode]++; err == nil {
				c := &capConn{Conn: conn, class: class, number: i, opened: now}
				open = append(open, c)
				go c.read()
			}
		})
	}
	close(begin)
	all.Wait()
	t.Cleanup(func() {
		for _, c := range open {
			c.Close()
		}
	})
	return open, statuses
}

// read reads until the session ends.
func (c *capConn) read() {
	for {
		if _, _, err := c.ReadMessage(); err != nil {
			code := -1
			if e, ok := err.(*websocket.CloseError); ok {
				code = e.Code
			}
			c.at.Store(time.Now().UnixNano())
			c.ended.Store(int64(code))
			return
		}
	}
}

// capNodes starts three nodes that know each other.
func capNodes(t *testing.T, flags ...string) []*clusterNode {
	t.Helper()
	flags = append([]string{"--set", "nats.beacon=200ms", "--nats-cluster-listen", "127.0.0.1:0"}, flags...)
	a := startClusterNode(t, "a", flags...)
	nodes := []*clusterNode{a}
	for _, name := range []string{"b", "c"} {
		nodes = append(nodes, startClusterNode(t, name, append(flags, "--nats-routes", a.Cluster)...))
	}
	for _, n := range nodes {
		soon(t, "peers", func() bool { return n.metric("belfry_bus_peers") == 2 && n.metric("belfry_cluster_pending") == 0 })
	}
	return nodes
}

// left waits until n of the sessions are open, and returns how long after the last open
// the last of the others was closed. All others have to be closed with 4006.
func left(t *testing.T, nodes []*clusterNode, uid string, open []*capConn, n int) (took time.Duration) {
	t.Helper()
	count := func() (count int) {
		for _, c := range open {
			if c.ended.Load() == 0 {
				count++
			}
		}
		return count
	}
	soon(t, fmt.Sprintf("%s has %d sessions", uid, n), func() bool { return count() <= n })
	var last, end time.Time
	for _, c := range open {
		if c.opened.After(last) {
			last = c.opened
		}
		if code := c.ended.Load(); code != 0 && code != 4006 {
			t.Errorf("a session was closed with %d", code)
		}
		if at := time.Unix(0, c.at.Load()); c.at.Load() != 0 && at.After(end) {
			end = at
		}
	}
	for _, node := range nodes {
		soon(t, "all nodes know the sessions", func() bool {
			u, _ := node.user(uid, 100)
			return u.Count == n
		})
		// No home is about to close more.
		soon(t, "nothing is over", func() bool { return node.metric("belfry_cluster_caps_over") == 0 })
	}
	if got := count(); got != n {
		t.Errorf("%s has %d sessions; want %d", uid, got, n)
	}
	return end.Sub(last)
}

// capTime is the time after the last open in which the count is exact.
const capTime = time.Second

// Fifty sessions of one user open in the same moment on three nodes: a second later ten of
// them are open, and no other was closed.
func TestCapAcrossNodesEvicts(t *testing.T) {
	t.Parallel()
	nodes := capNodes(t, "--set", "session.max_per_user=10")
	for round := range 3 {
		uid := fmt.Sprint("ann", round)
		open, statuses := capStorm(t, nodes, 50, func(int) (string, string) { return "uid=" + uid, "" })
		if len(open)+statuses[http.StatusTooManyRequests] != 50 { // 429: a newer one took its place before the answer
			t.Fatalf("%v", statuses)
		}
		took := left(t, nodes, uid, open, 10)
		t.Logf("exact %v after the last open", took)
		if took > capTime {
			t.Errorf("exact only %v after the last open", took)
		}
	}
	evicted := 0.0
	for _, n := range nodes {
		evicted += n.metric(`belfry_limits_hit_total{limit="session.max_per_user"}`)
	}
	if evicted != 3*40 {
		t.Errorf("%v sessions were counted", evicted)
	}
}

// With refuse-newest exactly ten get a place, whoever asks where; none is closed.
func TestCapAcrossNodesRefuses(t *testing.T) {
	t.Parallel()
	nodes := capNodes(t, "--set", "session.max_per_user=10", "--set", "session.per_user_policy=refuse-newest")
	for round := range 3 {
		uid := fmt.Sprint("ann", round)
		open, statuses := capStorm(t, nodes, 50, func(int) (string, string) { return "uid=" + uid, "" })
		unsure := 0.0
		for _, n := range nodes {
			unsure += n.metric(`belfry_cluster_caps_asked_total{answer="unsure"}`)
		}
		if unsure == 0 && (statuses[101] != 10 || statuses[http.StatusTooManyRequests] != 40) {
			t.Errorf("%v", statuses)
		}
		if took := left(t, nodes, uid, open, 10); took > capTime {
			t.Errorf("exact only %v after the last open", took)
		}
		// One that leaves makes room on another node.
		for _, c := range open {
			if c.ended.Load() == 0 {
				c.Close()
				break
			}
		}
		soon(t, "one that came back", func() bool { // refused while the home does not know of the one that left
			again, _ := capStorm(t, nodes[round:round+1], 1, func(int) (string, string) { return "uid=" + uid, "" })
			return len(again) == 1
		})
	}
}

// Device classes have limits of their own, named by tokens.
func TestCapOfDeviceClasses(t *testing.T) {
	t.Parallel()
	nodes := capNodes(t, "--set", "auth.jwt.secret="+jwtSecret, "--set", "session.max_per_user=20", "--set", "session.max_per_user_class=phone:1,web:2")
	token := func(uid, class string) string {
		claims := map[string]any{"sub": uid, "exp": time.Now().Add(time.Hour).Unix()}
		if class != "" {
			claims["device_class"] = class
		}
		text, err := auth.Sign([]byte(jwtSecret), "HS256", "", claims)
		if err != nil {
			t.Fatal(err)
		}
		return "token=" + text
	}
	classes := []string{"phone", "web", "tv", ""}
	open, statuses := capStorm(t, nodes, 50, func(i int) (string, string) { return token("ann", classes[i%4]), classes[i%4] })
	if len(open)+statuses[http.StatusTooManyRequests] != 50 {
		t.Fatalf("%v", statuses)
	}
	if took := left(t, nodes, "ann", open, 20); took > capTime {
		t.Errorf("exact only %v after the last open", took)
	}
	count := map[string]int{}
	for _, c := range open {
		if c.ended.Load() == 0 {
			count[c.class]++
		}
	}
	if count["phone"] > 1 || count["web"] > 2 || count["tv"]+count[""] < 17 {
		t.Errorf("%v", count)
	}
	u, _ := nodes[0].user("ann", 100)
	for _, s := range u.Sessions {
		if count[s.DeviceClass]--; count[s.DeviceClass] < 0 {
			t.Errorf("the API shows one more session of class %q", s.DeviceClass)
		}
	}
	if resp, err := http.Get("http://" + nodes[0].Listen[0] + "/ws?" + token("ann", "a b")); err != nil || resp.StatusCode == 101 {
		t.Errorf("%v %v", resp, err)
	}
}
