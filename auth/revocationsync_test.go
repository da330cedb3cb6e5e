package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"belfry/message"
)

// cluster is nodes that ask each other; each ask takes a millisecond.
type cluster struct {
	mu    sync.Mutex
	nodes map[uint32]*clusterNode
	fail  int // asks that get no answer
	asks  int
}

type clusterNode struct {
	set     *Revocations
	sync    *RevocationSync
	mu      sync.Mutex
	applied []string
}

func (c *cluster) ask(ctx context.Context, from, node uint32, body []byte) ([]byte, error) {
	c.mu.Lock()
	n := c.nodes[node]
	c.asks++
	failing := c.fail > 0
	if failing {
		c.fail--
	}
	c.mu.Unlock()
	if n == nil || failing {
		<-ctx.Done()
		return nil, errors.New("no answer in time")
	}
	time.Sleep(time.Millisecond)
	return n.sync.Answer(from, body)
}

// join starts a node, which ends with the test.
func (c *cluster) join(t *testing.T, id uint32, most int) *clusterNode {
	n := &clusterNode{set: NewRevocations(time.Hour, most)}
	n.sync = NewRevocationSync(n.set, SyncOptions{Ask: func(ctx context.Context, node uint32, body []byte) ([]byte, error) { return c.ask(ctx, id, node, body) }, Apply: func(v Revocation) {
		n.mu.Lock()
		n.applied = append(n.applied, v.UID)
		n.mu.Unlock()
	}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { n.sync.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	c.mu.Lock()
	defer c.mu.Unlock()
	for other, o := range c.nodes {
		o.sync.PeerUp(id)
		n.sync.PeerUp(other)
	}
	c.nodes[id] = n
	return n
}

// A node that starts has the revocations of the others before it is ready, and
// expires its sessions.
func TestSyncAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{nodes: map[uint32]*clusterNode{}}
		first := c.join(t, 1, 0)
		time.Sleep(startWait - time.Millisecond)
		synctest.Wait()
		if first.sync.Ready() {
			t.Error("ready before another node could have answered")
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if !first.sync.Ready() {
			t.Error("not ready without other nodes")
		}
		const users = 5000 // many pages
		now := time.Now()
		for i := range users {
			add(t, first.set, fmt.Sprintf("user-with-a-long-name-%d", i), now, now)
		}
		add(t, first.set, "", now.Add(-time.Minute), now)
		second := c.join(t, 2, 0)
		if second.sync.Ready() {
			t.Error("ready before it has asked")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if !second.sync.Ready() || second.set.digest() != first.set.digest() || second.set.Stats().Users != users {
			t.Fatalf("ready %v, %+v", second.sync.Ready(), second.set.Stats())
		}
		if second.mu.Lock(); len(second.applied) != users+1 {
			t.Errorf("%d revocations were applied", len(second.applied))
		}
		second.mu.Unlock()
		if st := second.sync.Stats(); st.Learned != users+1 || st.Failed != 0 {
			t.Errorf("%+v", st)
		}
		// Equal nodes exchange no list.
		c.mu.Lock()
		c.asks = 0
		c.mu.Unlock()
		first.sync.PeerUp(2)
		time.Sleep(time.Second)
		if c.mu.Lock(); c.asks != 1 {
			t.Errorf("%d asks between equal nodes", c.asks)
		}
		c.mu.Unlock()
	})
}

// A node that the others know before it knows them asks those that ask it, and each
// only once.
func TestSyncAsksBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{nodes: map[uint32]*clusterNode{}}
		first := c.join(t, 1, 0)
		now := time.Now()
		add(t, first.set, "u1", now, now)
		c.mu.Lock()
		c.nodes, c.asks = map[uint32]*clusterNode{}, 0
		c.mu.Unlock()
		second := c.join(t, 2, 0) // it does not know the first one
		c.mu.Lock()
		c.nodes[1] = first
		c.mu.Unlock()
		first.sync.PeerUp(2)
		time.Sleep(time.Second)
		if !second.sync.Ready() || !second.set.Revoked("u1", now.Add(-time.Second)) {
			t.Error("a node that was asked does not ask back")
		}
		time.Sleep(10 * time.Second)
		if c.mu.Lock(); c.asks != 2 {
			t.Errorf("%d asks", c.asks)
		}
		c.mu.Unlock()
	})
}

