package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/nats-io/nats.go"
)

// cloudEvent is what an event of docs/events.md says.
type cloudEvent struct {
	Type, Source, SID, UID, Topic, Node string
	Data                                struct {
		Bucket, Part, Parts int
		Users               []string
		Reason              string
	}
}

// eventTables are what a program makes of events: who is online, and which sessions are
// subscribed to what. docs/events.md describes how.
type eventTables struct {
	mu     sync.Mutex
	online map[string]map[string]bool // users by the last token of the subject, which is their bucket
	list   map[string]map[string]bool // parts of a list that have come
	topics map[string]map[string]bool // by session
	gone   []string                   // sessions that ended with their node
	wrong  []string
}

func newEventTables() *eventTables {
	return &eventTables{online: map[string]map[string]bool{}, list: map[string]map[string]bool{}, topics: map[string]map[string]bool{}}
}

func (t *eventTables) take(m *nats.Msg) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var e cloudEvent
	if err := json.Unmarshal(m.Data, &e); err != nil {
		t.wrong = append(t.wrong, string(m.Data))
		return
	}
	tokens := strings.Split(m.Subject, ".")
	bucket := tokens[3]
	if t.online[bucket] == nil {
		t.online[bucket] = map[string]bool{}
	}
	switch tokens[2] {
	case "online":
		t.online[bucket][e.UID] = true
	case "offline":
		delete(t.online[bucket], e.UID)
	case "users":
		if e.Data.Part == 1 {
			t.list[bucket] = map[string]bool{}
		}
		for _, uid := range e.Data.Users {
			t.list[bucket][uid] = true
		}
		if e.Data.Part == e.Data.Parts {
			t.online[bucket] = t.list[bucket]
			delete(t.list, bucket)
		}
	case "opened":
		t.topics[e.SID] = map[string]bool{}
	case "closed":
		if delete(t.topics, e.SID); e.Data.Reason == "node_gone" {
			t.gone = append(t.gone, e.Node+" "+e.UID)
		}
	case "subscribed":
		t.topics[e.SID][e.Topic] = true
	case "unsubscribed":
		delete(t.topics[e.SID], e.Topic)
	default:
		t.wrong = append(t.wrong, m.Subject)
	}
}

// users returns who is online.
func (t *eventTables) users() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := map[string]bool{}
	for _, users := range t.online {
		maps.Copy(all, users)
	}
	return slices.Sorted(maps.Keys(all))
}

// subscriptions returns how many sessions there are, and subscriptions to each topic.
func (t *eventTables) subscriptions() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	counts := map[string]int{}
	for _, topics := range t.topics {
		for topic := range topics {
			counts[topic]++
		}
	}
	return fmt.Sprint(len(t.topics), " ", counts)
}

// listenToEvents fills tables from what a NATS client gets that connects now.
func listenToEvents(t *testing.T, url string) *eventTables {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	tables := newEventTables()
	if _, err := nc.Subscribe("belfry.events.>", tables.take); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return tables
}

// eventClient is an open session.
type eventClient struct {
	*websocket.Conn
	node   int
	uid    string
	topics map[string]bool
}

// eventCrowd opens and closes sessions at random.
type eventCrowd struct {
	t     *testing.T
	nodes []*clusterNode
	open  []*eventClient
	rand  *rand.Rand
}

func (c *eventCrowd) churn(steps int) {
	c.t.Helper()
	for range steps {
		switch c.rand.IntN(5) {
		case 0, 1:
			at, topic := c.rand.IntN(len(c.nodes)), fmt.Sprint("t", c.rand.IntN(3))
			uid := fmt.Sprint("u", c.rand.IntN(60))
			conn, _, err := websocket.DefaultDialer.Dial("ws://"+c.nodes[at].Listen[0]+"/ws?uid="+uid+"&topic="+topic, nil)
			if err != nil {
				c.t.Fatal(err)
			}
			c.t.Cleanup(func() { conn.Close() })
			c.open = append(c.open, &eventClient{conn, at, uid, map[string]bool{topic: true}})
		case 2:
			if n := len(c.open); n > 0 {
				i := c.rand.IntN(n)
				c.open[i].Close()
				c.open = slices.Delete(c.open, i, i+1)
			}
		case 3: // all sessions of a user that the homes know are subscribed, or are not any more
			method := []string{"PUT", "DELETE"}[c.rand.IntN(2)]
			c.nodes[0].ask(method, fmt.Sprintf("/v1/users/u%d/topics/api", c.rand.IntN(60)), nil)
		}
	}
}

