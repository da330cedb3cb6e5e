//go:build e2e

package main

import (
	"context"
	"fmt"
	"os/exec"
	"syscall"
	"testing"
)

// network is hosts at one switch, each a network namespace whose name begins with a
// prefix. The host with number i has the address 10.77.0.i.
type network struct {
	hub   *namespace
	hosts map[string]*namespace
}

func newNetwork(t *testing.T, prefix string, names ...string) *network {
	t.Helper()
	w := &network{hub: newNamespace(t, prefix+"hub"), hosts: make(map[string]*namespace)}
	w.hub.ip("link add br0 type bridge")
	w.hub.ip("link set br0 up")
	for i, name := range names {
		h := newNamespace(t, prefix+name)
		h.ip("link add eth0 type veth peer name p-%s netns %s", name, w.hub.name)
		h.ip("addr add 10.77.0.%d/24 dev eth0", i+1)
		h.ip("link set eth0 up")
		w.hub.ip("link set p-%s master br0 up", name)
		w.hosts[name] = h
	}
	return w
}

// unplug takes a host off the switch. Nobody is told: packets get lost.
func (w *network) unplug(name string) { w.hub.ip("link set p-%s nomaster", name) }

// plug is the reverse.
func (w *network) plug(name string) { w.hub.ip("link set p-%s master br0", name) }

// A network of hosts is split, and healed. Each side answers with the truth about its
// own nodes; afterwards every node does about all. The servers are joined by routes.
func TestE2ESplitByRoutes(t *testing.T) {
	t.Parallel()
	w := newNetwork(t, "routes-", "a", "b", "c")
	r := newFaultRig(t, func(name string) *clusterNode {
		return startClusterNodeOn(t, w.hosts[name].host(), name, "--set", "nats.beacon=100ms",
			"--nats-cluster-listen", fmt.Sprintf("10.77.0.%d:6222", name[0]-'a'+1), "--nats-routes", "10.77.0.1:6222",
			"--set", "nats.cluster_user=belfry", "--set", "nats.cluster_password=secret")
	}, "a", "b", "c")
	r.split(w, false, "c")
	r.split(w, false, "a") // the others know the network by its route
	r.split(w, false, "b", "c")
}

// The same with one NATS server, at a host of its own. Nodes on its side hear each
// other, a node on the other side is alone.
func TestE2ESplitByServer(t *testing.T) {
	t.Parallel()
	w := newNetwork(t, "server-", "a", "b", "c", "nats")
	const address = "10.77.0.4:4222"
	host := w.hosts["nats"].host()
	server := exec.Command(host.start[0], append(host.start[1:], "nats-server", address)...)
	server.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Process.Kill(); server.Wait() })
	soon(t, "the NATS server listens", func() bool {
		c, err := host.connect(context.Background(), "tcp", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	r := newFaultRig(t, func(name string) *clusterNode {
		return startClusterNodeOn(t, w.hosts[name].host(), name, "--set", "nats.beacon=100ms", "--nats-url", "nats://"+address)
	}, "a", "b", "c")
	r.split(w, true, "c")
	r.split(w, true, "a", "b")
}

// split unplugs nodes, each for itself, and plugs them in again. hangs says that their
// NATS server is elsewhere.
func (r *faultRig) split(w *network, hangs bool, names ...string) {
	r.t.Helper()
	for i, name := range names {
		w.unplug(name)
		r.nodes[name].side, r.nodes[name].hangs = i+1, hangs
	}
	r.push()
	r.churn()
	r.exact(fmt.Sprint("without ", names))
	r.delivered(fmt.Sprint("without ", names))
	r.churn()
	for _, name := range names {
		w.plug(name)
		r.nodes[name].side, r.nodes[name].hangs = 0, false
	}
	r.exact(fmt.Sprint("healed with ", names))
	r.delivered(fmt.Sprint("healed with ", names))
}
