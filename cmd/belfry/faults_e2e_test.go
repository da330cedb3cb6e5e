//go:build e2e

package main

import (
	"fmt"
	"syscall"
	"testing"

	"belfry/bench"
)

// Three nodes whose embedded NATS servers are joined by routes. After each fault every
// node answers with the truth, and pushes reach every session of their user.
func TestE2EFaultsByRoutes(t *testing.T) {
	t.Parallel()
	routes := make(map[string]string)
	for _, name := range []string{"a", "b", "c"} {
		routes[name] = freePort(t)
	}
	r := newFaultRig(t, func(name string) *clusterNode {
		return startClusterNode(t, name, "--set", "nats.beacon=100ms", "--nats-cluster-listen", routes[name], "--nats-routes", routes["a"])
	}, "a", "b", "c")
	r.faults()

	// The node whose route the others were given is killed. The others keep the route
	// between them. Then it is there again.
	r.kill("a")
	r.churn()
	r.exact("the first node is gone")
	r.delivered("the first node is gone")
	r.start("a")
	r.exact("the first node is back")
	r.delivered("the first node is back")
}

// Three nodes that use one NATS server, which is also restarted.
func TestE2EFaultsByServer(t *testing.T) {
	t.Parallel()
	server := startNATS(t)
	r := newFaultRig(t, func(name string) *clusterNode {
		return startClusterNode(t, name, "--set", "nats.beacon=100ms", "--nats-url", server.url())
	}, "a", "b", "c")
	r.faults()

	server.stop()
	for i, name := range []string{"a", "b", "c"} {
		r.nodes[name].side = i
	}
	r.push() // waits in the outbox
	r.churn()
	r.exact("without NATS")
	r.delivered("without NATS")
	if err := server.start(); err != nil {
		t.Fatal(err)
	}
	for _, n := range r.nodes {
		n.side = 0
	}
	r.exact("NATS is back")
	r.delivered("NATS is back")
}

func freePort(t *testing.T) string {
	t.Helper()
	address, err := bench.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return address.String()
}

// churn ends and opens sessions on the nodes that run.
func (r *faultRig) churn() {
	for _, nodes := range r.sides() {
		for i, n := range nodes {
			n.shut(5)
			for j := range 6 {
				uid := r.uids[(7*i+5*j)%len(r.uids)]
				if n.hangs {
					uid = n.clients[3*j].uid
				}
				n.open(uid)
			}
		}
	}
}

// faults are what can happen to a node.
func (r *faultRig) faults() {
	r.t.Helper()
	r.delivered("started")

	r.kill("c")
	r.push()
	r.churn()
	r.exact("killed")
	r.delivered("killed")
	r.start("c")
	r.exact("started again")
	r.delivered("started again")

	// A process that is stopped keeps its sessions: the kernel acknowledges what it
	// is sent. The others take it for gone when its lease is over.
	for gone := range 2 {
		what := fmt.Sprintf("stopped, %d of its clients leave", 10*gone)
		b := r.nodes["b"]
		r.signal(b, syscall.SIGSTOP)
		b.runs = false
		r.push()
		r.churn()
		r.exact(what)
		r.delivered(what)
		b.shut(10 * gone)
		r.signal(b, syscall.SIGCONT)
		b.runs = true
		r.exact(what + ", continued")
		r.delivered(what + ", continued")
	}

	// A node that ends by itself says so.
	c := r.nodes["c"]
	r.signal(c, syscall.SIGTERM)
	<-c.done
	c.runs, c.clients = false, nil
	r.exact("left")
	r.delivered("left")
	r.start("c")
	r.exact("joined")
	r.delivered("joined")
}

func (r *faultRig) signal(n *faultNode, s syscall.Signal) {
	r.t.Helper()
	if err := syscall.Kill(n.cmd.Process.Pid, s); err != nil {
		r.t.Fatal(err)
	}
}