func TestSyncAlone(t *testing.T) {
	s := NewRevocationSync(NewRevocations(0, 0), SyncOptions{Alone: true})
	if !s.Ready() {
		t.Error("a node that is alone waits")
	}
}

// What one node missed it learns from another one within minutes, and a node that
// does not answer is asked again.
func TestSyncHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{nodes: map[uint32]*clusterNode{}, fail: 2}
		a, b := c.join(t, 1, 0), c.join(t, 2, 0)
		now := time.Now()
		add(t, a.set, "u1", now, now)
		time.Sleep(10 * time.Second)
		if !b.set.Revoked("u1", now.Add(-time.Second)) {
			t.Error("a node that did not answer at first was not asked again")
		}
		if a.sync.Stats().Failed+b.sync.Stats().Failed != 2 {
			t.Errorf("%+v %+v", a.sync.Stats(), b.sync.Stats())
		}
		add(t, b.set, "u2", now, now) // its command was lost
		time.Sleep(compareEvery + time.Second)
		if !a.set.Revoked("u2", now.Add(-time.Second)) {
			t.Error("a lost revocation is not noticed")
		}
		time.Sleep(time.Hour + 2*compareEvery + revocationSlack)
		if a.set.Stats().Users != 0 || b.set.Stats().Users != 0 {
			t.Error("revocations are not forgotten")
		}
	})
}

// Answers that are not valid, or have no room, change nothing that they should not.
func TestSyncBadAnswers(t *testing.T) {
	for _, c := range []struct {
		name, answer string
		users        int
	}{
		{"no JSON", `{`, 0},
		{"not in order", `{"users":[{"uid":"b","before":NOW},{"uid":"a","before":NOW}]}`, 0},
		{"no uid", `{"users":[{"uid":"","before":NOW}]}`, 0},
		{"a clock that is wrong", `{"everybody":9000000000000000000}`, 0},
		{"too many", `{"users":[{"uid":"a","before":NOW},{"uid":"b","before":NOW},{"uid":"c","before":NOW}]}`, 2},
		{"valid", `{"users":[{"uid":"a","before":NOW}]}`, 1},
		{"more, and nothing", `{"more":true}`, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			set := NewRevocations(0, 1)
			s := NewRevocationSync(set, SyncOptions{Ask: func(context.Context, uint32, []byte) ([]byte, error) {
				return []byte(strings.ReplaceAll(c.answer, "NOW", fmt.Sprint(time.Now().UnixNano()))), nil
			}})
			err := s.fetch(context.Background(), 1)
			if valid := c.name == "valid" || strings.HasPrefix(c.name, "more"); (err == nil) != valid {
				t.Errorf("%v", err)
			}
			if st := set.Stats(); st.Users != c.users || !st.Everybody.IsZero() {
				t.Errorf("%+v", st)
			}
		})
	}
	s := NewRevocationSync(NewRevocations(0, 0), SyncOptions{})
	if _, err := s.Answer(1, []byte("no JSON")); err == nil {
		t.Error("a malformed ask was answered")
	}
}

