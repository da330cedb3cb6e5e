package broadcast

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"belfry/message"
)

// rawNode is a NATS client that sends messages and beacons like a node, and can
// skip numbers.
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

// After implausible numbers, gaps are counted as before.
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

// If the receiver does not run, its channel overflows. nats.go drops further
// messages; they are counted, and the sender's beacon shows the same number as a
// gap.
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
	if err := b.nats.nc.Flush(); err != nil { // then everything has arrived at b's client
		t.Fatal(err)
	}
	b.recorder.mu.Unlock()
	eventually(t, "the messages of the channel", func() bool { return b.Stats().Delivered >= held })
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
	k.advance(streamForget + time.Second)
	k.message(5, 1)
	k.sweep(k.now)
	k.roster.sweep(k.now)
	if len(k.nodes[1].streams) != 1 || k.peers.Load() != 0 {
		t.Errorf("%d streams, %d peers", len(k.nodes[1].streams), k.peers.Load())
	}
	k.advance(streamForget + time.Second)
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
		t.Errorf("%d streams, want the one that was not announced", len(n.streams))
	}
	if s := n.stream("s0"); s.epoch <= epoch || s.last != 0 {
		t.Errorf("the stream that began again has epoch %d after %d, number %d", s.epoch, epoch, s.last)
	}
}

// A publisher that always uses new topics cannot make the node keep more than
// ownStreams, and no message counts as lost when a removed stream begins again.
func TestStreamsOfThisNodeAreBounded(t *testing.T) {
	now := time.Now()
	n := newNumbers(now)
	for i := range ownStreams + 10 {
		n.used(n.stream(fmt.Sprint("s", i)), now)
	}
	n.sweep(now)
	if len(n.streams) != ownStreams+10 {
		t.Error("streams were removed before a beacon had them")
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
		t.Errorf("the stream began again: %d gaps", k.gaps.Load())
	}
}

func TestStreamsOfPeersAreBounded(t *testing.T) {
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
