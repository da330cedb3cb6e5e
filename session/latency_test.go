package session

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"belfry/message"
)

// Each bucket begins where the one before ends, and is at most a quarter of
// its beginning wide.
func TestLatencyBuckets(t *testing.T) {
	for i := range latencyBuckets {
		from := uint64(0)
		if i > 0 {
			from = latencyBound(i - 1)
		}
		to := latencyBound(i)
		if to <= from || to-from > max(1, from/4) {
			t.Fatalf("bucket %d is from %d to %d µs", i, from, to)
		}
		for _, us := range []uint64{from, (from + to) / 2, to - 1} {
			if got := latencyBucket(us); got != i {
				t.Errorf("%d µs are in bucket %d, not %d (%d to %d)", us, got, i, from, to)
			}
		}
	}
	if got := latencyBucket(1 << 62); got != latencyBuckets-1 {
		t.Errorf("the longest time is in bucket %d", got)
	}
}

// The histogram of shards added up, against the sorted times.
func TestLatencyModel(t *testing.T) {
	times := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) time.Duration {
		// As many short ones as long ones, negative ones now and then.
		return time.Duration(rapid.Int64Range(-10, 1<<rapid.IntRange(1, 42).Draw(t, "bits")).Draw(t, "ns"))
	}), 1, 300)
	rapid.Check(t, func(t *rapid.T) {
		list := times.Draw(t, "times")
		var shards [3]latency
		var sum time.Duration
		for i, d := range list {
			shards[i%3].observe(d)
			list[i] = max(0, d)
			sum += list[i].Truncate(time.Microsecond)
		}
		var l Latency
		for i := range shards {
			shards[i].addTo(&l)
		}
		if l.Count != uint64(len(list)) || l.Sum != sum {
			t.Fatalf("%d times of %v in all, want %d of %v", l.Count, l.Sum, len(list), sum)
		}
		slices.Sort(list)
		from := time.Duration(0)
		for i, bound := range l.Bounds {
			lo, _ := slices.BinarySearch(list, from)
			hi, _ := slices.BinarySearch(list, bound)
			if int(l.Counts[i]) != hi-lo {
				t.Fatalf("%d times from %v to %v, want %d", l.Counts[i], from, bound, hi-lo)
			}
			from = bound
		}
		for _, q := range []float64{0, 0.1, 0.5, 0.9, 0.99, 0.999, 1} {
			rank := min(int(q*float64(len(list))), len(list)-1)
			exact, got := list[rank], l.Quantile(q)
			if got <= exact || got > exact+exact/4+2*time.Microsecond {
				t.Fatalf("quantile %v is %v, want a little more than %v", q, got, exact)
			}
		}
	})
	if got := new(Latency).Quantile(0.5); got != 0 {
		t.Errorf("quantile of nothing is %v", got)
	}
}

// Pushes to users and sessions are measured if it is known when they came, and
// pushes to many are not.
func TestLatencyOfPushes(t *testing.T) {
	r := newRig(t, Options{Poller: onePoller()})
	c := r.dial("/ws?uid=u&topic=t")
	for i, m := range []message.Message{
		{Target: message.ToUsers("u"), Received: time.Now().Add(-time.Second)},
		{Target: message.ToUsers("u")},
		{Target: message.ToUsers("nobody"), Received: time.Now()},
		{Target: message.ToTopics("t"), Received: time.Now()},
		{Target: message.ToAll(), Received: time.Now()},
	} {
		m.Payload = []byte("x")
		if err := r.push(&m); err != nil {
			t.Fatal(err)
		}
		if i != 2 {
			c.want("x")
		}
	}
	r.fanoutDone()
	l := r.Stats().PushLatency
	if l.Count != 1 || l.Sum < time.Second || l.Quantile(0.5) < time.Second {
		t.Errorf("%d times, sum %v, median %v", l.Count, l.Sum, l.Quantile(0.5))
	}
}
