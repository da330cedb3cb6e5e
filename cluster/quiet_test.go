package cluster

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// Nodes that tell each other nothing compare every five minutes, so that each idle node
// does not wake up for each of the others again and again.
func TestIdleNodesAreQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 12, 100)
		const nodes = 10
		for i := range nodes {
			r.open(r.start(fmt.Sprint("n", i)), 20)
		}
		time.Sleep(time.Minute) // of a comparison after the last change
		sent := func() (sum uint64) {
			for _, n := range r.nodes {
				sum += n.Stats().ControlSent
			}
			return sum
		}
		before := sent()
		time.Sleep(10 * time.Minute)
		const links, comparisons = nodes * (nodes - 1), 2
		if n := sent() - before; n < links || n > links*2*comparisons {
			t.Errorf("%d messages in ten minutes for %d links; want %d to %d, questions and answers", n, links, links, links*2*comparisons)
		}
	})
}

// A difference that nobody noticed is found by a comparison: half a minute after
// the keeper was told something, otherwise within five minutes.
func TestComparison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 13, 100)
		a, b := r.start("a"), r.start("b")
		r.open(a, 100)
		time.Sleep(time.Minute)
		kept := b.dir.Stats().Kept
		lose := func() {
			b.dir.mu.Lock()
			defer b.dir.mu.Unlock()
			for bucket := range uint16(Buckets) {
				b.dir.store.drop(b.dir.holders[a.NodeID()].index, bucket)
			}
		}
		lose()
		time.Sleep(5 * time.Minute)
		if got := b.dir.Stats().Kept; got != kept {
			t.Errorf("b keeps %d sessions after five minutes; want %d", got, kept)
		}
		lose()
		r.openFor(a, "somebody")
		time.Sleep(29 * time.Second)
		if got := b.dir.Stats().Kept; got > 1 {
			t.Errorf("b keeps %d sessions before the comparison; want 1", got)
		}
		time.Sleep(2 * time.Second)
		if got := b.dir.Stats().Kept; got != kept+1 {
			t.Errorf("b keeps %d sessions half a minute after a change; want %d", got, kept+1)
		}
	})
}