// A page fits into a command of the bus, however long the names of users are, and the
// pages have every user.
func TestSyncPageBytes(t *testing.T) {
	set := NewRevocations(0, 0)
	now := time.Now()
	const users = 1500
	for i := range users {
		add(t, set, fmt.Sprintf("%0*d", message.MaxUIDLen, i), now, now)
	}
	s := NewRevocationSync(set, SyncOptions{Alone: true})
	got, after := 0, ""
	for {
		body, err := s.Answer(1, []byte(`{"digest":"other","after":"`+after+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		if len(body) > 60<<10 { // a command has room for 64 KiB
			t.Fatalf("a page of %d bytes", len(body))
		}
		var page revocationPage
		if err := json.Unmarshal(body, &page); err != nil {
			t.Fatal(err)
		}
		if got += len(page.Users); !page.More || len(page.Users) == 0 {
			break
		}
		after = page.Users[len(page.Users)-1].UID
	}
	if got != users {
		t.Errorf("%d users", got)
	}
}

// A node that never answers is asked a few times, for a bounded time each, and again
// when it is back. A peer that has answered once is asked as often again.
func TestSyncGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{nodes: map[uint32]*clusterNode{}}
		n := c.join(t, 1, 0)
		n.sync.PeerUp(9) // there is no such node
		time.Sleep(time.Hour)
		synctest.Wait()
		c.mu.Lock()
		asks := c.asks
		c.mu.Unlock()
		if asks != attempts || n.sync.Stats().Failed != attempts {
			t.Errorf("%d asks, %+v", asks, n.sync.Stats())
		}
		begun := time.Now()
		n.sync.PeerUp(9)
		eventuallyAsked(c, asks+2)
		if took := time.Since(begun); took < askTime+retryAfter || took > askTime+retryAfter+time.Second {
			t.Errorf("the second ask came after %v", took)
		}
		time.Sleep(time.Minute)
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.asks != asks+attempts {
			t.Errorf("%d asks when it was back", c.asks-asks)
		}
	})
}

// eventuallyAsked waits until nodes have asked so often.
func eventuallyAsked(c *cluster, n int) {
	for asked := 0; asked < n; time.Sleep(time.Millisecond) {
		c.mu.Lock()
		asked = c.asks
		c.mu.Unlock()
	}
}

// What has no room is counted; what is known already is not applied again.
func TestSyncCounts(t *testing.T) {
	set := NewRevocations(0, 1)
	applied := 0
	s := NewRevocationSync(set, SyncOptions{Apply: func(Revocation) { applied++ }})
	now := time.Now()
	for _, uid := range []string{"a", "a", "b", "c"} {
		_ = s.learn(Revocation{uid, now})
	}
	_ = s.learn(Revocation{Before: now.Add(-time.Minute)})
	if st := s.Stats(); st.Learned != 3 || st.Overflow != 1 || applied != 3 {
		t.Errorf("%+v, %d applied", st, applied)
	}
}

// Nobody waits for a sync that is behind: a hint that finds no room is left out.
func TestSyncHintsAreBounded(t *testing.T) {
	s := NewRevocationSync(NewRevocations(0, 0), SyncOptions{})
	for i := range 2 * maxWaiting {
		s.PeerUp(uint32(i))
	}
	if n := len(s.asked); n != maxWaiting {
		t.Errorf("%d hints wait", n)
	}
}

// The first ask of a list carries the digest; a later page comes although the digests
// have become equal meanwhile.
func TestSyncPagesAreNotCutShort(t *testing.T) {
	set := NewRevocations(0, 0)
	now := time.Now()
	for _, uid := range []string{"a", "b"} {
		add(t, set, uid, now, now)
	}
	s := NewRevocationSync(set, SyncOptions{})
	for ask, want := range map[string]string{
		fmt.Sprintf(`{"digest":%q}`, set.digest()):             `{"same":true}`,
		fmt.Sprintf(`{"digest":%q,"after":"a"}`, set.digest()): fmt.Sprintf(`{"users":[{"uid":"b","before":%d}]}`, now.UnixNano()),
	} {
		if got, err := s.Answer(1, []byte(ask)); err != nil || string(got) != want {
			t.Errorf("%s: %s, %v; want %s", ask, got, err, want)
		}
	}
	refuses := func(answer string) bool {
		s.opt.Ask = func(context.Context, uint32, []byte) ([]byte, error) { return []byte(answer), nil }
		_, err := s.fetchPage(context.Background(), 1, revocationAsk{After: "m"})
		return err != nil
	}
	if !refuses(`{"users":[{"uid":"m","before":1}]}`) || !refuses(`{"users":[{"uid":"c","before":1}]}`) || refuses(`{"users":[{"uid":"n","before":1}]}`) {
		t.Error("a page that begins before its place is taken, or one that is right is not")
	}
}
