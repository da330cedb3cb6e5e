package poller

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"
)

// A caller that can wait is held while the queue is congested. It is released when
// the queue is not, when its time is over, and when the loop ends.
func TestAdmit(t *testing.T) {
	const size = 1024
	r := newRig(t, Options{Shards: 2, Mailbox: size}, func(h *echoHandler) { h.mail = runMail })
	ctx := context.Background()
	if waited, _ := r.Shard(0).Admit(ctx, time.Hour); waited {
		t.Error("waited for an empty queue")
	}
	var releases []func()
	for i := range 2 {
		releases = append(releases, r.block(i))
		for range size / congestedShare {
			r.Shard(i).Post(QueueSingle, Mail{Ptr: func(*Shard) {}})
		}
	}
	if waited, e := r.Shard(0).Admit(ctx, time.Millisecond); !waited || e != (Permit{}) {
		t.Error("did not wait for a congested queue, or was admitted")
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if waited, e := r.Shard(0).Admit(gone, time.Hour); !waited || e != (Permit{}) {
		t.Error("did not wait for a congested queue, although ctx was done")
	}
	waiters := [2]int{10 * size / congestedShare, size / congestedShare} // more than one batch of permits, and different numbers
	all := waiters[0] + waiters[1]
	waited := make(chan bool, all)
	for i, n := range waiters {
		for range n {
			go func() {
				ok, e := r.Shard(i).Admit(ctx, time.Hour)
				if taken := r.Shard(i).box.queues[QueueSingle].taken.Load(); taken > size/congestedShare {
					t.Errorf("let in with %d places taken", taken)
				}
				r.Shard(i).Post(QueueSingle, Mail{Ptr: func(*Shard) {}})
				e.Release()
				waited <- ok
			}()
		}
		eventually(t, "everybody waits", func() bool { return r.Shard(i).box.single.waiting.Load() == int64(n) })
	}
	if len(waited) > 0 {
		t.Error("released while the queue was congested")
	}
	for _, release := range releases {
		release()
	}
	for range all {
		if !receive(t, waited) {
			t.Error("says it did not wait")
		}
	}
	if full := r.Stats().MailboxFull["single"]; full != 0 {
		t.Errorf("%d found the queue full", full)
	}
	eventually(t, "no caller waits", func() bool { return r.waiting.total.Load() == 0 })
	for i := range 2 {
		if e := &r.Shard(i).box.single; e.waiting.Load() != 0 || e.admitted.Load() != int64(len(e.permits)) || e.offered.Load() != int64(len(e.permits)) {
			t.Errorf("shard %d: %d wait, %d admitted, %d offered, %d in the channel", i, e.waiting.Load(), e.admitted.Load(), e.offered.Load(), len(e.permits))
		}
	}
}

func TestAdmitEnds(t *testing.T) {
	s := &Shard{opt: &Options{ManualTicks: true}}
	s.box.init([queueCount]int{congestedShare, congestedShare, congestedShare, congestedShare}, -1, &nodeWaiters{shards: 1})
	if !s.Reserve(QueueSingle) {
		t.Fatal("no place")
	}
	waited := make(chan bool)
	go func() {
		ok, _ := s.Admit(context.Background(), time.Hour)
		waited <- ok
	}()
	eventually(t, "it waits", func() bool { return s.box.single.waiting.Load() == 1 })
	s.box.close()
	if !<-waited {
		t.Error("says it did not wait")
	}
	if waited, _ := s.Admit(context.Background(), time.Hour); waited {
		t.Error("waited for a shard that is gone")
	}
}

// No more callers are admitted than there is room for. Callers that were admitted
// and have not reserved a place yet count.
func TestAdmissionPlaces(t *testing.T) {
	l := &mailQueue{size: 4 * congestedShare}
	var a admission
	a.init(l, &nodeWaiters{shards: 1})
	l.taken.Store(1)
	enter := make(chan Permit)
	const waiters = 9
	for range waiters {
		go func() { enter <- a.wait(t.Context(), time.Hour, nil) }()
	}
	eventually(t, "everybody came", func() bool { return a.waiting.Load()+a.admitted.Load() == waiters && a.offered.Load() == 0 })
	var in []Permit
	in = append(in, <-enter, <-enter, <-enter)
	if a.admit(); a.admitted.Load() != 3 || a.waiting.Load() != waiters-3 {
		t.Fatalf("%d let in, %d wait; want 3, 6", a.admitted.Load(), a.waiting.Load())
	}
	l.taken.Add(1) // one caller has reserved a place
	if in[0].Release(); a.admitted.Load() != 2 {
		t.Errorf("%d let in with 2 places taken, want 2", a.admitted.Load())
	}
	if in[1].Release(); a.admitted.Load() != 2 { // one caller has given up: the next is admitted
		t.Errorf("%d let in with 2 places taken, want 2", a.admitted.Load())
	}
	(<-enter).Release()
	if !a.congested() {
		t.Error("not congested while a caller waits")
	}
	in[2].Release()
	for range waiters - 4 {
		(<-enter).Release()
	}
	if a.congested() || a.admitted.Load() != 0 || a.offered.Load() != 0 {
		t.Errorf("at the end %d admitted, %d offered", a.admitted.Load(), a.offered.Load())
	}
}

// Callers are admitted in the order of their arrival.
func TestAdmissionOrder(t *testing.T) {
	l := &mailQueue{size: congestedShare}
	var a admission
	a.init(l, &nodeWaiters{shards: 1})
	l.taken.Store(1)
	const waiters = 20
	entered := make(chan int)
	for i := range waiters {
		go func() {
			e := a.wait(t.Context(), time.Hour, nil)
			entered <- i
			e.Release()
		}()
		eventually(t, "it waits in the channel", func() bool { return a.waiting.Load() == int64(i+1) && blockedInSelect(i+1) })
	}
	l.taken.Store(0)
	a.admit()
	for want := range waiters {
		if got := <-entered; got != want {
			t.Errorf("let in as number %d: the one that came as number %d", want, got)
		}
	}
}

// blockedInSelect says whether n goroutines of a test wait in admission.wait.
func blockedInSelect(n int) bool {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	waiting := 0
	for one := range strings.SplitSeq(string(stacks), "\n\n") {
		if strings.Contains(one, "[select") && strings.Contains(one, "(*admission).wait") {
			waiting++
		}
	}
	return waiting == n
}

// If on average many callers wait for each shard, a shard with clearly fewer gets
// fewer places.
func TestAdmissionLimit(t *testing.T) {
	const places = 64
	node := &nodeWaiters{shards: 2}
	var a, b admission
	for _, x := range []*admission{&a, &b} {
		x.init(&mailQueue{size: places * congestedShare}, node)
	}
	for _, tt := range []struct{ a, b, limitA, limitB int64 }{
		{0, 0, places, places},
		{10, 100, places, places}, // too few in all
		{10, 118, places / aheadShare, places},
		{300, 300, places, places},
		{280, 320, places, places}, // about equal
		{260, 340, places / aheadShare, places},
		{1000, 0, places, places / aheadShare},
	} {
		a.waiting.Store(tt.a)
		b.waiting.Store(tt.b)
		node.total.Store(tt.a + tt.b)
		if a.limit() != tt.limitA || b.limit() != tt.limitB {
			t.Errorf("%d and %d wait: %d and %d places, want %d and %d", tt.a, tt.b, a.limit(), b.limit(), tt.limitA, tt.limitB)
		}
	}
	a.init(&mailQueue{size: 1}, node)
	a.waiting.Store(0)
	if a.places != 1 || a.limit() != 1 {
		t.Errorf("the smallest queue has %d places, limit %d", a.places, a.limit())
	}
}
