package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"belfry/bench/plot"
)

// simWatch is what was seen of nodes, step by step.
type simWatch struct {
	step     time.Duration
	at       []float64    // seconds
	missing  []int        // sessions that nobody but their holder knows
	received []simReceipt // since the step before
}

// simReceipt is what nodes received in a step: the node that received most, and all
// together divided by their number.
type simReceipt struct{ most, mean simRate }

// simRate is in a second.
type simRate struct{ messages, bytes float64 }

// watch looks at nodes. from and to are times from now on.
func (s *simCluster) watch(nodes []*simNode, from, to, step time.Duration, missing func() int) *simWatch {
	w := &simWatch{step: step}
	begun := time.Now()
	time.Sleep(from)
	last := make([]simRate, len(nodes))
	read := func(n *simNode) simRate {
		return simRate{float64(n.traffic[1].messages.Load()), float64(n.traffic[1].bytes.Load())}
	}
	for i, n := range nodes {
		last[i] = read(n)
	}
	for time.Since(begun) < to {
		time.Sleep(step)
		var r simReceipt
		for i, n := range nodes {
			now := read(n)
			one := simRate{(now.messages - last[i].messages) / step.Seconds(), (now.bytes - last[i].bytes) / step.Seconds()}
			last[i] = now
			r.most = simRate{max(r.most.messages, one.messages), max(r.most.bytes, one.bytes)}
			r.mean.messages += one.messages / float64(len(nodes))
			r.mean.bytes += one.bytes / float64(len(nodes))
		}
		w.at, w.missing, w.received = append(w.at, time.Since(begun).Seconds()), append(w.missing, missing()), append(w.received, r)
	}
	return w
}

// report logs the figures, and returns when everything was known. sessions is how many
// had to be announced anew.
func (w *simWatch) report(t *testing.T, what string, sessions int) (known time.Duration) {
	t.Helper()
	first := max(slices.IndexFunc(w.missing, func(n int) bool { return n != w.missing[0] }), 0)
	last := len(w.missing) - 1
	for last > 0 && w.missing[last-1] == w.missing[len(w.missing)-1] {
		last--
	}
	var most, all simRate
	for _, r := range w.received {
		most = simRate{max(most.messages, r.most.messages), max(most.bytes, r.most.bytes)}
		all.messages += r.mean.messages * w.step.Seconds()
		all.bytes += r.mean.bytes * w.step.Seconds()
	}
	t.Logf("%s: %d sessions announced anew from %.3f s to %.3f s, at most %d missing", what, sessions, w.at[first], w.at[last], slices.Max(w.missing))
	t.Logf("a node receives %.0f messages and %.1f KB; the one that receives most, in %v, %.0f messages and %.1f KB",
		all.messages, all.bytes/1e3, w.step, most.messages*w.step.Seconds(), most.bytes*w.step.Seconds()/1e3)
	return time.Duration(w.at[last] * float64(time.Second))
}

// draw draws the death of a node: what is missing, and what the others receive.
func (w *simWatch) draw(t *testing.T, folder string) {
	t.Helper()
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	line := func(name string, of func(i int) float64) plot.Series {
		s := plot.Series{Name: name, X: w.at, Steps: true}
		for i := range w.at {
			s.Y = append(s.Y, of(i))
		}
		return s
	}
	x := "seconds since the last beacon of the node that died"
	for file, c := range map[string]plot.Chart{
		"death.svg": {Title: "Sessions that only their holder knows", X: x, Y: "sessions", Zero: true, Series: []plot.Series{
			line("", func(i int) float64 { return float64(w.missing[i]) }),
		}},
		"death-traffic.svg": {Title: "What a node receives when another died", X: x, Y: "KB/s", Zero: true, Series: []plot.Series{
			line("the node that receives most", func(i int) float64 { return w.received[i].most.bytes / 1e3 }),
			line("mean of all nodes", func(i int) float64 { return w.received[i].mean.bytes / 1e3 }),
		}},
	} {
		if err := c.Write(filepath.Join(folder, file)); err != nil {
			t.Fatal(err)
		}
	}
}
