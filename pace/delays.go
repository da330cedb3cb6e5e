package pace

import "time"

// Delays are the delays after which clients are told to come back, one after another.
// Each client sees a random one. Together they are even: of any run of n delays, each
// part of the spread has its share, give or take a few, because they go by the golden
// ratio (the sequence with the least discrepancy, Knuth 6.4). So the clients of sessions
// that were closed evenly come back evenly; with random delays a second would have up to
// a fifth more than another.
type Delays struct {
	After, Spread time.Duration // the least delay, and what is added at most
	n             uint32
}

// golden is 2^32 divided by the golden ratio.
const golden = 0x9e3779b9

// NewDelays returns delays from after to after + spread. seed makes those of a shard
// different from those of others.
func NewDelays(after, spread time.Duration, seed uint32) Delays {
	return Delays{After: max(after, 0), Spread: max(spread, 0), n: seed}
}

// Next returns the next delay, in whole milliseconds.
func (d *Delays) Next() time.Duration {
	d.n += golden
	steps := uint64(d.Spread/time.Millisecond) + 1
	return d.After + time.Duration(uint64(d.n)*steps>>32)*time.Millisecond
}
