//go:build e2e

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
)

// faultClient is a client of a user. It checks that the pushes of each node come in
// order, and none twice.
type faultClient struct {
	*clusterClient
	uid string

	mu    sync.Mutex     // guards the fields below
	last  map[string]int // number of the last push of each node
	wrong []string
}

// open connects a client.
func (n *faultNode) open(uid string) {
	n.t.Helper()
	c := &faultClient{clusterClient: n.dial(uid+" at "+n.name, "uid="+uid), uid: uid, last: make(map[string]int)}
	n.clients = append(n.clients, c)
	go c.read()
}

// shut ends the connections of the first clients.
func (n *faultNode) shut(clients int) {
	for _, c := range n.clients[:clients] {
		c.conn.Close()
	}
	n.clients = n.clients[clients:]
}

func (c *faultClient) read() {
	for data := range c.data {
		var from, to string
		var number int
		if _, err := fmt.Sscanf(data, "push of %s to %s number %d", &from, &to, &number); err != nil {
			continue // the bye of a node that stops
		}
		c.mu.Lock()
		if to != c.uid || number <= c.last[from] {
			c.wrong = append(c.wrong, fmt.Sprintf("%s came after number %d", data, c.last[from]))
		} else {
			c.last[from] = number
		}
		c.mu.Unlock()
	}
}

// has reports whether push number of a node has come, and what was wrong with others.
func (c *faultClient) has(from string, number int) (ok bool, wrong []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last[from] == number, c.wrong
}

// push pushes one message to each user by each node that runs. A node accepts pushes
// also while it does not hear others.
func (r *faultRig) push() {
	r.t.Helper()
	for _, nodes := range r.sides() {
		for _, n := range nodes {
			var batch strings.Builder
			for _, uid := range r.uids {
				key := n.name + " " + uid
				r.sent[key]++
				fmt.Fprintf(&batch, `{"to":{"user":"%s"},"text":"push of %s to %s number %d"}`+"\n", uid, n.name, uid, r.sent[key])
			}
			if status, answer := n.post("/v1/batch", batch.String()); status != http.StatusOK || strings.Contains(answer, "error") {
				r.t.Fatalf("batch to %s: %d %.300s", n.name, status, answer)
			}
		}
	}
}

// delivered pushes, and waits until each session of a side has what was pushed there to
// its user, once and in order.
func (r *faultRig) delivered(when string) {
	r.t.Helper()
	r.push()
	for _, nodes := range r.sides() {
		for _, from := range nodes {
			for _, n := range nodes {
				for _, c := range n.clients {
					number := r.sent[from.name+" "+c.uid]
					soon(r.t, fmt.Sprintf("%s: push %d of %s reaches %s", when, number, from.name, c.name), func() bool {
						ok, wrong := c.has(from.name, number)
						if len(wrong) > 0 {
							r.t.Fatalf("%s: %s: %q", when, c.name, wrong)
						}
						return ok
					})
				}
			}
		}
	}
}

// postFor sends a request and reads its answer into v. It says what went wrong.
func (n *faultNode) postFor(path, body string, v any) string {
	n.t.Helper()
	status, answer := n.post(path, body)
	if status != http.StatusOK {
		return fmt.Sprintf("%s: %d %s", path, status, answer)
	}
	if err := json.Unmarshal([]byte(answer), v); err != nil {
		return fmt.Sprintf("%s: %s: %v", path, answer, err)
	}
	return ""
}
