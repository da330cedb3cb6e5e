package broadcast

import (
	"fmt"
	"testing"
	"time"

	"belfry/message"
)

const fixedSubscriptions = 8 // all, node, beacon, peers, report, users, control to all and to the node

func TestLingerTopic(t *testing.T) {
	clk := newFakeClock()
	s := external(t, 0)
	n := open(t, Options{URLs: []string{s.ClientURL()}, Linger: 5 * time.Second, clock: clk.clock()})
	n.topic(t, "a")
	n.topic(t, "a") // a second shard
	n.LeaveTopic([]byte("a"))
	clk.advance(t, 6*time.Second)
	clk.advance(t, time.Second)
	if s.GlobalAccount().Interest("belfry.topic.a") != 1 {
		t.Fatal("unsubscribed while a shard wants it")
	}
	n.LeaveTopic([]byte("a"))
	clk.advance(t, 3*time.Second)
	if !n.JoinTopic([]byte("a"), n.shard, 1) {
		t.Error("a lingering topic is not ready at once")
	}
	n.LeaveTopic([]byte("a"))
	clk.advance(t, 3*time.Second) // 6 s after the first, 3 s after the last
	clk.advance(t, time.Second)
	if s.GlobalAccount().Interest("belfry.topic.a") != 1 {
		t.Error("linger counts from the first leave")
	}
	clk.advance(t, 2*time.Second)
	eventually(t, "unsubscribed", func() bool { return s.GlobalAccount().Interest("belfry.topic.a") == 0 })
	clk.advance(t, time.Second)
	if st := n.Stats(); st.Topics != 0 || st.Subscriptions != fixedSubscriptions {
		t.Errorf("%+v", st)
	}
	n.LeaveTopic([]byte("a")) // one call too many does no harm
	n.topic(t, "a")
	if s.GlobalAccount().Interest("belfry.topic.a") != 1 {
		t.Error("ready without a subscription")
	}
}

// A session is notified only after the server has the subscription: messages
// published from then on arrive.
func TestReadyMeansSubscribed(t *testing.T) {
	s := external(t, 0)
	a := open(t, Options{NodeName: "a", URLs: []string{s.ClientURL()}})
	b := open(t, Options{NodeName: "b", URLs: []string{s.ClientURL()}})
	for i := range 60 {
		topic, uid := fmt.Sprint("t", i), uidInBucket(uint16(i), 0)
		b.topic(t, topic)
		b.user(t, uid)
		if s.GlobalAccount().Interest(subjectTopic+topic) != 1 || s.GlobalAccount().Interest(userBucketSubject(uint16(i))) != 2 {
			t.Fatal("ready, but the server does not know")
		}
		a.publish(t, message.ToTopics(topic), topic)
		a.publish(t, message.ToUsers(uid), uid)
	}
	eventually(t, "all messages", func() bool { return len(b.messages()) == 120 })
}

// opened returns a node that has not subscribed to anything yet.
func opened(t *testing.T) *member {
	t.Helper()
	n, err := Open(Options{NodeOf: nodeOf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return &member{n, new(recorder), new(shard)}
}

func TestFullMailboxIsNotifiedAgain(t *testing.T) {
	n := opened(t)
	n.shard.refuse = 3
	if n.JoinUser([]byte("bob"), n.shard, 1) {
		t.Error("ready before the node subscribed to anything")
	}
	n.JoinTopic([]byte("a"), n.shard, 2)
	n.Start(n.recorder)
	eventually(t, "both notified once", func() bool { return n.shard.count(1) == 1 && n.shard.count(2) == 1 })
}

func TestJoinAndLeaveBeforeReady(t *testing.T) {
	n := opened(t)
	for i := range 50 {
		uid, topic := []byte(fmt.Sprint("u", i)), []byte(fmt.Sprint("t", i))
		n.JoinUser(uid, n.shard, uint64(i))
		n.LeaveUser(uid)
		n.JoinTopic(topic, n.shard, 1000)
		n.LeaveTopic(topic)
	}
	n.Start(n.recorder)
	eventually(t, "users notified", func() bool { return n.shard.count(49) == 1 && n.shard.count(0) == 1 })
	eventually(t, "nothing left", func() bool {
		st := n.Stats()
		return st.Topics == 0 && st.Buckets == 0 && st.Subscriptions == fixedSubscriptions
	})
}

func TestJoinUserIsCheap(t *testing.T) {
	n := open(t, Options{})
	n.user(t, "bob")
	uid := []byte("bob")
	if got := testing.AllocsPerRun(100, func() { n.JoinUser(uid, n.shard, 1); n.LeaveUser(uid) }); got != 0 {
		t.Errorf("%v allocations on the fast path", got)
	}
	n.topic(t, "a")
	topic := []byte("a")
	if got := testing.AllocsPerRun(100, func() { n.JoinTopic(topic, n.shard, 1); n.LeaveTopic(topic) }); got != 0 {
		t.Errorf("%v allocations for a topic that is ready", got)
	}
}
