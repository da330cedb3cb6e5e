package poller

import "time"

// chunk is the time for which a shard does one kind of work before it serves
// the next (Options.Chunk).
type chunk struct {
	base     time.Time // zero of the loop's clock
	length   time.Duration
	deadline time.Duration // on the loop's clock
	check    bool          // see Shard.CheckClock

	// The shard has not run for a while: events are served without a limit of
	// time until each connection was served once.
	stalled bool
}

func (c *chunk) now() time.Duration { return time.Since(c.base) }

// begin starts a new chunk and returns the time.
func (c *chunk) begin() (now time.Duration) {
	now = c.now()
	c.deadline = now + c.length
	return now
}

// over says whether the time of the chunk is over.
func (c *chunk) over() bool { return c.now() >= c.deadline }

// late is over for the work on events.
func (c *chunk) late() bool { return !c.stalled && c.over() }
