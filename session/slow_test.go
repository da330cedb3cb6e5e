package session

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"belfry/message"
	"belfry/poller"
)

// slowWire is a client with a small receive buffer, so that not reading shows
// soon.
func (r *rig) slowWire(path, subprotocol string) *rawConn {
	r.t.Helper()
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<10) })
	}}
	c, err := d.Dial("tcp", r.Addrs()[0].String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	w := &rawConn{c.(*net.TCPConn), bufio.NewReader(c)}
	w.Write(request(path, subprotocol))
	if status, err := w.answer(); err != nil || status != 101 {
		r.t.Fatal(status, err)
	}
	return w
}

// crowd are clients that read all that comes and look that it is numbered.
type crowd struct {
	r       *rig
	sent    int
	got     []atomic.Int64 // of each
	readers sync.WaitGroup
}

func (r *rig) crowd(n int, path string) *crowd {
	c := &crowd{r: r, got: make([]atomic.Int64, n)}
	r.t.Cleanup(c.readers.Wait) // the last of the cleanups: the wires are closed
	for i := range n {
		w := r.mustWire(path, "")
		c.readers.Go(func() {
			for want := 1; ; want++ {
				op, p, err := w.frame()
				if err != nil || op == gobwas.OpClose {
					return // the end of the test, or what got shows
				}
				if got := number(string(p)); got != want {
					r.t.Errorf("message %d, want %d", got, want)
					return
				}
				c.got[i].Add(1)
			}
		})
	}
	return c
}

// number returns what a message of numbered says.
func number(text string) (n int) {
	fmt.Sscan(strings.TrimLeft(text[:min(8, len(text))], "0"), &n)
	return n
}

// numbered makes a message of 4 KiB.
func numbered(n int) []byte {
	return fmt.Appendf(nil, "%08d%s", n, strings.Repeat("x", 4<<10-8))
}

// have waits until every one has the first n messages.
func (c *crowd) have(n int) {
	c.r.t.Helper()
	eventually(c.r.t, fmt.Sprintf("all have %d messages", n), func() bool {
		for i := range c.got {
			if c.got[i].Load() < int64(n) {
				return false
			}
		}
		return true
	})
}

// push sends the next message, when every client has the messages up to the eighth
// before it.
func (c *crowd) push(t message.Target) {
	c.r.t.Helper()
	c.have(c.sent - 8)
	c.sent++
	if err := c.r.push(&message.Message{Target: t, Payload: numbered(c.sent)}); err != nil {
		c.r.t.Fatal(err)
	}
}

// One client in a hundred stops reading. The others get everything, what waits
// is bounded, and those that stopped find whole frames and 4004 when they read.
func TestSlowDisconnect(t *testing.T) {
	bound := poller.Bounds{Frames: 64, Bytes: 256 << 10}
	r := newRig(t, Options{Poller: poller.Options{Backlog: bound}})
	c := r.crowd(297, "/ws")
	slow := []*rawConn{r.slowWire("/ws", ""), r.slowWire("/ws", "belfry.v1"), r.slowWire("/ws", "")}
	for r.Stats().Slow < 3 && c.sent < 3000 {
		c.push(message.ToAll())
		if n := r.loop.Stats().BacklogBytes; n > int64(3*bound.Bytes) {
			t.Fatalf("%d bytes wait", n)
		}
	}
	for range 20 {
		c.push(message.ToAll())
	}
	c.have(c.sent)
	st := r.Stats()
	if st.Slow != 3 || st.Sessions != 297 || st.Limits["backlog.frames"] != 3 || st.Poller.Overflows != 3 {
		t.Errorf("%d slow, %d sessions left, limits %v, %d overflows", st.Slow, st.Sessions, st.Limits, st.Poller.Overflows)
	}
	for i, w := range slow {
		texts, code, reason, err := w.end()
		if err != nil || code != 4004 || reason != "too slow to read" {
			t.Errorf("slow %d: %d %q %v", i, code, reason, err)
		}
		if i == 1 { // belfry.v1: hello and bye around the messages
			if bye := texts[len(texts)-1]; !strings.Contains(bye, `"type":"bye","code":4004,"reason":"slow_consumer","reconnect":true`) {
				t.Errorf("bye: %s", bye)
			}
			continue
		}
		for n, text := range texts {
			if len(text) != 4<<10 || number(text) != n+1 {
				t.Fatalf("slow %d: message %d is %.20q, %d bytes", i, n+1, text, len(text))
			}
		}
		w.send(gobwas.OpClose, []byte{0x0f, 0xa4})
		w.ended(t)
	}
	for _, w := range slow {
		w.Close()
	}
	eventually(t, "slow ones counted", func() bool { return r.Stats().Closed["slow_consumer"] == 3 })
	if n := r.loop.Stats(); n.BacklogBytes != 0 || n.Backlogged != 0 {
		t.Errorf("%d bytes in %d backlogs", n.BacklogBytes, n.Backlogged)
	}
}

