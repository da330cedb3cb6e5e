package broadcast

import (
	"fmt"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"belfry/message"
)

// rawNode is a NATS client that speaks as a node would, and skips numbers.
type rawNode struct {
	nc    *nats.Conn
	epoch uint64
}

func (r rawNode) message(t *testing.T, subject string, number uint64) {
	t.Helper()
	send(t, r.nc, &nats.Msg{Subject: subject, Data: []byte(fmt.Sprint(r.epoch, ".", number)), Header: nats.Header{
		headerNode: {"0000abcd"}, headerSeq: {formatSeq(r.epoch, number)}, headerID: {subject + formatSeq(r.epoch, number)},
	}})
}

func (r rawNode) beacon(t *testing.T, round uint64, entries ...beaconEntry) {
	t.Helper()
	b := beacon{node: 0xabcd, name: "raw", instance: "i", round: round, maxEpoch: r.epoch}
	p := b.appendHead(nil)
	for _, e := range entries {
		p = appendEntry(p, e)
	}
	send(t, r.nc, &nats.Msg{Subject: subjectBeacon, Data: p})
}

func TestGapsAreCountedOnTheBus(t *testing.T) {
	s := external(t, 0)
	n := open(t, Options{URLs: []string{s.ClientURL()}})
	n.topic(t, "a")
	raw := rawNode{client(t, s.ClientURL()), 100}
	const a = subjectTopic + "a"
	raw.message(t, a, 1)
	raw.message(t, a, 2)
	raw.message(t, a, 5) // 3 and 4 are missing
	raw.message(t, a, 5) // a copy
	raw.beacon(t, 1, beaconEntry{a, 100, 0, 8})
	raw.beacon(t, 2, beaconEntry{a, 100, 8, 8}) // 6 to 8, once
	raw.message(t, a, 9)
	eventually(t, "the last", func() bool { return n.Stats().Delivered == 4 })
	if st := n.Stats(); len(n.payloads("a")) != 4 || st.Gaps != 5 || st.Duplicates != 1 || st.Delivered != 4 {
		t.Errorf("%+v", st)
	}
}

// Numbers that nobody can have come to must not spoil the count for ever.
func TestForgedNumbersAreMalformed(t *testing.T) {
	s := external(t, 0)
	n := open(t, Options{URLs: []string{s.ClientURL()}})
	n.topic(t, "a")
	raw := rawNode{client(t, s.ClientURL()), 100}
	const a = subjectTopic + "a"
	raw.message(t, a, 1)
	raw.beacon(t, 1, beaconEntry{a, 100, 0, math.MaxUint64})
	raw.beacon(t, 2, beaconEntry{a, math.MaxUint64, 0, 7})
	raw.beacon(t, math.MaxUint64)
	rawNode{raw.nc, math.MaxUint64}.message(t, a, 1)
	raw.message(t, a, math.MaxUint64)
	send(t, raw.nc, &nats.Msg{Subject: subjectBeacon, Data: make([]byte, 5*beaconPart)})
	raw.message(t, a, 1<<50) // one gap, and delivered
	raw.message(t, a, 4)     // 2 and 3 are missing
	eventually(t, "the last", func() bool { return n.Stats().Delivered == 3 })
	if st := n.Stats(); st.Gaps != 3 || st.Malformed != 6 || st.Duplicates != 0 {
		t.Errorf("%d gaps, %d malformed, %d duplicates", st.Gaps, st.Malformed, st.Duplicates)
	}
}

