package presence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"belfry/broadcast"
	"belfry/broadcast/fakebus"
	"belfry/message"
)

// The pages of every list have each item once, in order, with what all nodes have; with
// small items and with some of which few fit into an answer.
func TestPages(t *testing.T) {
	for _, size := range []int{1, 9000} {
		synctest.Test(t, func(t *testing.T) {
			nodes := cluster(t, 3, nil)
			fill(rand.New(rand.NewPCG(1, uint64(size))), nodes, 60, size)
			for _, limit := range []int{1, 7, MaxPage} {
				checkSessions(t, nodes, limit)
				checkTopics(t, nodes, limit)
			}
		})
	}
}

func checkSessions(t *testing.T, nodes []*node, limit int) {
	var want, members []string
	for _, n := range nodes {
		for _, s := range n.of("u1") {
			want = append(want, s.SID)
		}
		for _, s := range n.sessions {
			members = append(members, s.SID)
		}
	}
	slices.SortFunc(want, compareSIDs)
	slices.SortFunc(members, compareSIDs)
	var got []string
	for after := ""; ; {
		u, err := nodes[1].reader.User(t.Context(), "u1", after, limit)
		if err != nil || u.Count != len(want) || u.Nodes != 3 || u.Silent != nil || len(u.Sessions) > limit {
			t.Fatalf("%+v %v", u, err)
		}
		for _, s := range u.Sessions {
			got = append(got, s.SID)
		}
		if after = u.Next; after == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("pages of %d have %d sessions, want %d", limit, len(got), len(want))
	}
	got = nil
	for after := ""; ; {
		topic, err := nodes[2].reader.Topic(t.Context(), "all", true, after, limit)
		if err != nil || topic.Count != len(members) || topic.Nodes != 3 || len(topic.Members) > limit {
			t.Fatalf("%+v %v", topic, err)
		}
		for _, m := range topic.Members {
			got = append(got, m.SID)
		}
		if after = topic.Next; after == "" {
			break
		}
	}
	if !slices.Equal(got, members) {
		t.Errorf("pages of %d have %d members, want %d", limit, len(got), len(members))
	}
}

func checkTopics(t *testing.T, nodes []*node, limit int) {
	want := map[string]int{}
	for _, n := range nodes {
		for _, s := range n.sessions {
			want[s.Topics[0]]++
		}
	}
	got := map[string]int{}
	last := ""
	for after := ""; ; {
		page, err := nodes[0].reader.Topics(t.Context(), "t", after, limit)
		if err != nil || len(page.Topics) > limit || page.Nodes != 3 {
			t.Fatalf("%+v %v", page, err)
		}
		for _, c := range page.Topics {
			if c.Topic <= last {
				t.Errorf("%s follows %s", c.Topic, last)
			}
			last = c.Topic
			got[c.Topic] += c.Count
		}
		if after = page.Next; after == "" {
			break
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("pages of %d: %v, want %v", limit, got, want)
	}
}

// Many users are asked about in as many messages as their names need.
func TestUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := cluster(t, 3, nil)
		fill(rand.New(rand.NewPCG(1, 2)), nodes, 30, 1)
		nodes[1].sessions[0].UID, nodes[2].seen["half"] = "half", time.Unix(3000, 0) // was on c, is on b
		nodes[2].seen["gone"] = time.Unix(1000, 0)
		nodes[0].seen["gone"] = time.Unix(2000, 0)
		nodes[0].seen["u1"] = time.Unix(2000, 0) // it is online elsewhere
		uids := []string{"u1", "gone", "u2", "u1"}
		for i := range MaxUsers - len(uids) {
			uids = append(uids, fmt.Sprint(strings.Repeat("\"", 110), i)) // an escape each
		}
		u, err := nodes[1].reader.Users(t.Context(), uids)
		if err != nil || len(u.Users) != len(uids) || u.Nodes != 3 || u.Silent != nil {
			t.Fatalf("%+v %v", u.Reach, err)
		}
		count := func(uid string) (n int) {
			for _, one := range nodes {
				n += len(one.of(uid))
			}
			return n
		}
		for i, want := range []UserPresence{{UID: "u1", Sessions: count("u1")}, {UID: "gone", LastSeen: time.Unix(2000, 0).UTC()}, {UID: "u2", Sessions: count("u2")}, {UID: "u1", Sessions: count("u1")}} {
			if u.Users[i] != want {
				t.Errorf("%+v, want %+v", u.Users[i], want)
			}
		}
		if nodes[0].asked < 4 {
			t.Errorf("a was asked %d times about %d users with long names", nodes[0].asked, len(uids))
		}
		one, err := nodes[2].reader.User(t.Context(), "gone", "", 5)
		if err != nil || one.Count != 0 || !one.LastSeen.Equal(time.Unix(2000, 0)) {
			t.Errorf("%+v %v", one, err)
		}
		if half, err := nodes[0].reader.User(t.Context(), "half", "", 5); err != nil || half.Count != 1 || !half.LastSeen.IsZero() {
			t.Errorf("%+v %v", half, err)
		}
		if text, _ := json.Marshal(one); !strings.Contains(string(text), `"sessions":[],"last_seen":"1970-01-01T00:33:20Z"`) {
			t.Errorf("%s", text)
		}
	})
}

