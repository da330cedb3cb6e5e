package poller

import (
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// arrive has n clients connect to a port and send a line, while the shard is blocked.
// It returns when all of them can be accepted.
func (r *rig) arrive(port, n int) {
	r.t.Helper()
	for range n {
		c, err := net.Dial("tcp", r.Addrs()[port].String())
		if err != nil {
			r.t.Fatal(err)
		}
		r.t.Cleanup(func() { c.Close() })
		io.WriteString(c, "hello\n") // TCP_DEFER_ACCEPT waits for it
	}
	ln := r.Shard(0).acceptor.listeners[port]
	for end := time.Now().Add(time.Minute); ; {
		info, err := unix.GetsockoptTCPInfo(int(ln.fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		switch {
		case err != nil || time.Now().After(end):
			r.t.Fatal("not all have arrived: ", err)
		case int(info.Unacked) == n: // the queue of a listener
			return
		}
	}
}

// A push that arrives while a shard accepts a storm of connections waits for a few
// of them only. The others are accepted all the same.
func TestPushesBeforeNewConnections(t *testing.T) {
	const clients = 3 * acceptBatch
	before := make(chan uint64, 1)
	r := newRig(t, Options{Shards: 1, Chunk: time.Hour}, func(h *echoHandler) {
		h.mail = runMail
		h.open = func(s *Shard, _ uint32, _ any) {
			if s.Counters.Accepted.Load() == 1 {
				s.Post(QueueSingle, Mail{Ptr: func(s *Shard) { before <- s.Counters.Accepted.Load() }})
			}
		}
	})
	release := r.block(0)
	r.arrive(0, clients)
	release()
	if n := <-before; n != acceptStep {
		t.Errorf("%d connections were accepted before the push, want %d", n, acceptStep)
	}
	eventually(t, "all are accepted", func() bool { return r.Stats().Accepted == clients })
}

// Connections that are there come before new ones, although the epoll set has
// reported the listener first.
func TestAcceptLast(t *testing.T) {
	var order []string
	r := newRig(t, Options{Shards: 1, Chunk: time.Hour}, func(h *echoHandler) {
		h.mail = runMail
		h.open = func(*Shard, uint32, any) { order = append(order, "open") }
		h.data = func(_ *Shard, _ uint32, p []byte) int {
			order = append(order, string(p))
			return len(p)
		}
	})
	here := r.dial()
	io.WriteString(here, "one")
	eventually(t, "it is open", func() bool { return r.Stats().Accepted == 1 })
	var fd int32
	r.on(0, func(s *Shard) { fd = s.at(0).fd; order = nil })
	release := r.block(0)
	r.arrive(0, 1)
	io.WriteString(here, "two")
	eventually(t, "bytes are there", func() bool {
		n, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
		return err == nil && n == 3
	})
	release()
	eventually(t, "both are served", func() bool { return r.Stats().Accepted == 2 })
	var got []string
	r.settle(0)
	r.on(0, func(*Shard) { got = order })
	if want := []string{"two", "open", "hello\n"}; !slices.Equal(got, want) {
		t.Errorf("the shard served %q, want %q", got, want)
	}
}

// A shard that has no time accepts a few connections in a turn, from each listener in
// its turn.
func TestAcceptFromEachListener(t *testing.T) {
	const ports = 3
	var order []any
	o := Options{Shards: 1}
	for i := range ports {
		o.Listen = append(o.Listen, PortRange{Host: "127.0.0.1", State: i})
	}
	r := newRig(t, o, func(h *echoHandler) {
		h.mail = runMail
		h.open = func(_ *Shard, _ uint32, state any) { order = append(order, state) }
	})
	r.on(0, func(s *Shard) { s.acceptor.enough = func() bool { return true } })
	release := r.block(0)
	for i := range ports {
		r.arrive(i, 2*acceptStep)
	}
	release()
	eventually(t, "all are accepted", func() bool { return r.Stats().Accepted == 2*ports*acceptStep })
	var got []any
	r.on(0, func(*Shard) { got = order })
	from := map[any]int{}
	for _, state := range got[:ports*acceptStep] {
		from[state]++
	}
	for i := range ports {
		if from[i] != acceptStep {
			t.Errorf("port %d had %d of the first connections, want %d: %v", i, from[i], acceptStep, got)
		}
	}
}