// A receiver that stands still overflows its channel: nats.go drops the tail,
// that is counted, and the sender's beacon shows the same number as a gap.
func TestFullChannelIsCounted(t *testing.T) {
	clk := newFakeClock()
	url := external(t, 0).ClientURL()
	a := open(t, Options{NodeName: "a", URLs: []string{url}, clock: clk.clock()})
	b := open(t, Options{NodeName: "b", URLs: []string{url}, clock: clk.clock(), PendingBytes: 1 << 10})
	if got := cap(b.nats.in); got != minPendingLength {
		t.Fatalf("channel of %d", got)
	}
	const sent, held = minPendingLength + 30, minPendingLength + 1 // one is with the recorder
	a.publish(t, message.ToAll(), "first")
	eventually(t, "the first", func() bool { return len(b.messages()) == 1 })
	b.recorder.mu.Lock()
	for range sent {
		a.publish(t, message.ToAll(), "x")
	}
	eventually(t, "confirmed", func() bool { return a.Stats().Sent == sent+1 })
	if err := b.nats.nc.Flush(); err != nil { // everything has come to b's client
		t.Fatal(err)
	}
	b.recorder.mu.Unlock()
	eventually(t, "what was held", func() bool { return b.Stats().Delivered >= held })
	clk.advance(t, time.Second)
	eventually(t, "the gap", func() bool { return b.Stats().Gaps > 0 })
	clk.advance(t, time.Second)
	st := b.Stats()
	if st.LostReceive != st.Gaps || st.Delivered+st.Gaps != sent+1 {
		t.Errorf("%+v", st)
	}
	a.publish(t, message.ToAll(), "last")
	eventually(t, "the last", func() bool { p := b.payloads(""); return p[len(p)-1] == "last" })
	if g := b.Stats().Gaps; g != st.Gaps {
		t.Errorf("%d gaps became %d", st.Gaps, g)
	}
}

// tracker is origins with a subscription table and a clock of the test.
type tracker struct {
	gapTracker
	roster *roster
	gaps   atomic.Uint64
	peers  atomic.Int64
	subs   map[string]time.Time
	now    time.Time
	floor  uint64
	inst   string
}

func newTracker() *tracker {
	k := &tracker{subs: map[string]time.Time{}, now: time.Unix(1000, 0), inst: "i"}
	k.gapTracker = gapTracker{
		since:  func(s string) (time.Time, bool) { at, ok := k.subs[s]; return at, ok },
		beacon: time.Second, log: zap.NewNop(), nodes: map[uint32]*peerStreams{}, swept: k.now,
		gaps: &k.gaps,
	}
	k.roster = newRoster(0, time.Second, k.now, zap.NewNop(), &k.peers)
	return k
}

func (k *tracker) message(epoch, number uint64) bool {
	return k.accept(stamp{1, epoch, number}, "s", k.now)
}

func (k *tracker) round(r uint64, e ...beaconEntry) {
	b := &beacon{node: 1, name: "n", instance: k.inst, round: r, maxEpoch: k.floor, entries: e}
	k.roster.onBeacon(b, k.now)
	k.onBeacon(b, k.now)
}

func (k *tracker) pass(d time.Duration) { k.now = k.now.Add(d) }