// A node that does not answer, or fails, is named; the others are counted all the same.
func TestSilentNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := cluster(t, 4, func(o *Options) { o.Degraded = func() []string { return []string{"bus: away"} } })
		fill(rand.New(rand.NewPCG(1, 2)), nodes, 10, 1)
		a, c, d := nodes[0], nodes[2], nodes[3]
		c.bus.Cut()
		d.err = errors.New("a fault")
		ask := func() (*User, time.Duration) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			begun := time.Now()
			u, err := a.reader.User(ctx, "u1", "", 100)
			if err != nil {
				t.Fatal(err)
			}
			return u, time.Since(begun)
		}
		u, took := ask()
		if took != 2*time.Second || u.Nodes != 2 || u.Count != len(a.of("u1"))+len(nodes[1].of("u1")) || fmt.Sprint(u.Degraded) != "[bus: away]" ||
			fmt.Sprint(u.Silent) != "[{d a fault} {c no answer in time}]" {
			t.Errorf("%+v after %v", u.Reach, took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		many, err := a.reader.Users(ctx, []string{"u1", "u2"})
		if err != nil || many.Nodes != 2 || fmt.Sprint(many.Silent) != "[{c no answer in time} {d a fault}]" {
			t.Errorf("%+v %v", many, err)
		}
		if s, silent, err := a.reader.Session(ctx, c.sessions[0].SID); s != nil || silent == nil || silent.Node != "c" || err != nil {
			t.Errorf("%v %v %v", s, silent, err)
		}
		all, err := a.reader.Nodes(t.Context())
		if err != nil || len(all.Nodes) != 4 || all.Nodes[2].Detail != "no answer in time" || all.Nodes[2].NodeState != nil || all.Nodes[3].State != StateAlive || all.Nodes[3].NodeState == nil || !all.Nodes[0].Self {
			t.Errorf("%+v %v", all, err)
		}
		a.err = context.DeadlineExceeded // this node's own shard
		d.err = nil
		c.bus.Heal()
		time.Sleep(time.Second)
		if u, _ := ask(); u.Nodes != 3 || fmt.Sprint(u.Silent) != "[{a a shard did not answer in time}]" {
			t.Errorf("%+v", u.Reach)
		}
		a.err = nil
		c.bus.Lose()
		if _, silent, _ := a.reader.Session(t.Context(), c.sessions[0].SID); silent == nil || !strings.Contains(silent.Detail, "is not there") {
			t.Errorf("%v", silent)
		}
		if u, took := ask(); u.Nodes != 3 || u.Silent != nil || took > time.Second {
			t.Errorf("%+v after %v", u.Reach, took)
		}
	})
}

// A node that answers about some users and not about others is silent.
func TestUsersInPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dropped := false
		nodes := clusterOn(t, &fakebus.Network{Delay: time.Millisecond, Drop: func(from, to string, p []byte) bool {
			drop := !dropped && from == "b" && strings.Contains(string(p[:min(len(p), 100)]), " answer "+kindUsers)
			dropped = dropped || drop
			return drop
		}}, 3, nil)
		uids := make([]string, MaxUsers)
		for i := range uids {
			uids[i] = fmt.Sprint(strings.Repeat("x", 110), i)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		u, err := nodes[0].reader.Users(ctx, uids)
		if err != nil || u.Nodes != 2 || fmt.Sprint(u.Silent) != "[{b no answer in time}]" || !dropped || nodes[1].asked < 2 {
			t.Errorf("%+v %v, b was asked %d times", u.Reach, err, nodes[1].asked)
		}
	})
}

