package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"belfry/presence"
)

// ask sends a request and reads its answer into v.
func (n *clusterNode) ask(method, path string, v any) (status int, body string) {
	n.t.Helper()
	req, err := http.NewRequest(method, "http://"+n.API+path, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	resp, err := n.client().Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	p, err := io.ReadAll(resp.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	if v != nil {
		if err := json.Unmarshal(p, v); err != nil {
			n.t.Fatalf("%s %s: %s: %v", method, path, p, err)
		}
	}
	return resp.StatusCode, string(p)
}

// user reads all pages of a user.
func (n *clusterNode) user(uid string, limit int) (u presence.User, sids []string) {
	n.t.Helper()
	for after := ""; ; {
		u = presence.User{}
		path := fmt.Sprintf("/v1/users/%s?limit=%d%s", uid, limit, after)
		if status, body := n.ask("GET", path, &u); status != 200 {
			n.t.Fatalf("%s: %d %s", path, status, body)
		}
		for _, s := range u.Sessions {
			sids = append(sids, s.Node+" "+s.SID)
		}
		if u.Next == "" {
			slices.Sort(sids)
			return u, sids
		}
		after = "&after=" + u.Next
	}
}

// What any node says about sessions is what all nodes hold, and it names a node that
// does not answer.
func TestPresenceOfThreeNodes(t *testing.T) {
	t.Parallel()
	server := startNATS(t)
	var nodes []*clusterNode
	for _, name := range []string{"a", "b", "c"} {
		nodes = append(nodes, startClusterNode(t, name, "--nats-url", server.url(), "--set", "api.nodes_wait=5s", "--set", "session.keep_agent=true", "--set", "session.max_topics=2"))
	}
	c := nodes[2]
	for _, n := range nodes {
		soon(t, "peers", func() bool { return n.metric("belfry_bus_peers") == 2 })
	}
	var ann []string
	for i, n := range nodes {
		for range i + 2 {
			client := n.dial("ann", "uid=ann&topic=news")
			ann = append(ann, fmt.Sprintf("%c %s", 'a'+i, client.sid))
		}
	}
	slices.Sort(ann)
	bob := c.dial("bob", "uid=bob&topic=news&topic=chat.1")
	for i, n := range nodes {
		name := string(rune('a' + i))
		n.knows(name, "ann", 9, 3)
		n.knows(name, "bob", 1, 1)
	}
	for _, n := range nodes {
		for _, limit := range []int{1, 4, 1000} {
			u, sids := n.user("ann", limit)
			if u.Count != 9 || u.Nodes != 3 || u.Silent != nil || u.Degraded != nil || !slices.Equal(sids, ann) {
				t.Fatalf("ann in pages of %d: %+v\n%q\nwant\n%q", limit, u, sids, ann)
			}
		}
		wantReads(t, n, bob.sid)
	}
	controls(t, nodes, bob)
	stopAndKill(t, nodes, ann, bob.sid)
}

// stopAndKill has c answer nothing for a while, and then never again.
func stopAndKill(t *testing.T, nodes []*clusterNode, ann []string, bob string) {
	t.Helper()
	a, b, c := nodes[0], nodes[1], nodes[2]
	// A node that is stopped answers nothing. It is a peer until its beacons are missed.
	if err := syscall.Kill(c.cmd.Process.Pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	u, sids := a.user("ann", 1000)
	want := slices.DeleteFunc(slices.Clone(ann), func(s string) bool { return s[0] == 'c' })
	if u.Count != 5 || u.Nodes != 2 || len(u.Silent) != 1 || u.Silent[0] != (presence.Silent{Node: "c", Detail: "no answer in time"}) || !slices.Equal(sids, want) {
		t.Errorf("while c is stopped: %+v", u)
	}
	if took := time.Since(begun); took < 4*time.Second || took > 20*time.Second {
		t.Errorf("c was awaited for %v", took)
	}
	if err := syscall.Kill(c.cmd.Process.Pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	soon(t, "c is back", func() bool { u, sids := a.user("ann", 1000); return u.Silent == nil && slices.Equal(sids, ann) })

	c.kill()
	var nobody presence.User
	if b.ask("GET", "/v1/users/bob", &nobody); nobody.Count != 0 || len(nobody.Silent) != 1 || nobody.Silent[0].Node != "c" {
		t.Errorf("after c was killed: %+v", nobody)
	}
	if status, body := a.ask("GET", "/v1/sessions/"+bob, nil); status != 503 || !strings.Contains(body, "node-silent") {
		t.Errorf("a session of c: %d %s", status, body)
	}
	soon(t, "c is lost", func() bool { return a.metric("belfry_bus_peers") == 1 })
	if u, sids := a.user("ann", 1000); u.Count != 5 || u.Silent != nil || u.Nodes != 2 || !slices.Equal(sids, want) {
		t.Errorf("after c was lost: %+v", u)
	}
	soon(t, "c is gone", func() bool {
		var all presence.Nodes
		_, body := a.ask("GET", "/v1/nodes", &all)
		if len(all.Nodes) != 3 || all.Lease < 12 {
			t.Fatal(body)
		}
		n := all.Nodes[2]
		return all.Nodes[1].State == presence.StateAlive && n.State == presence.StateGone && n.NodeState == nil &&
			strings.HasPrefix(n.Detail, "no beacon since 2") && n.LastBeacon != nil && n.LastBeacon.Age > 1
	})
}

// knows waits until a node asks about a user only itself and the holders.
func (n *clusterNode) knows(name, uid string, sessions, holders int) {
	n.t.Helper()
	soon(n.t, name+" knows "+uid, func() bool {
		u, sids := n.user(uid, 1000)
		asked := holders
		if !slices.ContainsFunc(sids, func(s string) bool { return strings.HasPrefix(s, name+" ") }) {
			asked++ // itself
		}
		return u.Count == sessions && u.Nodes == asked
	})
}

// wantReads checks every other read at a node of TestPresenceOfThreeNodes.
func wantReads(t *testing.T, n *clusterNode, bob string) {
	t.Helper()
	var s presence.Session
	if status, body := n.ask("GET", "/v1/sessions/"+bob, &s); status != 200 || s.SID != bob || s.UID != "bob" || s.Node != "c" || s.Encoding != "belfry.v1" ||
		s.Subscriptions != 2 || s.Agent == "" || time.Since(s.Since) > time.Hour || !strings.HasPrefix(s.Address, "127.0.0.1:") {
		t.Errorf("bob's session: %d %s", status, body)
	}
	var topic presence.Topic
	if _, body := n.ask("GET", "/v1/topics/news", &topic); topic.Count != 10 || topic.Members != nil || topic.Nodes != 3 {
		t.Errorf("news: %s", body)
	}
	var members []string
	for after := ""; ; after = "&after=" + topic.Next {
		topic = presence.Topic{}
		if status, body := n.ask("GET", "/v1/topics/news?members=1&limit=3"+after, &topic); status != 200 || topic.Count != 10 || len(topic.Members) > 3 {
			t.Fatalf("members: %d %s", status, body)
		}
		for _, m := range topic.Members {
			members = append(members, m.SID)
		}
		if topic.Next == "" {
			break
		}
	}
	if slices.Sort(members); len(slices.Compact(members)) != 10 {
		t.Errorf("%d members", len(members))
	}
	var topics presence.Topics
	if _, body := n.ask("GET", "/v1/topics", &topics); fmt.Sprint(topics.Topics) != "[{chat.1 1} {news 10}]" || topics.Next != "" {
		t.Errorf("topics: %s", body)
	}
	status, body := n.post("/v1/presence", `{"users":["bob","nobody","ann"]}`)
	if want := `{"users":[{"user":"bob","sessions":1},{"user":"nobody","sessions":0},{"user":"ann","sessions":9}],"nodes":3}`; status != 200 || strings.TrimSpace(body) != want {
		t.Errorf("presence: %d %s, want %s", status, body, want)
	}
	var all presence.Nodes
	if _, body := n.ask("GET", "/v1/nodes", &all); len(all.Nodes) != 3 {
		t.Fatalf("nodes: %s", body)
	}
	for i, node := range all.Nodes {
		if node.Name != string(rune('a'+i)) || node.NodeState == nil || !node.Ready || node.Sessions != int64(i+2+i/2) || node.Load < 0 || node.Load > 1 ||
			node.Self == (node.Skew != nil) || node.Skew != nil && (*node.Skew > 1 || *node.Skew < -1) {
			t.Errorf("%+v %+v", node, node.NodeState)
		}
	}
}

// controls does from one node what concerns sessions of others.
func controls(t *testing.T, nodes []*clusterNode, bob *clusterClient) {
	t.Helper()
	a, b := nodes[0], nodes[1]
	want := func(n *clusterNode, method, path, answer string) {
		t.Helper()
		if _, body := n.ask(method, path, nil); strings.TrimSpace(body) != answer {
			t.Errorf("%s %s: %s, want %s", method, path, body, answer)
		}
	}
	want(a, "PUT", "/v1/users/ann/topics/sport", `{"sessions":9,"nodes":3}`)
	want(b, "PUT", "/v1/users/ann/topics/third", `{"sessions":0,"full":9,"nodes":3}`)
	var topic presence.Topic
	if nodes[2].ask("GET", "/v1/topics/sport", &topic); topic.Count != 9 {
		t.Errorf("%+v", topic)
	}
	want(b, "DELETE", "/v1/users/ann/topics/sport", `{"sessions":9,"nodes":3}`)
	want(a, "DELETE", "/v1/sessions/"+bob.sid+"/topics/chat.1", `{"sessions":1,"nodes":1}`)
	want(a, "PUT", "/v1/sessions/"+bob.sid+"/topics/chat.2", `{"sessions":1,"nodes":1}`)
	bob.expect("not a msg: " + `{"type":"left","topics":["chat.1"]}`)
	soon(t, "bob gets what b publishes", func() bool {
		b.push("/v1/topics/chat.2", "hello")
		select {
		case got := <-bob.data:
			return got == "hello"
		case <-time.After(100 * time.Millisecond):
			return false
		}
	})
	eve := nodes[2].dial("eve", "uid=eve&topic=news")
	b.knows("b", "eve", 1, 1)
	want(b, "DELETE", "/v1/users/eve?code=4321&reason=bye", `{"sessions":1,"nodes":2}`)
	for range 2 { // bye, then the end
		if data, open := <-eve.data; open && !strings.Contains(data, `"code":4321`) {
			t.Errorf("eve got %q", data)
		}
	}
	var gone presence.User
	if a.ask("GET", "/v1/users/eve", &gone); gone.Count != 0 || time.Since(gone.LastSeen) > time.Hour || len(gone.Sessions) != 0 {
		t.Errorf("eve: %+v", gone)
	}
	want(a, "DELETE", "/v1/sessions/"+eve.sid, `{"sessions":0,"nodes":1}`)
	if status, body := a.ask("GET", "/v1/sessions/"+eve.sid, nil); status != 404 || !strings.Contains(body, "no-such-session") {
		t.Errorf("eve's session: %d %s", status, body)
	}
}