func TestGapRules(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(k *tracker)
		gaps uint64
	}{
		"the first message is a beginning": {func(k *tracker) { k.message(5, 100) }, 0},
		"a hole":                           {func(k *tracker) { k.message(5, 1); k.message(5, 4) }, 2},
		"a restart, first message lost":    {func(k *tracker) { k.message(5, 9); k.message(6, 2) }, 1},
		"a restart":                        {func(k *tracker) { k.message(5, 9); k.message(6, 1) }, 0},
		"a clock set back":                 {func(k *tracker) { k.message(5, 9); k.message(4, 3); k.message(4, 5) }, 1},
		"a beacon shows the tail":          {func(k *tracker) { k.message(5, 1); k.round(1, beaconEntry{"s", 5, 0, 3}) }, 2},
		"the same beacon again": {func(k *tracker) {
			k.message(5, 1)
			k.round(1, beaconEntry{"s", 5, 0, 3})
			k.round(2, beaconEntry{"s", 5, 3, 3})
			k.message(5, 4)
		}, 2},
		"a beacon shows a restart":           {func(k *tracker) { k.message(5, 1); k.round(1, beaconEntry{"s", 6, 0, 3}) }, 3},
		"a beacon of an old stream":          {func(k *tracker) { k.message(5, 1); k.round(1, beaconEntry{"s", 4, 0, 3}) }, 0},
		"a beacon about what we never heard": {func(k *tracker) { k.round(1, beaconEntry{"s", 5, 0, 3}) }, 0},
		"all lost between two beacons we heard": {func(k *tracker) {
			k.pass(10 * time.Second)
			k.round(1)
			k.pass(time.Second)
			k.round(2, beaconEntry{"s", 5, 0, 3})
		}, 3},
		"all lost, but a beacon too": {func(k *tracker) {
			k.pass(10 * time.Second)
			k.round(1)
			k.pass(2 * time.Second)
			k.round(3, beaconEntry{"s", 5, 0, 3})
		}, 0},
		"further parts of one beacon": {func(k *tracker) {
			k.pass(10 * time.Second)
			k.round(1)
			k.round(2, beaconEntry{"x", 5, 0, 3})
			k.round(2, beaconEntry{"s", 5, 0, 3})
		}, 6},
		"just subscribed": {func(k *tracker) {
			k.round(1)
			k.pass(time.Second)
			k.round(2, beaconEntry{"s", 5, 0, 3})
		}, 0},
		"another process": {func(k *tracker) {
			k.pass(10 * time.Second)
			k.round(1)
			k.inst = "j"
			k.round(2, beaconEntry{"s", 5, 0, 3})
		}, 0},
		"begun after a beacon, first message lost": {func(k *tracker) {
			k.pass(10 * time.Second)
			k.floor = 4
			k.round(1)
			k.message(5, 2)
			k.round(2, beaconEntry{"s", 5, 0, 2})
		}, 1},
		"begun before the beacon": {func(k *tracker) {
			k.pass(10 * time.Second)
			k.floor = 5
			k.round(1)
			k.message(5, 2)
		}, 0},
		"subscription lapsed": {func(k *tracker) {
			k.message(5, 1)
			k.pass(time.Second)
			delete(k.subs, "s")
			k.pass(time.Second)
			k.subs["s"] = k.now
			k.message(5, 9)
		}, 0},
		"not subscribed": {func(k *tracker) {
			k.message(5, 1)
			delete(k.subs, "s")
			k.round(1, beaconEntry{"s", 5, 0, 7})
		}, 0},
		"a number no node can have come to": {func(k *tracker) {
			k.message(5, 1)
			if !k.message(5, 1<<40) {
				k.gaps.Add(100) // it must be delivered
			}
			for _, number := range []uint64{2, 3, 5} { // and so must what really follows
				if !k.message(5, number) {
					k.gaps.Add(100)
				}
			}
		}, 1 + 1},
		"a beacon with such a number": {func(k *tracker) {
			k.message(5, 1)
			k.round(1, beaconEntry{"s", 5, 0, 1 << 40})
			k.message(5, 3)
		}, 1 + 1},
		"a beacon of a new stream with such a number": {func(k *tracker) {
			k.message(5, 1)
			k.round(1, beaconEntry{"s", 6, 0, 1 << 40})
			k.message(5, 3)
		}, 1 + 1},
		"the first beacons with such numbers": {func(k *tracker) {
			k.pass(10 * time.Second)
			k.round(1)
			k.pass(time.Second)
			k.round(2, beaconEntry{"s", 5, 0, 1 << 40})
		}, 1},
		"many messages in a long silence": {func(k *tracker) {
			k.message(5, 1)
			k.pass(time.Minute)
			k.message(5, 50_000_001)
		}, 49_999_999},
		"such numbers, and they go on": {func(k *tracker) {
			k.message(5, 1)
			k.message(5, 1<<40)
			k.message(5, 1<<40+3) // 2 missing
			k.message(5, 1<<40+5) // 1 missing
		}, 1 + 2 + 1},
		"late after its beacon": {func(k *tracker) {
			k.message(5, 1)
			k.round(1, beaconEntry{"s", 5, 0, 2})
			if !k.message(5, 2) {
				k.gaps.Add(100) // it must be delivered
			}
			k.message(5, 3)
		}, 1},
	} {
		k := newTracker()
		k.subs["s"], k.subs["x"] = k.now, k.now
		c.do(k)
		if got := k.gaps.Load(); got != c.gaps {
			t.Errorf("%s: %d gaps, want %d", name, got, c.gaps)
		}
	}
}

