package bridge

import (
	"bytes"
	"io"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"

	"belfry/session"
	"belfry/ws"
)

// An idle connection has no goroutine: the stacks of two were most of its memory.
func TestIdleHasNoGoroutine(t *testing.T) {
	const sessions = 64
	r := newRig(t, Options{}, session.Options{})
	r.dial("/ws?topic=news")
	before := runtime.NumGoroutine()
	for range sessions {
		r.dial("/ws?topic=news")
	}
	eventually(t, "as many goroutines as before", func() bool { return runtime.NumGoroutine() < before+sessions/8 })
	if n := r.Stats().Connections; n != sessions+1 {
		t.Errorf("%d connections", n)
	}
}

// parked takes connections and neither reads them nor writes to them: the test does.
type parked struct{ ends chan int }

func (p parked) Admit(netip.AddrPort) (session.Admission, *ws.Refusal) {
	return session.Admission{}, nil
}

func (p parked) Adopt(fd int, _ session.Admission, _ []byte) error {
	p.ends <- fd
	return nil
}

// waiting returns how many directions are run, by workers or by goroutines that were
// ones.
func (r *rig) waiting() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		for _, d := range []*direction{&c.up, &c.down} {
			if s := d.state.Load(); s == stateRunning || s == stateWoken {
				n++
			}
		}
	}
	return n
}

// Directions that wait for a shard or for a client take no worker from the others.
func TestWaitingTakesNoWorker(t *testing.T) {
	const stuck = 4
	p := parked{make(chan int, stuck+1)}
	r := newRig(t, Options{Workers: 1, Sessions: p}, session.Options{})
	var ends []int
	var closing []io.Closer
	var writing sync.WaitGroup
	block := make([]byte, 256<<10)
	for range stuck {
		c := r.secure(nil)
		io.WriteString(c, upgrade("/ws"))
		ends = append(ends, <-p.ends)
		writing.Go(func() { c.Write(block) }) // nobody reads it: up waits
		closing = append(closing, c.NetConn())
	}
	eventually(t, "both directions of all wait", func() bool {
		for _, fd := range ends { // and nobody reads this: down waits
			for n := 1; n > 0; n, _ = unix.Write(fd, block) {
			}
		}
		return r.waiting() == 2*stuck
	})
	free := r.secure(nil)
	io.WriteString(free, upgrade("/ws"))
	ends = append(ends, <-p.ends)
	io.WriteString(free, "question")
	b := make([]byte, 64)
	eventually(t, "the question arrives", func() bool {
		n, _ := unix.Read(ends[stuck], b)
		return n > 0 && string(b[:n]) == "question"
	})
	unix.Write(ends[stuck], []byte("answer"))
	if n, err := io.ReadAtLeast(free, b, 6); err != nil || string(b[:n]) != "answer" {
		t.Errorf("%q, %v", b[:n], err)
	}
	for _, fd := range ends {
		unix.Close(fd)
	}
	for _, c := range closing {
		c.Close()
	}
	eventually(t, "goroutines that were workers end with what they waited for", func() bool {
		all := make([]byte, 1<<20)
		all = all[:runtime.Stack(all, true)]
		return bytes.Count(all, []byte("bridge.(*workers).work(")) == 1
	})
	writing.Wait()
}

// A direction that always has something to read goes to the end of the queue after
// some reads.
func TestRoundsEnd(t *testing.T) {
	p := parked{make(chan int, 1)}
	r := newRig(t, Options{Sessions: p}, session.Options{})
	client := r.secure(nil)
	io.WriteString(client, upgrade("/ws"))
	end := <-p.ends
	var c *conn
	r.mu.Lock()
	for c = range r.conns {
	}
	r.mu.Unlock()
	eventually(t, "the direction is idle", func() bool { return c.up.state.CompareAndSwap(stateIdle, stateOff) }) // no worker runs it now
	const size = 3 * rounds / 2 * smallBuffer
	client.Write(make([]byte, size))
	eventually(t, "all has come", func() (all bool) {
		c.stream.raw.Control(func(fd uintptr) {
			n, _ := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
			all = n > size
		})
		return all
	})
	got := make(chan int)
	go func() { // the shard
		n, b := 0, make([]byte, size)
		for n < size {
			if more, _ := unix.Read(end, b); more > 0 {
				n += more
			}
		}
		got <- n
	}()
	if o := c.passUp(); o != more {
		t.Errorf("outcome %d after %d reads, with more to read", o, rounds)
	}
	c.up.start()
	if n := <-got; n != size {
		t.Errorf("%d bytes of %d", n, size)
	}
	unix.Close(end)
}

// Workers take directions in the order in which they were added.
func TestQueue(t *testing.T) {
	w := newWorkers()
	one, two := &direction{}, &direction{}
	w.add(one)
	w.add(two)
	if w.next() != one {
		t.Fatal("the first is not first")
	}
	w.add(one)
	if w.next() != two || w.next() != one || w.first != nil || w.last != nil {
		t.Error("the second does not come next")
	}
}

// A worker waits behind few handshakes, however many there are.
func TestHandshakesShareTheGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const handshakes = 50
		all, shakes := make(gate, 1), make(gate, 1)
		order := make(chan bool, handshakes+1)
		compute := func(open bool) {
			s := stream{gate: all, shakes: shakes, open: open}
			s.enter()
			order <- open
			s.leave()
		}
		all.enter()
		for range handshakes {
			go compute(false)
		}
		synctest.Wait()
		go compute(true)
		synctest.Wait()
		all.leave()
		for n := 0; !<-order; n++ {
			if n > 1 {
				t.Fatal("behind more handshakes than there are places")
			}
		}
	})
}

// An event that comes at any time while a direction runs makes it run again.
func TestWake(t *testing.T) {
	w := newWorkers()
	d := &direction{c: &conn{srv: &Server{workers: w}}}
	for state, want := range map[int32]int32{stateOff: stateOff, stateIdle: stateQueued, stateQueued: stateQueued, stateRunning: stateWoken, stateWoken: stateWoken} {
		d.state.Store(state)
		d.wake()
		if got := d.state.Load(); got != want {
			t.Errorf("%d: %d, want %d", state, got, want)
		}
		if queued := w.first == d; queued != (state == stateIdle) {
			t.Errorf("%d: queued: %v", state, queued)
		}
		w.first, w.last = nil, nil
	}
}
