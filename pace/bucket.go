package pace

import (
	"math"
	"time"
)

// Step is the time between two batches of a Bucket. A batch is what is due then: two
// percent of the sessions of a second, or one session.
const Step = 20 * time.Millisecond

// slack is how many steps may be late before the sessions that were due are not made up
// for. Beyond it a shard that had no time closes its sessions later, not faster.
const slack = 2

// Bucket says how many sessions are due, at a rate. It is a token bucket (RFC 2697) that
// holds the sessions of two steps and one more, so in no second, whenever it begins, more
// than Ceiling(rate, 1) are due. The zero value never has any. It is not safe for use by
// several goroutines.
type Bucket struct {
	rate, most float64 // sessions a second; sessions
	tokens     float64
	last       time.Duration // of the last Take
}

// NewBucket returns a bucket for rate sessions a second whose clock begins at now. phase,
// 0 to 1, is the part of a session that is due at once: buckets with different ones do
// not have their sessions due in the same steps.
func NewBucket(rate, phase float64, now time.Duration) Bucket {
	return Bucket{rate: rate, most: 1 + rate*slack*Step.Seconds(), tokens: phase, last: now}
}

// Take returns how many sessions are due at now, and takes them.
func (b *Bucket) Take(now time.Duration) int {
	if now > b.last {
		b.tokens = min(b.most, b.tokens+(now-b.last).Seconds()*b.rate)
		b.last = now
	}
	n := int(b.tokens)
	b.tokens -= float64(n)
	return n
}

// Give takes sessions back that were taken and not closed.
func (b *Bucket) Give(n int) { b.tokens = min(b.most, b.tokens+float64(n)) }

// margin is the part of a rate that a second may have more: the sessions that a late
// step makes up for, and the clients whose network is slower or faster than that of the
// ones before them.
const margin = 0.05

// Ceiling returns the most sessions that are closed in any second if parts buckets share a
// rate. It is the rate that is stated to people.
func Ceiling(rate float64, parts int) int { return int(math.Ceil(rate*(1+margin))) + parts }

// Rate returns the sessions a second that close n within a time.
func Rate(n int, over time.Duration) float64 {
	return float64(max(n, 1)) / max(over.Seconds(), Step.Seconds())
}

// Under returns the largest rate whose Ceiling for parts buckets is at most most, but a
// twentieth of a session a second at least.
func Under(most, parts int) float64 { return max(float64(most-parts)/(1+margin), 1.0/20) }
