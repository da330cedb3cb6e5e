package session

import (
	"math/bits"
	"sync/atomic"
	"time"

	"belfry/message"
)

// latency counts how long pushes took from their arrival at this node to the send.
// Each octave of microseconds has eight buckets. One shard writes it; any goroutine
// may read.
type latency struct {
	buckets [latencyBuckets]atomic.Uint64
	sum     atomic.Uint64 // µs
}

const (
	latencyDigits  = 3 // bits of a number that choose its bucket in the octave
	latencySteps   = 1 << latencyDigits
	latencyBuckets = 32 * latencySteps
)

// latencies are those of one shard, which alone writes them.
type latencies struct {
	single latency // of pushes to users and sessions: one observation for each send
	many   latency // of pushes to topics and all: one observation for each push
}

// of returns where the time that a message takes is counted.
func (l *latencies) of(d *Delivery) (to *latency, many bool) {
	if d.Message.Target.Scope >= message.ScopeUsers {
		return &l.single, false
	}
	return &l.many, true
}

func (l *latency) observe(d time.Duration) {
	us := uint64(max(d, 0) / time.Microsecond)
	l.buckets[latencyBucket(us)].Add(1)
	l.sum.Add(us)
}

// latencyBucket returns the bucket of a number of µs: its octave, and the part of
// the octave.
func latencyBucket(us uint64) int {
	if us < latencySteps {
		return int(us)
	}
	octave := bits.Len64(us) - 1
	i := (octave-latencyDigits+1)*latencySteps + int(us>>(octave-latencyDigits))&(latencySteps-1)
	return min(i, latencyBuckets-1)
}

// latencyBound returns the first number of µs that is above bucket i.
func latencyBound(i int) uint64 {
	i++
	if i < latencySteps {
		return uint64(i)
	}
	return uint64(latencySteps+i%latencySteps) << (i/latencySteps - 1)
}

// Latency is a distribution of times.
type Latency struct {
	Count  uint64
	Sum    time.Duration
	Bounds []time.Duration // upper, exclusive, rising
	Counts []uint64        // for each bound, not cumulative
}

// Quantile returns an upper bound of the q-quantile, 0 without observations.
func (l *Latency) Quantile(q float64) time.Duration {
	want, seen := uint64(q*float64(l.Count)), uint64(0)
	for i, n := range l.Counts {
		if seen += n; seen > want || seen == l.Count && n > 0 {
			return l.Bounds[i]
		}
	}
	return 0
}

// addTo adds the observations of one shard.
func (l *latency) addTo(to *Latency) {
	if to.Bounds == nil {
		to.Bounds, to.Counts = make([]time.Duration, latencyBuckets), make([]uint64, latencyBuckets)
		for i := range to.Bounds {
			to.Bounds[i] = time.Duration(latencyBound(i)) * time.Microsecond
		}
	}
	for i := range l.buckets {
		n := l.buckets[i].Load()
		to.Counts[i] += n
		to.Count += n
	}
	to.Sum += time.Duration(l.sum.Load()) * time.Microsecond
}
