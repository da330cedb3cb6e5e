package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"belfry/pace"
	"belfry/push"
)

// drainClient is a client that waits for its end.
type drainClient struct {
	conn  *websocket.Conn
	v1    bool
	bye   map[string]any
	close *websocket.CloseError
	at    time.Time
}

// drainClients connects clients, every second one with belfry.v1. done is closed when all
// have ended.
func (n *clusterNode) drainClients(first, count int) (clients []*drainClient, done chan struct{}) {
	n.t.Helper()
	var reading sync.WaitGroup
	for i := first; i < first+count; i++ {
		c := &drainClient{v1: i%2 == 0}
		var protocols []string
		if c.v1 {
			protocols = []string{"belfry.v1"}
		}
		c.conn = n.connect("/ws", fmt.Sprint("u", i), protocols...).Conn
		clients = append(clients, c)
		reading.Go(c.read)
	}
	done = make(chan struct{})
	go func() { reading.Wait(); close(done) }()
	return clients, done
}

func (c *drainClient) read() {
	for {
		_, p, err := c.conn.ReadMessage()
		if err != nil {
			c.at = time.Now()
			c.close, _ = err.(*websocket.CloseError)
			c.conn.Close()
			return
		}
		var m map[string]any
		if json.Unmarshal(p, &m) == nil && m["type"] == "bye" {
			c.bye = m
		}
	}
}

// check looks what a client was told.
func (c *drainClient) check(t *testing.T, reason, text string) {
	t.Helper()
	if c.close == nil || c.close.Code != 1001 || !strings.HasPrefix(c.close.Text, text+", reconnect after ") {
		t.Fatalf("closed with %v, want 1001 %s", c.close, text)
	}
	if after, _ := c.bye["after"].(float64); c.v1 && (c.bye["reason"] != reason || c.bye["reconnect"] != true || after < 1 || after > 11) {
		t.Fatalf("bye %v", c.bye)
	}
}