// users and subscriptions are the truth, as eventTables has it.
func (c *eventCrowd) users() []string {
	all := map[string]bool{}
	for _, one := range c.open {
		all[one.uid] = true
	}
	return slices.Sorted(maps.Keys(all))
}

func (c *eventCrowd) subscriptions() string {
	counts := map[string]int{}
	for _, one := range c.open {
		for topic := range one.topics {
			counts[topic]++
		}
	}
	var topic struct{ Count int }
	if c.nodes[0].ask("GET", "/v1/topics/api", &topic); topic.Count > 0 {
		counts["api"] = topic.Count
	}
	return fmt.Sprint(len(c.open), " ", counts)
}

// A program that only listens to events has the right tables of users, sessions and
// subscriptions: after churn, after a node was killed and its place was taken, and when
// it began to listen late.
func TestEvents(t *testing.T) {
	t.Parallel()
	server := startNATS(t)
	tables := listenToEvents(t, server.url())
	start := func(name string) *clusterNode {
		return startClusterNode(t, name, "--nats-url", server.url(), "--set", "nats.beacon=100ms",
			"--set", "cluster.events=opened,closed,subscribed,unsubscribed,online,offline", "--set", "cluster.events_list=2s")
	}
	c := &eventCrowd{t: t, rand: rand.New(rand.NewPCG(1, 2))}
	for _, name := range []string{"a", "b", "c"} {
		c.nodes = append(c.nodes, start(name))
	}
	same := func(when string, t2 *eventTables, sessions bool) {
		t.Helper()
		soon(t, when, func() bool {
			return slices.Equal(t2.users(), c.users()) && (!sessions || t2.subscriptions() == c.subscriptions())
		})
	}
	c.churn(300)
	same("after churn", tables, true)

	soon(t, "every session is known to two nodes", func() bool {
		kept, pending := 0.0, 0.0
		for _, n := range c.nodes {
			kept, pending = kept+n.metric(`belfry_cluster_sessions{of="kept"}`), pending+n.metric("belfry_cluster_pending")
		}
		return kept == float64(len(c.open)) && pending == 0
	})
	c.nodes[2].kill()
	var lost []string
	c.open = slices.DeleteFunc(c.open, func(one *eventClient) bool {
		if one.node == 2 {
			lost = append(lost, "c "+one.uid)
		}
		return one.node == 2
	})
	c.nodes = c.nodes[:2]
	c.churn(100) // while nobody has noticed
	same("after a node was killed", tables, true)
	tables.mu.Lock()
	slices.Sort(tables.gone)
	if slices.Sort(lost); !slices.Equal(tables.gone, lost) || len(lost) == 0 || len(tables.wrong) > 0 {
		t.Errorf("told of the end of %q, want %q; wrong: %q", tables.gone, lost, tables.wrong)
	}
	tables.mu.Unlock()

	c.nodes = append(c.nodes, start("d"))
	c.churn(200)
	same("after a node has joined", tables, true)
	late := listenToEvents(t, server.url())
	same("who begins late", late, false)
	if n := c.nodes[0].metric(`belfry_cluster_events_total{kind="users"}`); n == 0 || c.nodes[0].metric(`belfry_cluster_events_lost_total{cause="nats"}`) != 0 {
		t.Errorf("%v lists", n)
	}
	if !slices.ContainsFunc(c.open, func(one *eventClient) bool { return one.node == 2 }) {
		t.Error("nobody is at d: the test shows less than it should")
	}
}
