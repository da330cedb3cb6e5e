//go:build e2e

package main

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"belfry/presence"
)

// settleTime is how long the nodes may take to know everything again, once they hear
// each other again or have noticed who is missing (docs/cluster.md).
const settleTime = 2 * time.Second

// faultRig is a cluster to which faults happen, and the truth about it.
type faultRig struct {
	t     *testing.T
	run   func(name string) *clusterNode // starts a node, or starts it again
	nodes map[string]*faultNode          // by name
	uids  []string
	sent  map[string]int // number of the last push, by node and user
}

// faultNode is a node with its clients.
type faultNode struct {
	*clusterNode
	name    string
	runs    bool // it is neither killed nor stopped
	side    int  // nodes on different sides do not hear each other
	hangs   bool // NATS does not answer, and the node has not noticed: it admits only users to whose messages it is subscribed
	clients []*faultClient
}

// newFaultRig starts nodes, and clients of users who are on none, some or all of them.
func newFaultRig(t *testing.T, run func(name string) *clusterNode, names ...string) *faultRig {
	r := &faultRig{t: t, run: run, nodes: make(map[string]*faultNode), sent: make(map[string]int)}
	for i := range 40 {
		r.uids = append(r.uids, fmt.Sprint("u", i))
	}
	for _, name := range names {
		r.start(name)
	}
	r.exact("started")
	return r
}

// start starts a node with clients: user i has no, one or two sessions there.
func (r *faultRig) start(name string) {
	r.t.Helper()
	n := &faultNode{clusterNode: r.run(name), name: name, runs: true}
	r.nodes[name] = n
	for i, uid := range r.uids {
		for range (i + int(name[0])) % 3 {
			n.open(uid)
		}
	}
}

// kill ends a node as kill -9 does.
func (r *faultRig) kill(name string) {
	n := r.nodes[name]
	n.runs, n.clients = false, nil
	n.clusterNode.kill()
}

// onSide returns the nodes of one side that run, sorted by name.
func (r *faultRig) onSide(side int) (all []*faultNode) {
	for _, name := range slices.Sorted(maps.Keys(r.nodes)) {
		if n := r.nodes[name]; n.runs && n.side == side {
			all = append(all, n)
		}
	}
	return all
}

// sides returns the nodes that run, side by side.
func (r *faultRig) sides() (all [][]*faultNode) {
	for side := range len(r.nodes) {
		if nodes := r.onSide(side); len(nodes) > 0 {
			all = append(all, nodes)
		}
	}
	return all
}

// exact waits until every node knows who its peers are, and fails unless every node
// answers with the truth about its side settleTime later.
func (r *faultRig) exact(when string) {
	r.t.Helper()
	begun := time.Now()
	for _, nodes := range r.sides() {
		for _, n := range nodes {
			soon(r.t, when+": "+n.name+" knows its peers", func() bool { return n.metric("belfry_bus_peers") == float64(len(nodes)-1) })
		}
	}
	known := time.Now()
	for {
		wrong := r.wrong()
		if wrong == "" {
			break
		}
		if time.Since(known) > settleTime {
			r.t.Fatalf("%s: not within %v: %s", when, settleTime, wrong)
		}
		time.Sleep(10 * time.Millisecond)
	}
	r.t.Logf("%s: peers known after %v, exact %v later", when, known.Sub(begun).Round(time.Millisecond), time.Since(known).Round(time.Millisecond))
}

// wrong says what a node answers that is not the truth; "" if everything is.
func (r *faultRig) wrong() string {
	for _, nodes := range r.sides() {
		truth := make(map[string][]string) // node and id of the sessions of each user
		own := 0
		for _, n := range nodes {
			own += len(n.clients)
			for _, c := range n.clients {
				truth[c.uid] = append(truth[c.uid], n.name+" "+c.sid)
			}
		}
		kept := 0.0
		for _, n := range nodes {
			if wrong := n.wrongDirectory(); wrong != "" {
				return n.name + ": " + wrong
			}
			kept += n.metric(`belfry_cluster_sessions{of="kept"}`)
		}
		if want := float64(own); len(nodes) > 1 && kept != want || len(nodes) == 1 && kept != 0 {
			return fmt.Sprintf("%v sessions have a keeper beside their holder; want %v", kept, want)
		}
		for _, n := range nodes {
			if wrong := cmp.Or(n.wrongNodes(nodes), n.wrongMany(r.uids, truth), n.wrongUsers(r.uids, truth)); wrong != "" {
				return n.name + ": " + wrong
			}
		}
	}
	return ""
}

// wrongNodes compares GET /v1/nodes with the nodes of the side.
func (n *faultNode) wrongNodes(side []*faultNode) string {
	var all presence.Nodes
	if status, body := n.ask("GET", "/v1/nodes", &all); status != http.StatusOK {
		return body
	}
	var got, want []string
	for _, one := range all.Nodes {
		switch {
		case one.State != presence.StateAlive:
		case one.NodeState == nil:
			got = append(got, fmt.Sprintf("%s, which did not answer: %s", one.Name, one.Detail))
		default:
			got = append(got, fmt.Sprint(one.Name, " with ", one.Sessions))
		}
	}
	for _, other := range side {
		want = append(want, fmt.Sprint(other.name, " with ", len(other.clients)))
	}
	if !slices.Equal(got, want) {
		return fmt.Sprintf("nodes %q; want %q", got, want)
	}
	return ""
}

// wrongMany compares POST /v1/presence with the truth.
func (n *faultNode) wrongMany(uids []string, truth map[string][]string) string {
	var all presence.Users
	if wrong := n.postFor("/v1/presence", `{"users":["`+strings.Join(uids, `","`)+`"]}`, &all); wrong != "" {
		return wrong
	}
	if len(all.Silent) > 0 || len(all.Users) != len(uids) {
		return fmt.Sprintf("presence of %d users, silent: %v", len(all.Users), all.Silent)
	}
	for i, u := range all.Users {
		if u.UID != uids[i] || u.Sessions != len(truth[u.UID]) {
			return fmt.Sprintf("presence: %s has %d sessions; want %d", u.UID, u.Sessions, len(truth[uids[i]]))
		}
	}
	return ""
}

// wrongUsers compares GET /v1/users/{uid} with the truth.
func (n *faultNode) wrongUsers(uids []string, truth map[string][]string) string {
	for _, uid := range uids {
		slices.Sort(truth[uid])
		u, sids := n.user(uid, 1000)
		if u.Count != len(sids) || len(u.Silent) > 0 || !slices.Equal(sids, truth[uid]) {
			return fmt.Sprintf("%s: %d sessions %q, silent: %v; want %q", uid, u.Count, sids, u.Silent, truth[uid])
		}
	}
	return ""
}

// wrongDirectory compares what the directory of the node has with what it should have.
func (n *faultNode) wrongDirectory() string {
	own, pending := n.metric(`belfry_cluster_sessions{of="own"}`), n.metric("belfry_cluster_pending")
	if own != float64(len(n.clients)) || pending != 0 {
		return fmt.Sprintf("the directory has %v own sessions, and %v buckets pending; want %d and 0", own, pending, len(n.clients))
	}
	return ""
}
