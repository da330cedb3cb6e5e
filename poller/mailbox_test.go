package poller

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"
)

// block keeps a shard busy until release is called, so that it reads no mail.
func (r *rig) block(shard int) (release func()) {
	r.t.Helper()
	begun, end := make(chan struct{}), make(chan struct{})
	if !r.Shard(shard).Post(QueueControl, Mail{Ptr: func(*Shard) { close(begun); <-end }}) {
		r.t.Fatal("the control queue is full")
	}
	<-begun
	release = sync.OnceFunc(func() { close(end) })
	r.t.Cleanup(release)
	return release
}

func TestMailboxCapacity(t *testing.T) {
	const places = 5
	var got []uint64
	r := newRig(t, Options{Shards: 1, Mailbox: places}, func(h *echoHandler) {
		h.mail = func(s *Shard, m Mail) {
			if m.Ptr == nil {
				got = append(got, m.ID)
			}
			runMail(s, m)
		}
	})
	s := r.Shard(0)
	release := r.block(0)
	for q, size := range map[Queue]int{QueueSingle: places, QueueBulk: places} {
		for i := range size {
			if !s.Post(q, Mail{ID: uint64(i)}) {
				t.Fatalf("queue %v refuses item %d of %d", q, i, size)
			}
		}
		if s.Post(q, Mail{}) || s.Reserve(q) {
			t.Errorf("queue %v takes more than %d", q, size)
		}
		if n := r.Stats().MailboxFull[q.String()]; n != 2 {
			t.Errorf("queue %v: %d refusals counted, want 2", q, n)
		}
	}
	if !s.Post(QueueControl, Mail{ID: 100}) {
		t.Error("full queues block control")
	}
	release()
	arrived := func(ok func() bool) func() bool { // the other queues are read after control
		return func() (yes bool) {
			r.on(0, func(*Shard) { yes = ok() })
			return yes
		}
	}
	eventually(t, "everything arrived", arrived(func() bool { return len(got) >= 2*places+1 }))
	r.on(0, func(*Shard) {
		if len(got) != 2*places+1 || got[0] != 100 {
			t.Errorf("got %v, control first", got)
		}
	})
	checkRelease(t, s, places)
	eventually(t, "what was put in a reserved place", arrived(func() bool { return got[len(got)-1] == 7 }))
}

// checkRelease checks that places in QueueSingle become free by themselves, and
// places in QueueBulk with Release. It leaves one item in QueueSingle.
func checkRelease(t *testing.T, s *Shard, places int) {
	t.Helper()
	reserved := 0
	for s.Reserve(QueueSingle) {
		reserved++
	}
	if reserved != places {
		t.Errorf("%d places in QueueSingle, want %d", reserved, places)
	}
	s.Put(QueueSingle, Mail{ID: 7})
	s.Release(QueueSingle, reserved-1)
	if s.Reserve(QueueBulk) {
		t.Error("bulk places came back without Release")
	}
	s.Release(QueueBulk, 2)
	granted := 0
	for range 3 {
		if s.Reserve(QueueBulk) {
			granted++
		}
	}
	if granted != 2 {
		t.Errorf("Release of 2 gave %d places", granted)
	}
}

// Several goroutines post through queues of a few places: nothing is lost, and the
// mail of each goroutine stays in order.
func TestMailboxOrder(t *testing.T) {
	const producers = 6
	each := uint64(20_000)
	if raceDetector {
		each = 3_000
	}
	var next [producers]uint64
	total := make(chan struct{})
	left := producers * each
	r := newRig(t, Options{Shards: 1, Mailbox: 4}, func(h *echoHandler) {
		h.mail = func(s *Shard, m Mail) {
			if m.ID != next[m.Kind] {
				t.Errorf("producer %d: got %d, want %d", m.Kind, m.ID, next[m.Kind])
			}
			next[m.Kind] = m.ID + 1
			if q := m.Ptr.(Queue); q == QueueBulk {
				s.Release(q, 1)
			}
			if left--; left == 0 {
				close(total)
			}
		}
	})
	var wg sync.WaitGroup
	for p := range uint32(producers) {
		q := Queue(p % uint32(queueCount))
		wg.Go(func() {
			for i := range each {
				for !r.Shard(0).Post(q, Mail{Kind: p, ID: i, Ptr: q}) {
					runtime.Gosched()
				}
			}
		})
	}
	wg.Wait()
	select {
	case <-total:
	case <-time.After(time.Minute):
		t.Fatal("mail was lost")
	}
	for _, q := range Queues() {
		if n := r.Shard(0).box.queues[q].taken.Load(); n != 0 {
			t.Errorf("queue %v: %d places are still taken", q, n)
		}
	}
}

// A lost wake-up would leave mail in a sleeping shard. So several goroutines post
// one item, wait until it was handled, and repeat that many times.
func TestNoLostWakeup(t *testing.T) {
	each := 25_000
	if raceDetector {
		each = 5_000
	}
	r := newRig(t, Options{Shards: 1, Listen: []PortRange{}}, func(h *echoHandler) {
		h.mail = func(_ *Shard, m Mail) { m.Ptr.(chan struct{}) <- struct{}{} }
	})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			handled := make(chan struct{}, 1)
			late := time.NewTimer(time.Minute)
			for i := range each {
				late.Reset(time.Minute)
				if !r.Shard(0).Post(QueueSingle, Mail{Ptr: handled}) {
					t.Error("mailbox is full")
					return
				}
				select {
				case <-handled:
				case <-late.C:
					t.Errorf("item %d was never handled", i)
					return
				}
			}
		})
	}
	wg.Wait()
}

// Goroutines post while a loop is closed, and afterwards. They are refused, and do
// not write to a descriptor that another file may have by then.
func TestPostWhileClosing(t *testing.T) {
	for range 5 {
		r := newRig(t, Options{Shards: 2}, func(h *echoHandler) { h.mail = func(*Shard, Mail) {} })
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						r.Shard(i%2).Post(QueueSingle, Mail{})
					}
				}
			})
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		if err := r.Close(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
		for i := range 2 {
			b := &r.Shard(i).box
			b.awake.Store(false)
			if b.waking.Load() != 0 || r.Shard(i).Post(QueueSingle, Mail{}) {
				t.Fatal("a closed loop takes mail")
			}
			b.wake()
		}
		close(stop)
		wg.Wait()
	}
}
