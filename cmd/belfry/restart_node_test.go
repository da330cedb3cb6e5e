package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"belfry/bench"
	"belfry/presence"
)

// restartable starts a node whose control socket has a place of its own.
func restartable(t *testing.T, name string, flags ...string) (n *clusterNode, restart func()) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "control.sock")
	n = startClusterNode(t, name, append(flags, "--set", "control.socket="+socket)...)
	return n, func() {
		t.Helper()
		before := n.pid()
		out, err := exec.Command("belfry", "restart", "--control", socket).CombinedOutput()
		if err != nil {
			t.Fatalf("belfry restart: %v: %s", err, out)
		}
		soon(t, "the successor has the control socket", func() bool { return n.pid() != before })
	}
}

// A node of a cluster is restarted again and again while users of both nodes get pushes by
// both nodes. Each push arrives once and in order, and both nodes know who is where. Where
// the embedded server with its ports changes its process, pushes of the other node that
// come in that moment may be missed, but none comes twice or late.
func TestRestartInCluster(t *testing.T) {
	for name, cluster := range map[string]func(t *testing.T) (a, b []string){
		"external NATS": func(t *testing.T) (a, b []string) {
			url := "--nats-url=" + startNATS(t).url()
			return []string{url}, []string{url}
		},
		"routes": func(t *testing.T) (a, b []string) {
			first, err := bench.FreePort()
			second, err2 := bench.FreePort()
			if err = errors.Join(err, err2); err != nil {
				t.Fatal(err)
			}
			return []string{"--nats-cluster-listen=" + first.String(), "--nats-routes=" + second.String()}, []string{"--nats-cluster-listen=" + second.String(), "--nats-routes=" + first.String()}
		},
	} {
		t.Run(name, func(t *testing.T) {
			flagsA, flagsB := cluster(t)
			a, restart := restartable(t, "ra", flagsA...)
			b := startClusterNode(t, "rb", flagsB...)
			nodes := []*clusterNode{a, b}
			var clients []*clusterClient
			for i, n := range nodes {
				for u := range 4 {
					uid := fmt.Sprintf("u%d-%d", i, u)
					c := n.dial(uid, "uid="+uid+"&topic=news")
					c.reachable(nodes, "/v1/users/"+uid, "/v1/topics/news", "/v1/all")
					clients = append(clients, c)
				}
			}
			before := map[string]string{}
			for _, c := range clients {
				before[c.name] = c.sid
			}
			stop := make(chan struct{})
			var pushing sync.WaitGroup
			sent := make([]map[string]int, len(nodes))
			for i, n := range nodes {
				sent[i] = map[string]int{}
				pushing.Go(func() { n.pushNumbers(i, clients, sent[i], stop) })
			}
			for range 3 {
				restart()
				time.Sleep(300 * time.Millisecond) // pushes between two restarts
			}
			close(stop)
			pushing.Wait()
			for _, n := range nodes {
				n.push("/v1/all", "end")
			}
			for _, c := range clients {
				c.expectNumbers(sent, name == "routes")
			}
			for _, n := range nodes {
				for _, c := range clients {
					soon(t, "who is where", func() bool {
						var u presence.User
						status, _ := n.ask("GET", "/v1/users/"+c.name, &u)
						return status == 200 && len(u.Sessions) == 1 && u.Sessions[0].SID == before[c.name]
					})
				}
			}
		})
	}
}

// Descriptors and sessions are what they were, however often a node is restarted.
func TestRestartLeaksNothing(t *testing.T) {
	n, restart := restartable(t, "leaks")
	n.dial("a", "uid=a&topic=t")
	files := func() int {
		t.Helper()
		all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", n.pid()))
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	restart()
	http.DefaultClient.CloseIdleConnections()
	want := files()
	for range 4 {
		restart()
	}
	soon(t, fmt.Sprintf("as many descriptors as before (%d)", want), func() bool { return files() <= want })
	for _, series := range []string{"belfry_sessions", "belfry_users", "belfry_topics", "belfry_subscriptions", "belfry_taken_over_sessions"} {
		soon(t, series+" 1", func() bool { return n.metric(series) == 1 })
	}
}

// pushNumbers pushes to the users, the topic and all, each push with its number.
func (n *clusterNode) pushNumbers(node int, clients []*clusterClient, sent map[string]int, stop <-chan struct{}) {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		case <-time.After(2 * time.Millisecond):
		}
		target := []string{"/v1/all", "/v1/topics/news", "/v1/users/" + clients[i%len(clients)].name}[i%3]
		for accepted := false; !accepted; {
			status, answer := n.post(target, fmt.Sprintf("%d %s %d", node, target, sent[target]+1))
			switch {
			case status == 202:
				accepted = true
			case status != 503:
				n.t.Errorf("%s: %d %s", target, status, answer)
				return
			}
		}
		sent[target]++
	}
}

// expectNumbers reads what was pushed to a client, and checks that each number comes once
// and in order; with gaps some may be missing.
func (c *clusterClient) expectNumbers(sent []map[string]int, gaps bool) {
	c.t.Helper()
	want, count, got := 0, 0, map[string]int{}
	for _, counts := range sent {
		want += counts["/v1/all"] + counts["/v1/topics/news"] + counts["/v1/users/"+c.name]
	}
	for ends := 0; ends < len(sent); {
		text := c.next()
		if text == "end" {
			ends++
			continue
		}
		var node, number int
		var target string
		if _, err := fmt.Sscan(text, &node, &target, &number); err != nil {
			c.t.Fatalf("%s: %q: %v", c.name, text, err)
		}
		stream := fmt.Sprint(node, target)
		if number != got[stream]+1 && !gaps || number <= got[stream] {
			c.t.Fatalf("%s: number %d of node %d to %s came behind %d", c.name, number, node, target, got[stream])
		}
		got[stream], count = number, count+1
		if strings.HasPrefix(target, "/v1/users/") && target != "/v1/users/"+c.name {
			c.t.Fatalf("%s: got %q", c.name, text)
		}
	}
	if count != want && !gaps || count < want/2 {
		c.t.Errorf("%s: %d of %d pushes came", c.name, count, want)
	}
	if count != want {
		c.t.Logf("%s: %d of %d pushes came", c.name, count, want)
	}
}
