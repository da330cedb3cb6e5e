package main

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
)

// topicMember is a client that keeps a list of the subscribers of a topic, as
// docs/protocol.md describes.
type topicMember struct {
	*gatewayClient
	mu      sync.Mutex
	here    map[string]string // users by session
	count   int               // the last that was told
	partial bool
	kinds   []string // types of the messages about the topic
	wrong   []string
}

func joinTopicMember(t *testing.T, n *clusterNode, query string) *topicMember {
	t.Helper()
	m := &topicMember{gatewayClient: n.connect("/ws", query, "belfry.v1"), here: map[string]string{}}
	go func() {
		for {
			_, p, err := m.ReadMessage()
			if err != nil {
				return
			}
			m.take(p)
		}
	}()
	return m
}

func (m *topicMember) take(p []byte) {
	var got struct {
		Type, Topic string
		Count       int
		Partial     bool
		Members     []struct{ Session, User string }
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := json.Unmarshal(p, &got); err != nil {
		m.wrong = append(m.wrong, string(p))
		return
	}
	switch got.Type {
	case "join", "leave", "count":
	default:
		return
	}
	if got.Topic != "room.1" {
		m.wrong = append(m.wrong, string(p))
	}
	m.kinds, m.count, m.partial = append(m.kinds, got.Type), got.Count, got.Partial
	for _, one := range got.Members {
		if got.Type == "join" {
			m.here[one.Session] = one.User
		} else {
			delete(m.here, one.Session)
		}
	}
}

// has says whether the users that the client has heard of are these, and the last count.
func (m *topicMember) has(count int, users ...string) func() bool {
	return func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		var got []string
		for _, user := range m.here {
			got = append(got, user)
		}
		slices.Sort(got)
		return m.count == count && !m.partial && strings.Join(got, " ") == strings.Join(users, " ")
	}
}

// The subscribers of a topic on three nodes learn who joins and leaves; of a large topic,
// and when a node dies, how many there are. Plain clients, and those of other topics,
// learn nothing.
func TestJoinLeave(t *testing.T) {
	t.Parallel()
	flags := []string{"--set", "nats.beacon=100ms", "--nats-cluster-listen", "127.0.0.1:0", "--set", "session.join_leave=room.*", "--set", "session.join_leave_members=4"}
	a := startClusterNode(t, "a", flags...)
	b := startClusterNode(t, "b", append(flags, "--nats-routes", a.Cluster)...)
	c := startClusterNode(t, "c", append(flags, "--nats-routes", a.Cluster)...)
	soon(t, "peers", func() bool {
		return a.metric("belfry_bus_peers")+b.metric("belfry_bus_peers")+c.metric("belfry_bus_peers") == 6
	})
	ann := joinTopicMember(t, a, "ann&topic=room.1&topic=news")
	soon(t, "ann's own join", ann.has(1, "ann"))
	plain := b.connect("/ws", "pat&topic=room.1")
	soon(t, "a plain client's join", ann.has(2, "ann", "pat"))
	bob := joinTopicMember(t, b, "bob&topic=news")
	carl := joinTopicMember(t, c, "carl&topic=room.1")
	soon(t, "carl's join", ann.has(3, "ann", "carl", "pat"))
	bob.say(`{"type":"sub","topic":"room.1"}`)
	soon(t, "a sub", ann.has(4, "ann", "bob", "carl", "pat"))
	soon(t, "the same at another node", carl.has(4, "bob", "carl"))
	bob.say(`{"type":"unsub","topic":"room.1"}`)
	soon(t, "an unsub", ann.has(3, "ann", "carl", "pat"))
	bob.say(`{"type":"sub","topic":"room.1"}`)
	soon(t, "a sub", ann.has(4, "ann", "bob", "carl", "pat"))
	dora := joinTopicMember(t, c, "dora&topic=room.1") // one too many: her name is not told
	soon(t, "a count", ann.has(5, "ann", "bob", "carl", "pat"))
	soon(t, "the count for the newest", dora.has(5))
	c.kill()
	soon(t, "the count without the node that died", ann.has(3, "ann", "bob", "carl", "pat"))
	bob.Close()
	soon(t, "an end", ann.has(2, "ann", "carl", "pat")) // who asks presence now learns that carl is gone, too

	a.push("/v1/topics/room.1", "hello")
	plain.gets("hello")
	ann.mu.Lock()
	defer ann.mu.Unlock()
	if want := "join join join join leave join count"; !strings.HasPrefix(strings.Join(ann.kinds, " "), want) || len(ann.wrong) > 0 {
		t.Errorf("%q, %q", ann.kinds, ann.wrong)
	}
	if n := a.metric(`belfry_join_leave_messages_total{type="join"}`); n != 1 {
		t.Errorf("%v joins counted at a", n)
	}
}