func TestCopiesAreRecognized(t *testing.T) {
	k := newTracker()
	k.subs["s"] = k.now
	for i, c := range []struct {
		epoch, number uint64
		fresh         bool
	}{{5, 1, true}, {5, 1, false}, {5, 3, true}, {5, 2, false}, {6, 1, true}, {6, 1, false}} {
		if k.message(c.epoch, c.number) != c.fresh {
			t.Errorf("step %d: %+v", i, c)
		}
	}
}

func TestIdleStreamsAreForgotten(t *testing.T) {
	k := newTracker()
	for i := range 1000 {
		k.accept(stamp{1, 5, 1}, fmt.Sprint("s", i), k.now)
	}
	k.round(1)
	k.sweep(k.now)
	k.roster.sweep(k.now)
	if k.peers.Load() != 1 || len(k.nodes[1].streams) != 1000 {
		t.Fatal("too early")
	}
	k.pass(streamForget + time.Second)
	k.message(5, 1)
	k.sweep(k.now)
	k.roster.sweep(k.now)
	if len(k.nodes[1].streams) != 1 || k.peers.Load() != 0 {
		t.Errorf("%d streams, %d peers", len(k.nodes[1].streams), k.peers.Load())
	}
	k.pass(streamForget + time.Second)
	k.sweep(k.now)
	if len(k.nodes) != 0 {
		t.Error("a silent node is remembered")
	}

	start := k.now
	n := newNumbers(start)
	for i := range 100 {
		n.used(n.stream(fmt.Sprint("s", i)), start)
	}
	epoch := n.stream("s0").epoch
	n.announced()
	n.used(n.stream("s1"), start)
	n.sweep(start.Add(streamIdle + time.Second))
	if len(n.streams) != 1 {
		t.Errorf("%d streams; one was not announced yet", len(n.streams))
	}
	if s := n.stream("s0"); s.epoch <= epoch || s.last != 0 {
		t.Errorf("a stream begun anew has epoch %d after %d, number %d", s.epoch, epoch, s.last)
	}
}

// Whoever publishes to ever new topics costs no more than so many streams, and
// nothing is taken for lost when one of them begins anew.
func TestStreamsOfThisNodeAreBounded(t *testing.T) {
	now := time.Now()
	n := newNumbers(now)
	for i := range ownStreams + 10 {
		n.used(n.stream(fmt.Sprint("s", i)), now)
	}
	n.sweep(now)
	if len(n.streams) != ownStreams+10 {
		t.Error("streams were forgotten before a beacon told of them")
	}
	k := newTracker()
	k.subs["s0"] = k.now
	k.accept(stamp{1, n.stream("s0").epoch, 1}, "s0", k.now)
	n.announced()
	n.sweep(now)
	if len(n.streams) != 0 {
		t.Errorf("%d streams kept", len(n.streams))
	}
	again := n.stream("s0")
	n.used(again, now)
	if !k.accept(stamp{1, again.epoch, again.last}, "s0", k.now) || k.gaps.Load() != 0 {
		t.Errorf("begun anew: %d gaps", k.gaps.Load())
	}
}

func TestMadPeerIsBounded(t *testing.T) {
	k := newTracker()
	for i := range maxPeerStreams + 10 {
		k.accept(stamp{1, 5, 1}, fmt.Sprint("s", i), k.now)
	}
	for i := range maxPeers + 10 {
		k.accept(stamp{uint32(i), 5, 1}, "s", k.now)
	}
	if len(k.nodes[1].streams) != maxPeerStreams || len(k.nodes) != maxPeers {
		t.Errorf("%d streams, %d nodes", len(k.nodes[1].streams), len(k.nodes))
	}
}