// With drop-oldest a client that stopped misses some and gets the newest; its
// pings are answered ahead of what waits.
func TestSlowDropOldest(t *testing.T) {
	r := newRig(t, Options{Poller: poller.Options{Policy: poller.DropOldest, Backlog: poller.Bounds{Frames: 32}}})
	c := r.crowd(20, "/ws")
	w := r.slowWire("/ws", "")
	for r.loop.Stats().DroppedOldest < 50 && c.sent < 3000 {
		c.push(message.ToAll())
		if n := r.loop.Stats().BacklogBytes; n > 34*(4<<10+4) {
			t.Fatalf("%d bytes wait", n)
		}
	}
	c.have(c.sent)
	w.send(gobwas.OpPing, []byte("still there"))
	eventually(t, "ping", func() bool { return r.Stats().PingsIn == 1 })
	dropped := int(r.loop.Stats().DroppedOldest)
	last, count, pong := 0, 0, 0
	for last != c.sent {
		op, p, err := w.frame()
		if err != nil {
			t.Fatalf("%v after message %d of %d", err, last, c.sent)
		}
		if op == gobwas.OpPong && string(p) == "still there" {
			pong = count
			continue
		}
		if n := number(string(p)); n <= last || len(p) != 4<<10 {
			t.Fatalf("message %d after %d, %d bytes", n, last, len(p))
		}
		last = number(string(p))
		count++
	}
	if dropped < 50 || count+dropped != c.sent {
		t.Errorf("%d sent, %d dropped, %d arrived", c.sent, dropped, count)
	}
	if pong == 0 || count-pong < 31 { // all that waited but the one that was partly sent
		t.Errorf("the pong came after %d of %d messages", pong, count)
	}
	if st := r.Stats(); st.Slow != 0 || st.Sessions != 21 {
		t.Errorf("%d slow, %d sessions", st.Slow, st.Sessions)
	}
}

// With latest-only one message of each key waits: the newest.
func TestSlowLatestOnly(t *testing.T) {
	r := newRig(t, Options{Poller: poller.Options{Shards: 1, Policy: poller.LatestOnly}})
	w := r.slowWire("/ws?topic=t&uid=u", "")
	// Two keys, and two targets that are keys themselves.
	streams := []message.Message{{Target: message.ToAll(), Key: "a"}, {Target: message.ToTopics("t"), Key: "b"}, {Target: message.ToTopics("t")}, {Target: message.ToUsers("u")}}
	sent := 0
	for r.loop.Stats().DroppedLatest < 60 && sent < 3000 {
		for _, m := range streams {
			sent++
			m.Payload = numbered(sent)
			if err := r.push(&m); err != nil {
				t.Fatal(err)
			}
			r.fanoutDone() // they go through different queues
		}
	}
	// The newest of each, and one that has begun.
	if n := r.loop.Stats().BacklogBytes; n > int64(len(streams)+1)*(4<<10+4) {
		t.Errorf("%d bytes wait", n)
	}
	dropped := int(r.loop.Stats().DroppedLatest)
	var got []int
	for len(got) == 0 || got[len(got)-1] != sent {
		_, p, err := w.frame()
		if err != nil || len(p) != 4<<10 {
			t.Fatalf("%v, %d bytes", err, len(p))
		}
		got = append(got, number(string(p)))
	}
	for i, n := range got[len(got)-len(streams):] {
		if n != sent-len(streams)+1+i {
			t.Errorf("the last messages are %v of %d", got[len(got)-len(streams):], sent)
			break
		}
	}
	if dropped < 60 || len(got)+dropped != sent {
		t.Errorf("%d sent, %d dropped, %d arrived", sent, dropped, len(got))
	}
}

// When the node as a whole has too much waiting, those for whom more would
// wait go with 4005.
func TestSlowNodeBacklog(t *testing.T) {
	const budget = 128 << 10
	r := newRig(t, Options{Poller: poller.Options{NodeBytes: budget, Backlog: poller.Bounds{Frames: 1 << 16, Bytes: 64 << 20}}})
	c := r.crowd(10, "/ws?topic=t")
	var slow []*rawConn
	for i := range 4 {
		slow = append(slow, r.slowWire(fmt.Sprintf("/ws?uid=u%d", i), ""))
	}
	for n := 1; r.Stats().Slow < 4 && n < 3000; n++ {
		for i := range slow { // apart, so that they share no frames
			if err := r.push(&message.Message{Target: message.ToUsers(fmt.Sprint("u", i)), Payload: numbered(n)}); err != nil {
				t.Fatal(err)
			}
		}
		c.push(message.ToTopics("t"))
		if n := r.loop.Stats().BacklogBytes; n > budget+1<<10 { // close frames come on top
			t.Fatalf("%d bytes wait", n)
		}
	}
	c.have(c.sent)
	for i, w := range slow {
		texts, code, _, err := w.end()
		if err != nil || code != 4005 {
			t.Errorf("slow %d: %d %v", i, code, err)
		}
		for n, text := range texts {
			if len(text) != 4<<10 || number(text) != n+1 {
				t.Fatalf("slow %d: message %d is %.20q, %d bytes", i, n+1, text, len(text))
			}
		}
		w.Close()
	}
	eventually(t, "counted", func() bool { return r.Stats().Closed["node_backlog"] == 4 })
	if st := r.Stats(); st.Limits["backlog.node_bytes"] != 4 || st.Sessions != 10 {
		t.Errorf("limits %v, %d sessions", st.Limits, st.Sessions)
	}
}

