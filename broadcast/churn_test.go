package broadcast

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// signal is a Waiter that is notified once.
type signal chan struct{}

func (s signal) UserReady(uint64) bool  { s <- struct{}{}; return true }
func (s signal) TopicReady(uint64) bool { s <- struct{}{}; return true }

// waits is an interest without its goroutine: wanted topics stay queued.
func waits(o Options) *interest {
	if o.MaxLingering == 0 {
		o.MaxLingering = 4096
	}
	o.clock = newFakeClock().clock()
	b := &NATS{opt: o}
	b.connected.Store(true)
	return newInterest(b, time.Now())
}

func TestTopicLeftBeforeItsTurnIsNeverSubscribed(t *testing.T) {
	i := waits(Options{})
	w := new(shard)
	for n := range 10_000 {
		i.joinTopic(fmt.Append(nil, "t", n), w, uint64(n))
		i.leaveTopic(fmt.Append(nil, "t", n))
	}
	i.joinTopic([]byte("kept"), w, 1)
	if len(i.topics) != 1 || len(i.leaving) != 0 {
		t.Errorf("%d topics kept, %d to unsubscribe from; want 1 in total", len(i.topics), len(i.leaving))
	}
	if next := i.takeTopics(nil); len(next) != 1 || next[0].name != "kept" {
		t.Errorf("to subscribe to: %d topics", len(next))
	}
}

// A topic that several shards want does not wait behind topics that one client
// invents, and batches are so small that the next topic does not wait long.
func TestSharedTopicComesFirst(t *testing.T) {
	i := waits(Options{})
	attacked, other := new(shard), new(shard)
	for n := range 100_000 {
		i.joinTopic(fmt.Append(nil, "t", n), attacked, uint64(n))
	}
	i.joinTopic([]byte("news"), attacked, 1)
	i.joinTopic([]byte("news"), other, 2)
	batch := i.takeTopics(nil)
	if len(batch) != joinBatch || batch[0].name != "news" || batch[1].name != "t0" {
		t.Errorf("%d in the first batch, which begins with %s and %s", len(batch), batch[0].name, batch[1].name)
	}
	if notices := i.markTopics(batch[:1], time.Now()); len(notices) != 2 {
		t.Errorf("%d shards are notified, want both", len(notices))
	}
}

// A topic that one client wants does not wait without limit behind topics that
// two clients invent.
func TestSharedTopicsLeaveRoom(t *testing.T) {
	i := waits(Options{})
	one, two := new(shard), new(shard)
	for n := range 10_000 {
		i.joinTopic(fmt.Append(nil, "t", n), one, uint64(n))
		i.joinTopic(fmt.Append(nil, "t", n), two, uint64(n))
	}
	i.joinTopic([]byte("mine"), one, 1)
	batch := i.takeTopics(nil)
	if !slices.ContainsFunc(batch, func(t *topic) bool { return t.name == "mine" }) || len(batch) != joinBatch {
		t.Errorf("not among the first %d", len(batch))
	}
}

// A shard that leaves and comes back while it waits is notified once.
func TestWaiterIsKeptOnce(t *testing.T) {
	i := waits(Options{})
	w, stays := new(shard), new(shard)
	i.joinTopic([]byte("a"), stays, 1)
	for n := range 1000 {
		i.joinTopic([]byte("a"), w, uint64(n))
		i.leaveTopic([]byte("a"))
	}
	i.joinTopic([]byte("a"), w, 1000)
	i.notify(i.markTopics(i.takeTopics(nil), time.Now()))
	if len(w.tokens) != 1 || w.tokens[0] != 1000 || len(stays.tokens) != 1 {
		t.Errorf("notified: %v and %v", w.tokens, stays.tokens)
	}
}

// However fast clients invent topics, the subscriptions at the NATS server are
// bounded: wanted topics, topics that may linger, and one batch. All of them end
// when they are not wanted any more.
func TestChurnOfTopicsIsBounded(t *testing.T) {
	const names, clients, most = 20_000, 8, 100
	clk := newFakeClock()
	s := external(t, 0)
	n := open(t, Options{URLs: []string{s.ClientURL()}, MaxLingering: most, Linger: 5 * time.Second, clock: clk.clock()})
	n.topic(t, "kept")
	// Until the node has tried its permissions, it has two subscriptions for that.
	eventually(t, "the inspection", n.nats.inspected.Load)
	if err := n.nats.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	held := func() int { return int(s.NumSubscriptions()) }
	before, peak := held(), 0
	var mu sync.Mutex // guards peak
	look := func() {
		mu.Lock()
		defer mu.Unlock()
		peak = max(peak, held())
	}
	var churn sync.WaitGroup
	for c := range clients {
		churn.Go(func() {
			for k := range names / clients {
				name := fmt.Append(nil, "c", c, ".", k)
				w := make(signal, 1)
				// Every other client waits for the answer, as an honest one does.
				if !n.JoinTopic(name, w, 0) && c%2 == 0 {
					<-w
				}
				look() // not in a goroutine of its own, which would keep a single processor busy
				n.LeaveTopic(name)
			}
		})
	}
	churn.Wait()
	look()
	if limit := before + most + 2*joinBatch; peak > limit {
		t.Errorf("%d subscriptions at the NATS server; allowed are %d", peak, limit)
	}
	// A topic that is still being subscribed when the time moves would begin to
	// linger after it.
	eventually(t, "the last batch", n.nats.interest.settled)
	clk.advance(t, 6*time.Second)
	eventually(t, "everything given back", func() bool { return held() == before })
	clk.advance(t, time.Second)
	if st := n.Stats(); st.Topics != 1 || st.Lingering != 0 || st.LeftEarly == 0 {
		t.Errorf("%d topics, %d lingering, %d left early", st.Topics, st.Lingering, st.LeftEarly)
	}
	if !n.JoinTopic([]byte("kept"), n.shard, 1) {
		t.Error("a wanted topic was unsubscribed instead of lingering ones")
	}
}

// settled says whether every topic that is or was wanted is subscribed.
func (i *interest) settled() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, t := range i.topics {
		if !t.ready {
			return false
		}
	}
	return true
}

// A topic that is left and wanted again at once is subscribed to once: otherwise
// a message without a number would arrive twice.
func TestTopicGivenUpAndWantedAgain(t *testing.T) {
	s := external(t, 0)
	n := open(t, Options{URLs: []string{s.ClientURL()}, MaxLingering: 1})
	nc := client(t, s.ClientURL())
	const rounds = 200
	for k := range rounds {
		n.topic(t, "a")
		n.LeaveTopic([]byte("a"))
		n.topic(t, "b")
		n.LeaveTopic([]byte("b")) // takes the place of a
		n.topic(t, "a")
		send(t, nc, &nats.Msg{Subject: "belfry.topic.a", Data: fmt.Append(nil, k)})
		send(t, nc, &nats.Msg{Subject: "belfry.all", Data: fmt.Append(nil, "end", k)})
		eventually(t, "the end", func() bool { return len(n.payloads("")) == k+1 })
		n.LeaveTopic([]byte("a"))
	}
	if got := len(n.payloads("a")); got != rounds {
		t.Errorf("%d messages came for %d", got, rounds)
	}
}
