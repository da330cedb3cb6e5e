//go:build e2e

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"belfry/webhook"
)

// hangingBackend admits clients until it is told to hang.
type hangingBackend struct {
	*httptest.Server
	hangs atomic.Bool
	calls atomic.Int64
}

func startHangingBackend(t *testing.T) *hangingBackend {
	b := &hangingBackend{}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.calls.Add(1)
		io.Copy(io.Discard, r.Body) // else the server does not notice that the client has gone
		if b.hangs.Load() {
			<-r.Context().Done()
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(b.Close)
	return b
}

const storm = 5000

// startHookNode starts a node that asks a backend about each client.
func startHookNode(t *testing.T, name string, b *hangingBackend) *clusterNode {
	// The calls last longer than the measurement: until then nobody is refused.
	return startClusterNode(t, name, "--set", "auth.webhook.url="+b.URL, "--set", "auth.webhook.timeout=9s", "--set", "upgrade.timeout=12s",
		"--set", "auth.subscribe=*", "--set", "max_connections=16384")
}

// resident returns the memory of a process, in bytes.
func resident(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// pushing pushes to a topic every 5 ms until stop is closed, and returns the p99 of
// the time until a client has the message.
func pushing(t *testing.T, n *clusterNode, c *clusterClient, stop <-chan struct{}) time.Duration {
	t.Helper()
	var took []time.Duration
	for tick := time.NewTicker(5 * time.Millisecond); ; <-tick.C {
		select {
		case <-stop:
			slices.Sort(took)
			return took[len(took)*99/100]
		default:
		}
		start := time.Now()
		n.push("/v1/topics/live", fmt.Sprint(len(took)))
		c.expect(fmt.Sprint(len(took)))
		took = append(took, time.Since(start))
	}
}

func after(d time.Duration) <-chan struct{} {
	done := make(chan struct{})
	time.AfterFunc(d, func() { close(done) })
	return done
}

// attack opens handshakes at once and holds them until the test ends.
func attack(t *testing.T, address string) {
	t.Helper()
	const lanes = 50
	var group sync.WaitGroup
	var mu sync.Mutex // guards conns
	var conns []net.Conn
	for range lanes {
		group.Go(func() {
			for range storm / lanes {
				c, err := net.Dial("tcp", address)
				if err != nil {
					t.Error(err)
					return
				}
				fmt.Fprintf(c, "GET /ws HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
					"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\nCookie: session=%0300d\r\n\r\n", address, 7)
				mu.Lock()
				conns = append(conns, c)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	t.Cleanup(func() {
		for _, c := range conns {
			c.Close()
		}
	})
}

// stormed has clients connect at once, and returns the p99 of pushes from then until
// four seconds after the last of them.
func stormed(t *testing.T, n *clusterNode, live *clusterClient) time.Duration {
	t.Helper()
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		attack(t, n.Listen[0])
		<-after(4 * time.Second)
	}()
	return pushing(t, n, live, stop)
}

// TestWebhookStorm has 5,000 clients connect at once while the backend that decides
// about them hangs: memory stays bounded, and pushes to live sessions go on. The
// control is the same storm against a node without a webhook, because 5,000
// handshakes from the same two cores cost pushes time by themselves.
func TestWebhookStorm(t *testing.T) {
	backend := startHangingBackend(t)
	n, control := startHookNode(t, "attacked", backend), startClusterNode(t, "control", "--set", "max_connections=16384")
	live, beside := n.dial("live", "topic=live"), control.dial("beside", "topic=live")
	live.reachable([]*clusterNode{n}, "/v1/topics/live")
	beside.reachable([]*clusterNode{control}, "/v1/topics/live")
	idle := pushing(t, n, live, after(4*time.Second))
	plain := stormed(t, control, beside)
	control.kill()
	before := resident(t, n.cmd.Process.Pid)
	backend.hangs.Store(true)
	attacked := stormed(t, n, live)
	grown := resident(t, n.cmd.Process.Pid) - before
	inFlight := n.metric(`belfry_webhook_in_flight{webhook="connect"}`)
	waiting := n.metric(`belfry_webhook_waiting{webhook="connect"}`)
	t.Logf("p99 of pushes: idle %v; 5,000 handshakes without a webhook %v, with one that hangs %v; RSS grew by %.1f MiB; %v calls in flight, %v clients wait for one", idle, plain, attacked, float64(grown)/(1<<20), inFlight, waiting)
	if inFlight != 256 || waiting != storm-256 {
		t.Errorf("%v calls in flight and %v clients that wait; want 256 and %d", inFlight, waiting, storm-256)
	}
	if grown > 64<<20 {
		t.Errorf("RSS grew by %d bytes; at most 64 MiB", grown)
	}
	if most := 2 * max(idle, plain); attacked > most {
		t.Errorf("p99 of pushes during the handshakes %v; at most %v", attacked, most)
	}
	// Nobody waits for ever, and the node works again when the backend does.
	soon(t, "they are refused", func() bool { return n.metric("belfry_upgrades_waiting") == 0 })
	backend.hangs.Store(false)
	soon(t, "the backend is tried again", func() bool {
		status, _ := n.readiness()
		return status == http.StatusOK && n.metric(`belfry_webhook_urls_open{webhook="connect"}`) == 0
	})
	n.dial("after", "topic=live")
}

// TestE2EWebhooks has a backend in front of a real node: it admits, refuses, grants
// topics, and decides about subscriptions.
func TestE2EWebhooks(t *testing.T) {
	key, err := webhook.ParseKey(signingKey)
	if err != nil {
		t.Fatal(err)
	}
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Event, Topic, Uid, Address string
			Cookies                    map[string][]string
		}
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if err := webhook.Verify(r.Header, raw, []webhook.Key{key}, time.Now()); err != nil {
			t.Error(err)
		}
		if err := json.Unmarshal(raw, &body); err != nil {
			t.Errorf("%v: %s", err, raw)
		}
		switch {
		case body.Event == "connect" && len(body.Cookies["who"]) == 0:
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"reason":"log in first"}`)
		case body.Event == "connect":
			fmt.Fprintf(w, `{"uid":%q,"topics":["news"]}`, body.Cookies["who"][0])
		case body.Topic == "rooms."+body.Uid:
			fmt.Fprint(w, `{"allow":true,"ttl":60}`)
		default:
			fmt.Fprint(w, `{"allow":false,"reason":"not your room"}`)
		}
	}))
	defer backend.Close()
	n := startClusterNode(t, "a", "--set", "auth.webhook.url="+backend.URL, "--set", "auth.webhook.cookies=who", "--set", "auth.webhook.signing_keys="+signingKey,
		"--set", "auth.subscribe_webhook.url="+backend.URL, "--set", "auth.subscribe_webhook.signing_keys="+signingKey, "--set", "auth.subscribe=public.*")
	if status, answer := n.upgrade(""); status != http.StatusForbidden || !strings.Contains(answer, "log in first") {
		t.Errorf("without a cookie: %d %s", status, answer)
	}
	c := n.connectWith("Cookie", "who=ann")
	n.push("/v1/users/ann", "hello ann")
	c.wantData("hello ann")
	n.push("/v1/topics/news", "the news")
	c.wantData("the news")
	for range 2 { // the second decision is remembered
		c.command(`{"type":"sub","ref":"1","topics":["rooms.ann"]}`, `"type":"ack"`)
		c.command(`{"type":"unsub","ref":"2","topics":["rooms.ann"]}`, `"type":"ack"`)
	}
	c.command(`{"type":"sub","ref":"3","topics":["rooms.bob"]}`, "not your room")
	c.command(`{"type":"sub","ref":"4","topics":["public.x"]}`, `"type":"ack"`)
	for series, want := range map[string]float64{
		`belfry_webhook_decisions_total{result="admitted",webhook="connect"}`:  1,
		`belfry_webhook_decisions_total{result="refused",webhook="connect"}`:   1,
		`belfry_webhook_decisions_total{result="allowed",webhook="subscribe"}`: 1,
		`belfry_webhook_decisions_total{result="cached",webhook="subscribe"}`:  1,
		`belfry_webhook_decisions_total{result="refused",webhook="subscribe"}`: 1,
		`belfry_upgrades_total{cause="webhook_refused",status="403"}`:          1,
	} {
		if got := n.metric(series); got != want {
			t.Errorf("%s is %v, want %v", series, got, want)
		}
	}
}
