package poller

import (
	"context"
	"sync/atomic"
	"testing"
	"time"
)

// Whoever can wait is held while the lane is crowded, and let go when it is
// not, when his time is over, and when the loop ends.
func TestUncrowded(t *testing.T) {
	const size = 1024
	r := newRig(t, Options{Shards: 2, Mailbox: size}, func(h *echoHandler) { h.mail = runMail })
	ctx := context.Background()
	if r.Shard(0).Uncrowded(ctx, time.Hour) {
		t.Error("waited for an empty lane")
	}
	var releases []func()
	for i := range 2 {
		releases = append(releases, r.block(i))
		for range size / crowdShare {
			r.Shard(i).Post(LaneSingle, Mail{Ptr: func(*Shard) {}})
		}
	}
	if !r.Shard(0).Uncrowded(ctx, time.Millisecond) {
		t.Error("did not wait for a crowded lane")
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if !r.Shard(0).Uncrowded(gone, time.Hour) {
		t.Error("did not wait for a crowded lane, if only to see that it is not wanted any more")
	}
	waiters := [2]int{10 * size / crowdShare, size / crowdShare} // more than one drain lets go, and unlike
	all := waiters[0] + waiters[1]
	waited := make(chan bool, all)
	for i, n := range waiters {
		for range n {
			go func() {
				waited <- r.Shard(i).Uncrowded(ctx, time.Hour)
				r.Shard(i).Post(LaneSingle, Mail{Ptr: func(*Shard) {}})
			}()
		}
		eventually(t, "everybody waits", func() bool { return r.Shard(i).box.entry.waiting.Load() == int64(n) })
	}
	if len(waited) > 0 {
		t.Error("let go while the lane was crowded")
	}
	for _, release := range releases {
		release()
	}
	for range all {
		select {
		case ok := <-waited:
			if !ok {
				t.Error("says it did not wait")
			}
		case <-time.After(10 * time.Second):
			t.Fatal("not let go when the lane was empty")
		}
	}
	if full := r.Stats().MailboxFull["single"]; full != 0 {
		t.Errorf("%d found the lane full", full)
	}
	eventually(t, "nobody waits", func() bool { return r.waiting.total.Load() == 0 })
	for i := range 2 {
		if e := &r.Shard(i).box.entry; e.waiting.Load() != 0 || e.admitted.Load() != int64(len(e.entry)) {
			t.Errorf("shard %d: %d wait, %d admitted, %d tokens", i, e.waiting.Load(), e.admitted.Load(), len(e.entry))
		}
	}
}

func TestUncrowdedEnds(t *testing.T) {
	s := &Shard{opt: &Options{ManualTicks: true}}
	s.box.init([laneCount]int{64, 64, 64, 64}, -1, &nodeWaiting{shards: 1})
	if !s.Reserve(LaneSingle) {
		t.Fatal("no place")
	}
	waited := make(chan bool)
	go func() { waited <- s.Uncrowded(context.Background(), time.Hour) }()
	eventually(t, "it waits", func() bool { return s.box.entry.waiting.Load() == 1 })
	s.box.close()
	if !<-waited {
		t.Error("says it did not wait")
	}
	if s.Uncrowded(context.Background(), time.Hour) {
		t.Error("waited for a shard that is gone")
	}
}

// No more are let in than there is room for, counting those who were let in but
// have not run yet, in the order in which they came; fewer where hardly anybody
// waits while many wait for another shard.
func TestAdmissionLimit(t *testing.T) {
	const places = 64
	node := &nodeWaiting{shards: 2}
	var short, long admission
	for _, a := range []*admission{&short, &long} {
		a.init(places*crowdShare, node)
	}
	wait := func(a *admission, n int64) {
		a.waiting.Add(n)
		node.total.Add(n)
	}
	letIn := func(a *admission, taken int64) int {
		var n atomic.Int64
		n.Store(taken)
		a.open(&n)
		a.open(&n)
		in := len(a.entry)
		for range in {
			<-a.entry
			a.admitted.Add(-1)
			wait(a, -1)
		}
		return in
	}
	wait(&long, 300)
	wait(&short, 225)
	if in := letIn(&short, places/aheadShare-1); in != 1 {
		t.Errorf("with 225 waiting and 300 for the other shard: %d let in, want 1", in)
	}
	if in := letIn(&long, 10); in != places-10 {
		t.Errorf("with 10 places taken: %d let in, want %d", in, places-10)
	}
	if in := letIn(&long, places); in != 0 {
		t.Errorf("with all places taken: %d let in", in)
	}
	if in := letIn(&short, 0); in != places { // 224 against 246
		t.Errorf("with about as many waiting for both: %d let in, want %d", in, places)
	}
	wait(&long, -node.total.Load()+short.waiting.Load()+3)
	if in := letIn(&long, 0); in != places/aheadShare {
		t.Errorf("of 3, with 160 waiting for the other shard: %d let in, want %d", in, places/aheadShare)
	}
}
