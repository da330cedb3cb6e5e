package broadcast

import (
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
)

// tracker is a gapTracker and a roster with subscriptions and a clock of the test.
type tracker struct {
	gapTracker
	roster   *roster
	gaps     atomic.Uint64
	peers    atomic.Int64
	subs     map[string]time.Time
	now      time.Time
	maxEpoch uint64
	inst     string
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
	b := &beacon{node: 1, name: "n", instance: k.inst, round: r, maxEpoch: k.maxEpoch, entries: e}
	k.roster.onBeacon(b, k.now)
	k.onBeacon(b, k.now)
}

func (k *tracker) advance(d time.Duration) { k.now = k.now.Add(d) }

// gapRule is what happens to a stream, and how many gaps are counted.
type gapRule struct {
	do   func(k *tracker)
	gaps uint64
}

var gapRules = map[string]gapRule{
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
	"a beacon shows a restart":      {func(k *tracker) { k.message(5, 1); k.round(1, beaconEntry{"s", 6, 0, 3}) }, 3},
	"a beacon of an old stream":     {func(k *tracker) { k.message(5, 1); k.round(1, beaconEntry{"s", 4, 0, 3}) }, 0},
	"a beacon of an unknown stream": {func(k *tracker) { k.round(1, beaconEntry{"s", 5, 0, 3}) }, 0},
	"all lost between two beacons": {func(k *tracker) {
		k.advance(10 * time.Second)
		k.round(1)
		k.advance(time.Second)
		k.round(2, beaconEntry{"s", 5, 0, 3})
	}, 3},
	"all lost, but a beacon too": {func(k *tracker) {
		k.advance(10 * time.Second)
		k.round(1)
		k.advance(2 * time.Second)
		k.round(3, beaconEntry{"s", 5, 0, 3})
	}, 0},
	"further parts of one beacon": {func(k *tracker) {
		k.advance(10 * time.Second)
		k.round(1)
		k.round(2, beaconEntry{"x", 5, 0, 3})
		k.round(2, beaconEntry{"s", 5, 0, 3})
	}, 6},
	"just subscribed": {func(k *tracker) {
		k.round(1)
		k.advance(time.Second)
		k.round(2, beaconEntry{"s", 5, 0, 3})
	}, 0},
	"another process": {func(k *tracker) {
		k.advance(10 * time.Second)
		k.round(1)
		k.inst = "j"
		k.round(2, beaconEntry{"s", 5, 0, 3})
	}, 0},
	"stream begun after a beacon, first message lost": {func(k *tracker) {
		k.advance(10 * time.Second)
		k.maxEpoch = 4
		k.round(1)
		k.message(5, 2)
		k.round(2, beaconEntry{"s", 5, 0, 2})
	}, 1},
	"stream begun before the beacon": {func(k *tracker) {
		k.advance(10 * time.Second)
		k.maxEpoch = 5
		k.round(1)
		k.message(5, 2)
	}, 0},
	"subscription lapsed": {func(k *tracker) {
		k.message(5, 1)
		k.advance(time.Second)
		delete(k.subs, "s")
		k.advance(time.Second)
		k.subs["s"] = k.now
		k.message(5, 9)
	}, 0},
	"not subscribed": {func(k *tracker) {
		k.message(5, 1)
		delete(k.subs, "s")
		k.round(1, beaconEntry{"s", 5, 0, 7})
	}, 0},
	"a message after the beacon that counted it": {func(k *tracker) {
		k.message(5, 1)
		k.round(1, beaconEntry{"s", 5, 0, 2})
		if !k.message(5, 2) {
			k.gaps.Add(100) // it must be delivered
		}
		k.message(5, 3)
	}, 1},
}

// Rules for numbers that no node can have reached.
var implausibleRules = map[string]gapRule{
	"an implausible number": {func(k *tracker) {
		k.message(5, 1)
		if !k.message(5, 1<<40) {
			k.gaps.Add(100) // it must be delivered
		}
		for _, number := range []uint64{2, 3, 5} { // and so must the messages that follow
			if !k.message(5, number) {
				k.gaps.Add(100)
			}
		}
	}, 1 + 1},
	"a beacon with an implausible number": {func(k *tracker) {
		k.message(5, 1)
		k.round(1, beaconEntry{"s", 5, 0, 1 << 40})
		k.message(5, 3)
	}, 1 + 1},
	"a beacon of a new stream with an implausible number": {func(k *tracker) {
		k.message(5, 1)
		k.round(1, beaconEntry{"s", 6, 0, 1 << 40})
		k.message(5, 3)
	}, 1 + 1},
	"the first beacons with an implausible number": {func(k *tracker) {
		k.advance(10 * time.Second)
		k.round(1)
		k.advance(time.Second)
		k.round(2, beaconEntry{"s", 5, 0, 1 << 40})
	}, 1},
	"many messages in a long silence": {func(k *tracker) {
		k.message(5, 1)
		k.advance(time.Minute)
		k.message(5, 50_000_001)
	}, 49_999_999},
	"implausible numbers that continue": {func(k *tracker) {
		k.message(5, 1)
		k.message(5, 1<<40)
		k.message(5, 1<<40+3) // 2 missing
		k.message(5, 1<<40+5) // 1 missing
	}, 1 + 2 + 1},
}

func TestGapRules(t *testing.T) {
	for _, rules := range []map[string]gapRule{gapRules, implausibleRules} {
		for name, c := range rules {
			k := newTracker()
			k.subs["s"], k.subs["x"] = k.now, k.now
			c.do(k)
			if got := k.gaps.Load(); got != c.gaps {
				t.Errorf("%s: %d gaps, want %d", name, got, c.gaps)
			}
		}
	}
}
