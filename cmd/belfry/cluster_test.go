package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
)

// TestThreeNodesByRoutes has three nodes whose embedded servers are joined by
// routes. As in README, the third node knows only the first.
func TestThreeNodesByRoutes(t *testing.T) {
	t.Parallel()
	a := startClusterNode(t, "a", "--nats-cluster-listen", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0")
	b := startClusterNode(t, "b", "--nats-cluster-listen", "127.0.0.1:0", "--nats-routes", a.Cluster)
	c := startClusterNode(t, "c", "--nats-cluster-listen", "127.0.0.1:0", "--nats-routes", "nats://"+a.Cluster)
	threeNodes(t, []*clusterNode{a, b, c}, "nats://"+a.NATS)
}

// TestThreeNodesByServer has three nodes that use one NATS server.
func TestThreeNodesByServer(t *testing.T) {
	t.Parallel()
	server := startNATS(t)
	var nodes []*clusterNode
	for _, name := range []string{"a", "b", "c"} {
		nodes = append(nodes, startClusterNode(t, name, "--nats-url", server.url()))
	}
	threeNodes(t, nodes, server.url())
}

func startNATS(t *testing.T) *natsServer {
	t.Helper()
	server := &natsServer{}
	if err := server.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.stop)
	return server
}

// threeNodes tests a cluster, however it is joined.
func threeNodes(t *testing.T, nodes []*clusterNode, natsURL string) {
	a, b, c := nodes[0], nodes[1], nodes[2]
	for _, n := range nodes {
		soon(t, "peers", func() bool { return n.metric("belfry_bus_peers") == 2 })
	}
	ann1 := a.dial("ann at a", "uid=ann&topic=news")
	ann2 := b.dial("ann at b", "uid=ann&topic=news&topic=sport")
	bob := c.dial("bob at c", "uid=bob&topic=news")
	for _, client := range []*clusterClient{ann1, ann2} {
		client.reachable(nodes, "/v1/all", "/v1/topics/news", "/v1/users/ann", "/v1/sessions/"+client.sid)
	}
	ann2.reachable(nodes, "/v1/topics/sport")
	bob.reachable(nodes, "/v1/all", "/v1/topics/news", "/v1/users/bob", "/v1/sessions/"+bob.sid)

	// A message that is not for a client would arrive before the next one that
	// is.
	for i, n := range nodes {
		at := fmt.Sprintf(" from node %d", i)
		n.push("/v1/all", "all"+at)
		ann1.expect("all" + at)
		ann2.expect("all" + at)
		bob.expect("all" + at)
		n.push("/v1/topics/news", "news"+at)
		ann1.expect("news" + at)
		ann2.expect("news" + at)
		bob.expect("news" + at)
		n.push("/v1/topics/sport", "sport"+at)
		ann2.expect("sport" + at)
		n.push("/v1/users/ann", "ann"+at)
		ann1.expect("ann" + at)
		ann2.expect("ann" + at)
		n.push("/v1/sessions/"+bob.sid, "bob's session"+at)
		bob.expect("bob's session" + at)
		n.push("/v1/all?exclude="+ann2.sid, "not for ann2"+at)
		ann1.expect("not for ann2" + at)
		bob.expect("not for ann2" + at)
		batch := `{"to":{"sessions":["` + ann1.sid + `","` + bob.sid + `"]},"text":"two sessions` + at + `"}
{"to":{"topics":["sport","news"]},"text":"two topics` + at + `","exclude":"` + bob.sid + `"}
{"to":{"users":["ann","bob"]},"text":"two users` + at + `"}`
		if status, answer := n.post("/v1/batch", batch); status != http.StatusOK || strings.Contains(answer, "error") {
			t.Fatalf("batch: %d %s", status, answer)
		}
		unordered(ann1, "two sessions"+at, "two topics"+at, "two users"+at)
		unordered(ann2, "two topics"+at, "two users"+at)
		unordered(bob, "two sessions"+at, "two users"+at)
	}
	foreignPublisher(t, natsURL, nodes, ann1, ann2, bob)
	orderUnderLoad(t, nodes, ann1, ann2, bob)
	for _, n := range nodes {
		for _, series := range []string{"belfry_bus_gaps_total", "belfry_bus_duplicate_nodes_total",
			`belfry_bus_lost_total{cause="overload"}`, `belfry_bus_lost_total{cause="receive"}`, `belfry_bus_lost_total{cause="unconfirmed"}`} {
			if v := n.metric(series); v != 0 {
				t.Errorf("%s is %v", series, v)
			}
		}
	}
}

// unordered expects messages to different targets, which may come in any order.
func unordered(c *clusterClient, want ...string) {
	c.t.Helper()
	left := map[string]bool{}
	for _, w := range want {
		left[w] = true
	}
	for range want {
		got := c.next()
		if !left[got] {
			c.t.Fatalf("%s: got %q; want one of %v", c.name, got, left)
		}
		delete(left, got)
	}
}

// foreignPublisher is any NATS client: it sets no header.
func foreignPublisher(t *testing.T, url string, nodes []*clusterNode, everybody ...*clusterClient) {
	t.Helper()
	nc, err := nats.Connect(url, nats.Timeout(waitLimit))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for _, m := range [][2]string{{"belfry.topic.news", `{"a":1}`}, {"belfry.all", "from NATS"}} {
		if err := nc.Publish(m[0], []byte(m[1])); err != nil {
			t.Fatal(err)
		}
		for _, client := range everybody {
			client.expect(m[1])
		}
	}
	// Messages that are not valid are counted and do no harm.
	bad := &nats.Msg{Subject: "belfry.all", Header: nats.Header{"Belfry-Kind": {"picture"}}, Data: []byte("unreadable")}
	if err := nc.PublishMsg(bad); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		soon(t, "a malformed message is counted", func() bool { return n.metric("belfry_bus_malformed_total") == 1 })
	}
}

// orderUnderLoad has two nodes push to all at the same time. Each client gets
// all messages of each node in the order of that node.
func orderUnderLoad(t *testing.T, nodes []*clusterNode, everybody ...*clusterClient) {
	t.Helper()
	const each = 3000
	var pushing sync.WaitGroup
	for i, n := range nodes[:2] {
		var batch strings.Builder
		for m := range each {
			fmt.Fprintf(&batch, `{"to":{"topic":"news"},"text":"load %d %d"}`+"\n", i, m)
		}
		pushing.Go(func() {
			status, answer := n.post("/v1/batch", batch.String())
			if status != http.StatusOK || strings.Contains(answer, "error") {
				t.Errorf("batch: %d %.300s", status, answer)
			}
		})
	}
	pushing.Wait()
	if t.Failed() {
		return
	}
	for _, client := range everybody {
		var next [2]int
		for range 2 * each {
			var from, number int
			got := client.next()
			if _, err := fmt.Sscanf(got, "load %d %d", &from, &number); err != nil {
				t.Fatalf("%s: got %q", client.name, got)
			}
			if number != next[from] {
				t.Fatalf("%s: number %d of node %d came; want %d", client.name, number, from, next[from])
			}
			next[from]++
		}
	}
}