// Sessions of this and of other nodes are found by their ids, and only there.
func TestSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := cluster(t, 3, nil)
		fill(rand.New(rand.NewPCG(1, 2)), nodes, 5, 1)
		for _, n := range nodes {
			want := n.sessions[2]
			s, silent, err := nodes[0].reader.Session(t.Context(), want.SID)
			if err != nil || silent != nil || s == nil || s.SID != want.SID || s.Node != n.name {
				t.Errorf("%+v %v %v", s, silent, err)
			}
		}
		if nodes[1].asked != 1 || nodes[2].asked != 1 {
			t.Errorf("b was asked %d times, c %d times", nodes[1].asked, nodes[2].asked)
		}
		nodes[1].sessions = nil
		gone := message.SID{Node: nodes[1].node.NodeID(), Conn: 9}.Format(new([32]byte))
		if s, silent, err := nodes[0].reader.Session(t.Context(), gone); s != nil || silent != nil || err != nil {
			t.Errorf("%v %v %v", s, silent, err)
		}
		if _, _, err := nodes[0].reader.Session(t.Context(), "x"); err == nil {
			t.Error("an id that is not valid was taken")
		}
	})
}

// known is a Holders that knows some users.
type known map[string]Held

func (k known) Holders(_ context.Context, uids []string) (all []Held) {
	for _, uid := range uids {
		h, ok := k[uid]
		h.Unknown = !ok
		all = append(all, h)
	}
	return all
}

// Only nodes that hold a user are asked. A user of whom no session is known is asked
// about everywhere: a session may be too young to be known.
func TestHolders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broadcast.Peer{ID: broadcast.NodeID("b"), Name: "b"}
		holders := known{"u1": {Nodes: []broadcast.Peer{b}, Sessions: 1000}, "u2": {Here: true}, "young": {}}
		nodes := cluster(t, 3, func(o *Options) { o.Holders = holders })
		fill(rand.New(rand.NewPCG(1, 2)), nodes, 20, 1)
		a, c := nodes[0], nodes[2]
		sid := message.SID{Node: c.node.NodeID(), Conn: 99}.Format(new([32]byte))
		c.sessions = append(c.sessions, Session{SID: sid, UID: "young"})
		u, err := a.reader.User(t.Context(), "u1", "", 100)
		if err != nil || u.Nodes != 2 || u.Count != len(a.of("u1"))+len(nodes[1].of("u1")) || c.asked != 0 {
			t.Errorf("%+v %v, c was asked %d times", u, err, c.asked)
		}
		here, err := a.reader.User(t.Context(), "u2", "", 100)
		if err != nil || here.Nodes != 1 || here.Count != len(a.of("u2")) || c.asked != 0 {
			t.Errorf("%+v %v, c was asked %d times", here, err, c.asked)
		}
		if many, err := a.reader.Users(t.Context(), []string{"u1", "u2"}); err != nil || many.Nodes != 2 || many.Users[0].Sessions != 1000+len(a.of("u1")) || c.asked+nodes[1].asked != 1 {
			t.Errorf("%+v %v: those who are known need no further question", many, err)
		}
		many, err := a.reader.Users(t.Context(), []string{"u0", "u1", "u2", "young"})
		all := len(a.of("u0")) + len(nodes[1].of("u0")) + len(c.of("u0"))
		if err != nil || many.Nodes != 3 || many.Users[0].Sessions != all || many.Users[2].Sessions != len(a.of("u2")) || many.Users[3].Sessions != 1 || c.asked != 1 {
			t.Errorf("%+v %v, c was asked %d times", many, err, c.asked)
		}
		if young, err := a.reader.User(t.Context(), "young", "", 100); err != nil || young.Count != 1 || young.Nodes != 3 {
			t.Errorf("%+v %v", young, err)
		}
	})
}

