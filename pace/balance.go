package pace

import (
	"math"
	"time"
)

// Balance decides how many sessions a node sheds so that it has no more than the mean of
// its cluster. Its zero value is not useful: set the fields in capitals. The node calls
// Next about once a second. It is not safe for use by several goroutines.
//
// A run begins when the node has had Tolerance more than the mean for Settle, and ends
// when it has the mean, or when it has closed as many sessions as it had too many. So a
// run ends even if every client comes back to this node. Then there is a Pause, in which
// clients come back and nodes tell each other what they have. If most clients of a run
// came back here (a load balancer that sends each client to the same node), each further
// Pause is twice as long, up to MaxPause.
type Balance struct {
	Tolerance float64       // part of the mean
	Settle    time.Duration // before a run
	Pause     time.Duration // behind a run
	MaxPause  time.Duration

	over   bool // the node has too many, since:
	since  time.Duration
	until  time.Duration // end of the pause
	pause  time.Duration // the present one; 0: no run was in vain
	begun  int           // sessions at the begin of the last run; 0: there was none
	excess int           // what it had too many then
	target int           // of the run; 0: there is no run
	shed   int           // what all runs before it have closed
}

// Running says whether a run is under way.
func (b *Balance) Running() bool { return b.target > 0 }

// Next returns how many sessions the node may close until the next call, at most most.
// now counts from any moment after which it never falls; own are the sessions of this
// node, shed what it has closed by this since the start, loads the sessions of the other
// nodes that stay.
func (b *Balance) Next(now time.Duration, own, shed int, loads []uint64, most int) int {
	sum := float64(own)
	for _, n := range loads {
		sum += float64(n)
	}
	mean := int(math.Ceil(sum / float64(len(loads)+1)))
	if b.target == 0 && !b.begin(now, own, shed, mean) {
		return 0
	}
	// Clients of other nodes that are on their way make the mean look smaller.
	b.target = max(b.target, mean)
	n := min(own-b.target, b.shed+b.excess-shed, most)
	if len(loads) == 0 || n <= 0 {
		b.end(now)
		return 0
	}
	return n
}

// begin says whether a run begins.
func (b *Balance) begin(now time.Duration, own, shed, mean int) bool {
	if float64(own) <= float64(mean)*(1+b.Tolerance) || own <= mean {
		b.over = false
		return false
	}
	if !b.over {
		b.over, b.since = true, now
	}
	if now < b.until || now-b.since < b.Settle {
		return false
	}
	if vain := b.begun > 0 && own > b.begun-b.excess/2; vain && b.pause < b.MaxPause {
		if b.pause == 0 {
			b.pause = b.Pause
		}
		b.pause = min(2*b.pause, b.MaxPause)
		b.begun, b.until = 0, now+b.pause
		return false
	} else if !vain && b.begun > 0 {
		b.pause = 0
	}
	b.begun, b.excess, b.shed, b.target = own, own-mean, shed, max(mean, 1)
	return true
}

// Stop ends a run, as when the node begins to drain.
func (b *Balance) Stop(now time.Duration) {
	if b.target > 0 {
		b.end(now)
	}
}

func (b *Balance) end(now time.Duration) {
	b.target, b.over = 0, false
	b.until = now + max(b.pause, b.Pause)
}