// send sends a request with a body, and reads the answer into v.
func (n *clusterNode) send(method, path, body string, v any) (int, string) {
	n.t.Helper()
	req, err := http.NewRequest(method, "http://"+n.API+path, strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	p, err := io.ReadAll(resp.Body)
	if err == nil && v != nil {
		err = json.Unmarshal(p, v)
	}
	if err != nil {
		n.t.Fatalf("%s %s: %s: %v", method, path, p, err)
	}
	return resp.StatusCode, string(p)
}

// A drain closes the sessions evenly in its time, and tells each client when to come back;
// the node is not ready before the first is closed, and again when the drain is stopped.
func TestDrain(t *testing.T) {
	t.Parallel()
	n := startClusterNode(t, "a", "--shards", "2", "--set", "upgrade.health=true")
	const sessions, over = 200, 4
	clients, done := n.drainClients(0, sessions)
	soon(t, "sessions", func() bool { return n.metric("belfry_sessions") == sessions })
	var st push.DrainStatus
	if status, body := n.send("GET", "/v1/drain", "", &st); status != 200 || st.State != "off" || st.Left != sessions || st.Node != "a" {
		t.Fatalf("%d %s", status, body)
	}
	begun := time.Now()
	status, body := n.send("POST", "/v1/drain", fmt.Sprintf(`{"over":"%ds"}`, over), &st)
	if status != 200 || st.State != "draining" || st.Total != sessions || st.Over != over || st.Rate != pace.Ceiling(sessions/over, 2) || st.ETA < over-1 || st.ETA > over {
		t.Fatalf("%d %s", status, body)
	}
	if status, reasons := n.readiness(); status != 503 || !strings.Contains(reasons, `"draining"`) {
		t.Errorf("readyz: %d %s", status, reasons)
	}
	if resp, err := http.Get("http://" + n.Listen[0] + "/healthz"); err != nil || resp.StatusCode != 503 {
		t.Errorf("/healthz of clients: %v %v", resp, err)
	}
	late, lateDone := n.drainClients(sessions, 10) // they came all the same
	<-done
	<-lateDone
	took := time.Since(begun).Seconds()
	var at [over + 2]int
	for _, c := range append(clients, late...) {
		c.check(t, "drain", "server is drained")
		at[min(int(c.at.Sub(begun).Seconds()), over+1)]++
	}
	if took < over*0.9 {
		t.Errorf("took %.1f s, want %d s", took, over)
	}
	for second, closed := range at {
		if closed > st.Rate+2 || second > 0 && second < over-1 && closed < sessions/over/2 {
			t.Errorf("closed in each second: %v; the rate is %d", at, st.Rate)
			break
		}
	}
	soon(t, "drained", func() bool {
		n.send("GET", "/v1/drain", "", &st)
		return st.State == "drained"
	})
	if st.Left != 0 || st.Closed != sessions+10 || st.Total != sessions || st.ETA != 0 {
		t.Errorf("%+v", st)
	}
	if shed := n.metric(`belfry_sessions_shed_total{reason="drain"}`); shed != sessions+10 || n.metric("belfry_drain_active") != 1 || n.metric("belfry_drain_sessions") != sessions {
		t.Errorf("%v were counted", shed)
	}
	if status, body := n.send("DELETE", "/v1/drain", "", &st); status != 200 || st.State != "off" {
		t.Errorf("%d %s", status, body)
	}
	if status, reasons := n.readiness(); status != 200 {
		t.Errorf("readyz after the stop: %d %s", status, reasons)
	}
	if n.metric("belfry_drain_active") != 0 {
		t.Error("active after the stop")
	}
}

// A drain that is stopped closes nothing more, another one goes on; with shutdown.delay
// nothing is closed before load balancers had their time.
func TestDrainStops(t *testing.T) {
	t.Parallel()
	n := startClusterNode(t, "a", "--set", "shutdown.delay=1s")
	const sessions = 100
	_, done := n.drainClients(0, sessions)
	soon(t, "sessions", func() bool { return n.metric("belfry_sessions") == sessions })
	begun := time.Now()
	var st push.DrainStatus
	if n.send("POST", "/v1/drain", `{"over":"20s"}`, &st); st.State != "waiting" || st.ETA < 20 || st.ETA > 21 {
		t.Errorf("%+v", st)
	}
	if status, _ := n.readiness(); status != 503 {
		t.Errorf("readyz: %d", status)
	}
	soon(t, "some are closed", func() bool {
		n.send("GET", "/v1/drain", "", &st)
		return st.Closed > 0
	})
	if waited := time.Since(begun); waited < time.Second {
		t.Errorf("closed after %v, shutdown.delay is 1s", waited)
	}
	n.send("DELETE", "/v1/drain", "", &st)
	left := st.Left
	if status, _ := n.readiness(); status != 200 || left < sessions/2 {
		t.Errorf("readyz %d, %d left after the stop", status, left)
	}
	clients, _ := n.drainClients(sessions, 1) // a load balancer sends clients again
	for range 10 {
		time.Sleep(50 * time.Millisecond) // ten steps in which the drain would close a session
		if n.send("GET", "/v1/drain", "", &st); st.Left != left+1 || st.State != "off" {
			t.Fatalf("%+v after the stop with %d left", st, left)
		}
	}
	n.send("POST", "/v1/drain", `{"over":"20s"}`, &st)
	n.send("POST", "/v1/drain", `{"over":"2s"}`, &st) // faster
	<-done
	soon(t, "drained", func() bool {
		n.send("GET", "/v1/drain", "", &st)
		return st.State == "drained"
	})
	if took := time.Since(begun); took > 15*time.Second || st.Total != left+1 || len(clients) != 1 {
		t.Errorf("the second time was not taken: %v, %+v", took, st)
	}
}

// Clients that speak TLS are closed as others are.
func TestDrainTLS(t *testing.T) {
	t.Parallel()
	n := startSecureNode(t)
	dialer := websocket.Dialer{TLSClientConfig: n.ca.Client(), HandshakeTimeout: waitLimit}
	conn, resp, err := dialer.Dial("wss://"+n.TLS[0]+"/ws?uid=u", nil)
	if err != nil {
		t.Fatalf("%v%s", err, answered(resp))
	}
	c := &drainClient{conn: conn}
	answer, err := n.client.Post("https://"+n.API+"/v1/drain", "application/json", strings.NewReader(`{"over":"1s"}`))
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	c.read()
	c.check(t, "drain", "server is drained")
}

// A node that has more than the mean sheds what the other is to have, slowly, and stops. A
// client in the middle of a message stays.
func TestRebalance(t *testing.T) {
	t.Parallel()
	flags := []string{"--set", "nats.beacon=100ms", "--nats-cluster-listen", "127.0.0.1:0", "--set", "cluster.rebalance=50"}
	x := startClusterNode(t, "x", flags...)
	const sessions, busy = 100, 20
	for _, c := range x.unfinished(busy) {
		defer c.Close()
	}
	clients, done := x.drainClients(0, sessions)
	soon(t, "sessions", func() bool { return x.metric("belfry_sessions") == sessions+busy })
	y := startClusterNode(t, "y", append(flags, "--nats-routes", x.Cluster)...)
	const half = (sessions + busy) / 2
	begun, came := time.Now(), 0
	soon(t, "half of the clients came to the other node", func() bool {
		shed := int(x.metric(`belfry_sessions_shed_total{reason="rebalance"}`))
		if shed > came { // at once: the two nodes have never had less together
			y.drainClients(sessions+came, shed-came)
			came = shed
		}
		return came >= half && x.metric("belfry_rebalance_running") == 0
	})
	if took := time.Since(begun); took < time.Second {
		t.Errorf("%d sessions were shed in %v, at 50 a second", came, took)
	}
	if n := x.metric("belfry_sessions"); came > half+6 || n < half-6 || n > half {
		t.Errorf("%d were shed; %v are left of %d", came, n, sessions+busy)
	}
	ended := 0
	for _, c := range clients {
		c.conn.Close()
	}
	<-done
	for _, c := range clients {
		if c.close != nil {
			c.check(t, "rebalance", "other servers have fewer clients")
			ended++
		}
	}
	if ended != came {
		t.Errorf("%d clients were told, %d sessions shed: those in the middle of a message had to stay", ended, came)
	}
	if shed := y.metric(`belfry_sessions_shed_total{reason="rebalance"}`); shed != 0 {
		t.Errorf("the new node shed %v", shed)
	}
}
