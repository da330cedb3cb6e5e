package main

import (
	"slices"
	"testing"

	"belfry/cluster"
	"belfry/push"
)

// Only nodes that take clients count for the mean.
func TestOtherLoads(t *testing.T) {
	view := []cluster.Member{
		{Load: 1, Self: true}, {Load: 2}, {Load: 3, State: cluster.Suspected},
		{Load: 4, State: cluster.Leaving}, {Load: 5, State: cluster.Gone}, {Load: 6, Draining: true},
	}
	if got := otherLoads(view); !slices.Equal(got, []uint64{2, 3}) {
		t.Error(got)
	}
}

// A drain is shown as a bar and a line; the bar is full when no session is left.
func TestDrainBar(t *testing.T) {
	for _, c := range []struct {
		closed, left int
		state, want  string
	}{
		{0, 10, "draining", "[                              ]   0 %"},
		{5, 5, "draining", "[===============               ]  50 %"},
		{0, 0, "drained", "[==============================] 100 %"},
	} {
		st := drainState(c.state, c.closed, c.left)
		if got := drainBar(&st); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
	st := drainState("draining", 5, 5)
	st.ETA = 90.4
	if got, want := drainLine(&st), "a drains: 5 closed, 5 left, 2 a second at most, ETA 1m30s"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func drainState(state string, closed, left int) push.DrainStatus {
	return push.DrainStatus{Node: "a", State: state, Closed: closed, Left: left, Rate: 2}
}