// Nodes that are gone are shown and not asked.
func TestMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		members := []Sighting{{State: StateAlive, Self: true}, {State: StateSuspected, Sessions: 7, Version: "b1"}, {State: StateGone, Detail: "it has left"}}
		nodes := cluster(t, 3, func(o *Options) {
			o.Members = func() []Sighting {
				for i, name := range []string{"a", "b", "c"} {
					members[i].Peer = broadcast.Peer{ID: broadcast.NodeID(name), Name: name}
					members[i].Heard = time.Now().Add(-1500 * time.Millisecond)
				}
				return members
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		all, err := nodes[0].reader.Nodes(ctx)
		if err != nil || len(all.Nodes) != 3 || all.Lease != 1 {
			t.Fatalf("%+v %v", all, err)
		}
		a, b, c := all.Nodes[0], all.Nodes[1], all.Nodes[2]
		if !a.Self || a.NodeState == nil || a.LastBeacon != nil {
			t.Errorf("%+v", a)
		}
		if b.State != StateSuspected || b.NodeState == nil || *b.LastBeacon != (Beacon{Age: 1.501, Sessions: 7, Version: "b1"}) && *b.LastBeacon != (Beacon{Age: 1.5, Sessions: 7, Version: "b1"}) {
			t.Errorf("%+v %+v", b, b.LastBeacon)
		}
		if c.State != StateGone || c.NodeState != nil || c.Detail != "it has left" || nodes[2].asked != 0 {
			t.Errorf("%+v, asked %d times", c, nodes[2].asked)
		}
	})
}

// The clocks of nodes are compared, and the error of that is stated.
func TestNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := cluster(t, 2, nil)
		nodes[0].slow = time.Second // does not count as time that the messages took
		all, err := nodes[1].reader.Nodes(t.Context())
		if err != nil || len(all.Nodes) != 2 || all.Nodes[0].Skew == nil || all.Nodes[1].Skew != nil {
			t.Fatalf("%+v %v", all, err)
		}
		if a := all.Nodes[0]; *a.Skew != 0 || *a.SkewError != 0.001 || a.Version != "a" || a.ID != fmt.Sprintf("%08x", nodes[0].node.NodeID()) {
			t.Errorf("%+v %v %v", a, *a.Skew, *a.SkewError)
		}
	})
}

// A question that is malformed is refused, a page has at most MaxPage items, and a limit
// below 0 is 0.
func TestQuestionsOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := cluster(t, 2, nil)
		for kind, body := range map[string]string{kindUser: `{`, kindTopic: `{"members":true,"after":"x","limit":1}`} {
			_, err := nodes[0].node.Control().Ask(t.Context(), nodes[1].node.NodeID(), kind, []byte(body))
			if refused, ok := errors.AsType[*broadcast.RefusedError](err); !ok {
				t.Errorf("%s %s: %v", kind, body, refused)
			}
		}
		fill(rand.New(rand.NewPCG(1, 2)), nodes, 3*MaxPage, 1)
		body, err := nodes[0].node.Control().Ask(t.Context(), nodes[1].node.NodeID(), kindTopic, []byte(`{"topic":"all","members":true,"limit":1000000}`))
		var a topicAnswer
		if err != nil || json.Unmarshal(body, &a) != nil || a.Count != 3*MaxPage || len(a.Members) > MaxPage || !a.More {
			t.Errorf("%d members of %d, %v", len(a.Members), a.Count, err)
		}
		for kind, of := range map[string]string{kindUser: `"uid":"u1"`, kindTopic: `"topic":"all","members":true`, kindTopics: `"prefix":""`} {
			if _, err := nodes[0].node.Control().Ask(t.Context(), nodes[1].node.NodeID(), kind, []byte(`{"limit":-5,`+of+`}`)); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
		}
	})
}

// An answer that is not about all users of its question is dropped.
func TestUsersAnswersAreChecked(t *testing.T) {
	sum := newUsersSum([]string{"u1", "u2"})
	places := []int{0, 1}
	sum.add("a", places, &usersAnswer{Sessions: []int{1, 2}, Seen: []int64{0, 0}}, nil)
	sum.add("b", places, &usersAnswer{Sessions: []int{3, 4}, Seen: []int64{0}}, nil)
	sum.add("c", places, &usersAnswer{Sessions: []int{5}, Seen: []int64{0, 0}}, nil)
	u := sum.total()
	if u.Nodes != 1 || len(u.Silent) != 2 || u.Users[0].Sessions != 1 || u.Users[1].Sessions != 2 {
		t.Errorf("%+v", u)
	}
}

// A page has at least one item, however long it is: else the next page would be the same.
func TestPageHasAnItem(t *testing.T) {
	long := strings.Repeat("x", answerRoom)
	for _, tc := range []struct {
		list []string
		n    int
		more bool
	}{{[]string{long, long}, 1, true}, {[]string{long}, 1, false}, {[]string{"a", "b"}, 2, false}, {[]string{"a", long}, 1, true}} {
		got, more, err := fit(tc.list, false)
		if err != nil || len(got) != tc.n || more != tc.more {
			t.Errorf("%d items of %d, more: %v, %v", len(got), len(tc.list), more, err)
		}
	}
}
