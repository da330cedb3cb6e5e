package main

import (
	"fmt"
	"syscall"
	"testing"
)

// Three real nodes know each other's sessions: each session has one keeper besides its
// holder. The sessions of a node that dies by kill -9 are lost once each; those of a
// node that is told to stop are not lost.
func TestNodesKnowSessions(t *testing.T) {
	t.Parallel()
	beacon := []string{"--set", "nats.beacon=100ms", "--nats-cluster-listen", "127.0.0.1:0"}
	a := startClusterNode(t, "a", beacon...)
	b := startClusterNode(t, "b", append(beacon, "--nats-routes", a.Cluster)...)
	c := startClusterNode(t, "c", append(beacon, "--nats-routes", a.Cluster)...)
	const each = 30
	for i := range each {
		for _, n := range []*clusterNode{a, b, c} {
			n.dial("", fmt.Sprint("uid=u", i))
		}
	}
	sum := func(series string, nodes ...*clusterNode) (sum float64) {
		for _, n := range nodes {
			sum += n.metric(series)
		}
		return sum
	}
	const own, kept, pending, lost = `belfry_cluster_sessions{of="own"}`, `belfry_cluster_sessions{of="kept"}`, "belfry_cluster_pending", "belfry_cluster_lost_sessions_total"
	soon(t, "every session is known to two nodes", func() bool {
		return sum(own, a, b, c) == 3*each && sum(kept, a, b, c) == 3*each && sum(pending, a, b, c) == 0 && a.metric("belfry_bus_peers") == 2
	})
	c.kill()
	soon(t, "the sessions of c are lost", func() bool { return sum(lost, a, b) == each })
	soon(t, "a and b keep for each other", func() bool { return sum(kept, a, b) == 2*each && sum(pending, a, b) == 0 })
	before := a.metric(lost)
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-b.done
	soon(t, "b has left", func() bool { return a.metric("belfry_bus_peers") == 0 && a.metric(kept) == 0 })
	if n := a.metric(lost) - before; n != 0 || a.metric(own) != each {
		t.Errorf("a has %v sessions, and counts %v lost with b, which ended its own", a.metric(own), n)
	}
}