// Commands of a client whose backlog is full are answered where the policy can
// make room. Answers themselves are never dropped: who asks on and on and reads
// nothing has to go.
func TestSlowAnswers(t *testing.T) {
	for _, policy := range []poller.Policy{poller.Disconnect, poller.DropOldest, poller.LatestOnly} {
		r := newRig(t, Options{Poller: poller.Options{Shards: 1, Policy: policy, Backlog: poller.Bounds{Frames: 16, Bytes: 8 << 10}}})
		w := r.slowWire("/ws", "belfry.v1")
		if policy != poller.Disconnect {
			for n := 0; r.loop.Stats().DroppedOldest+r.loop.Stats().DroppedLatest == 0 && n < 3000; n++ {
				r.deliver(message.ToAll(), strings.Repeat("x", 4<<10))
				r.fanoutDone()
			}
			w.command(`{"type":"ping","ref":"asked when full"}`)
			for text := ""; !strings.Contains(text, `"ref":"asked when full"`); {
				_, p, err := w.frame()
				if err != nil {
					t.Fatalf("%v: %v", policy, err)
				}
				text = string(p)
			}
		}
		// All at once, into what the kernel keeps for a server: a client whose
		// receive buffer is full drops acknowledgements too, and what it sends
		// after that may never arrive.
		release := r.block(0)
		for n := range 1500 {
			w.command(`{"type":"ping","ref":%d}`, n)
		}
		release()
		eventually(t, "the client is slow", func() bool { return r.Stats().Slow > 0 })
		texts, code, _, err := w.end()
		if err != nil || code != 4004 {
			t.Errorf("%v: %d %v", policy, code, err)
		}
		next := 0
		for _, text := range texts {
			if strings.Contains(text, `"ack"`) {
				if text != fmt.Sprintf(`{"type":"ack","ref":%d}`, next) {
					t.Fatalf("%v: %s, want answer %d", policy, text, next)
				}
				next++
			}
		}
	}
}

// The last word is said however little may wait: behind the rest of a frame
// that has taken the whole bound, and when the node has no room at all.
func TestSlowLastWord(t *testing.T) {
	large := make([]byte, 512<<10)
	r := newRig(t, Options{Poller: poller.Options{Shards: 1, NodeBytes: 64 << 10, Backlog: poller.Bounds{Frames: 1, Bytes: 64 << 10}}})
	first, second := r.slowWire("/ws?uid=1", ""), r.slowWire("/ws?uid=2", "")
	push := func(uid string) {
		if err := r.push(&message.Message{Kind: message.Binary, Target: message.ToUsers(uid), Payload: large}); err != nil {
			t.Fatal(err)
		}
		r.each(func(*shard) {})
	}
	push("1") // the rest of it waits, beyond all bounds
	if n := r.loop.Stats().BacklogBytes; n < 64<<10 {
		t.Fatalf("only %d bytes wait", n)
	}
	push("2")
	push("2")
	push("1")
	for i, w := range []*rawConn{second, first} {
		texts, code, _, err := w.end()
		if err != nil || code != 4004 || len(texts) != 1 || len(texts[0]) != len(large) {
			t.Errorf("client %d: %d messages, code %d, %v", i, len(texts), code, err)
		}
	}
}

// A ping for which the node has no room was not sent, and its pong is not
// awaited.
func TestSlowLostPing(t *testing.T) {
	r := newRig(t, Options{PingInterval: 4 * time.Second, PongTimeout: 2 * time.Second, BacklogTime: time.Hour,
		Poller: poller.Options{Shards: 1, NodeBytes: 64 << 10}})
	large := make([]byte, 512<<10)
	w := r.slowWire("/ws?uid=1", "")
	if err := r.push(&message.Message{Kind: message.Binary, Target: message.ToUsers("1"), Payload: large}); err != nil {
		t.Fatal(err)
	}
	r.each(func(*shard) {}) // the rest of it waits, beyond the node's bound
	for range 20 {
		r.tick(1)
		r.each(func(*shard) {})
	}
	st := r.Stats()
	if lost := r.loop.Stats().ControlsDropped; lost < 2 || st.Sessions != 1 {
		t.Errorf("%d pings lost, %d sessions: %v", lost, st.Sessions, st.Closed)
	}
	if _, p, err := w.frame(); err != nil || len(p) != len(large) {
		t.Errorf("%d bytes, %v", len(p), err)
	}
}
