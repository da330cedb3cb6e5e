package webhook

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Stats is what a backend has done so far.
type Stats struct {
	Name     string
	Calls    map[string]uint64 // by result, each call once: ok, refused (3xx, 4xx), failed (5xx), timeout, error, too_big, busy, open, canceled
	Retries  uint64            // attempts after the first of their call
	InFlight int               // calls
	Bytes    int64             // of the bodies of calls in flight
	URLs     int
	Open     int // URLs that are left alone because they failed
	Latency  Latency
}

// Latency is a distribution of times in seconds, cumulative as Prometheus has it:
// Buckets has by upper bound how many observations were at most that.
type Latency struct {
	Count   uint64
	Sum     float64
	Buckets map[float64]uint64
}

const (
	latencyFirst   = 512 * time.Microsecond
	latencyBuckets = 17 // the last bound is latencyFirst << 16, 33.6 s
)

// counters are written by any goroutine.
type counters struct {
	calls   [outcomes]atomic.Uint64
	retries atomic.Uint64
	latency [latencyBuckets + 1]atomic.Uint64 // the last one: above all bounds
	sum     atomic.Int64                      // ns
}

// observe counts the time of a call that was sent.
func (c *counters) observe(d time.Duration) {
	i := bits.Len64(uint64(max(d-1, 0) / latencyFirst))
	c.latency[min(i, latencyBuckets)].Add(1)
	c.sum.Add(int64(d))
}

func (c *counters) histogram() Latency {
	l := Latency{Buckets: make(map[float64]uint64, latencyBuckets)}
	for i := range c.latency {
		l.Count += c.latency[i].Load()
		if i < latencyBuckets {
			l.Buckets[(latencyFirst << i).Seconds()] = l.Count
		}
	}
	l.Sum = time.Duration(c.sum.Load()).Seconds()
	return l
}

// Stats may be called by any goroutine.
func (b *Backend) Stats() Stats {
	s := Stats{Name: b.opt.Name, Calls: make(map[string]uint64, outcomes), Retries: b.counters.retries.Load(), URLs: len(b.endpoints), Latency: b.counters.histogram()}
	for o := range b.counters.calls {
		s.Calls[outcomeNames[o]] = b.counters.calls[o].Load()
	}
	s.InFlight, s.Bytes = b.flight.load()
	for _, e := range b.endpoints {
		if !e.healthy(time.Now()) {
			s.Open++
		}
	}
	return s
}
