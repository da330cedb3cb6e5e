package session

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"belfry/message"
	"belfry/poller"
)

// joint joins two servers of one process, as package handover joins those of two. Each
// shard has a queue, whose goroutine may wait.
type joint struct {
	t        *testing.T
	old, new *rig
	queues   []*endless // by shard: to the new server
	answers  *endless   // to the old one
	ended    sync.WaitGroup
	mu       sync.Mutex
	batches  int
	sessions int
	bytes    int
	failed   error
	back     [][]*Batch // of SendBack, by shard
	returned chan struct{}
	left     int
}

// endless is a queue of functions that is never full.
type endless struct {
	mu   sync.Mutex
	more *sync.Cond
	all  []func()
	done bool
}

func newEndless() *endless {
	q := new(endless)
	q.more = sync.NewCond(&q.mu)
	return q
}

func (q *endless) put(f func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.all = append(q.all, f)
	q.more.Signal()
}

func (q *endless) run() {
	for {
		q.mu.Lock()
		for len(q.all) == 0 && !q.done {
			q.more.Wait()
		}
		all := q.all
		q.all = nil
		q.mu.Unlock()
		if len(all) == 0 {
			return
		}
		for _, f := range all {
			f()
		}
	}
}

func (q *endless) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.done = true
	q.more.Signal()
}

// newJoint starts the server that takes over.
func newJoint(t *testing.T, old *rig, o Options) *joint {
	t.Helper()
	j := &joint{t: t, old: old, answers: newEndless(), returned: make(chan struct{}, 16), left: len(old.shards)}
	in := old.Bequeath()
	for i := range in.Poller.Listeners {
		fd, err := dup(in.Poller.Listeners[i].FD)
		if err != nil {
			t.Fatal(err)
		}
		in.Poller.Listeners[i].FD = fd
	}
	in.From = j
	o.Heritage, o.Key = in, old.opt.Key
	j.new = newRig(t, o)
	j.back = make([][]*Batch, len(old.shards))
	for range old.shards {
		q := newEndless()
		j.queues = append(j.queues, q)
		j.ended.Go(q.run)
	}
	j.ended.Go(j.answers.run)
	t.Cleanup(func() {
		for _, q := range append(j.queues, j.answers) {
			q.end()
		}
		j.ended.Wait()
	})
	return j
}

func dup(fd int) (int, error) { return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0) }

// Batch implements Outgoing.
func (j *joint) Batch(b *Batch) {
	c := *b
	c.FDs = make([]int, len(b.FDs))
	for i, fd := range b.FDs {
		var err error
		if c.FDs[i], err = dup(fd); err != nil {
			j.t.Error(err)
		}
	}
	j.mu.Lock()
	j.batches++
	j.sessions += b.Sessions
	j.bytes += len(b.State)
	j.mu.Unlock()
	j.queues[b.Shard].put(func() {
		j.new.Import(&c, func(err error) {
			if err != nil {
				j.t.Errorf("batch %d of shard %d: %v", c.Number, c.Shard, err)
			}
			j.answers.put(func() { j.old.Imported(c.Shard, c.Number) })
		})
	})
}

// Message implements Outgoing.
func (j *joint) Message(shard int, m *message.Message) {
	j.queues[shard].put(func() { j.new.ImportMessage(shard, m) })
}

// Empty implements Outgoing.
func (j *joint) Empty(int, int) {}

// Ended implements Successor.
func (j *joint) Ended(shard int, ids []poller.ID) {
	j.answers.put(func() { j.old.Ended(shard, ids) })
}

// passed waits until everything that was given to the new server is there.
func (j *joint) passed() {
	for i, q := range j.queues {
		done := make(chan struct{})
		q.put(func() { close(done) })
		<-done
		j.new.on(i, func(*shard) {})
	}
}

// commit makes the cut.
func (j *joint) commit() {
	j.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), clientTimeout)
	defer cancel()
	if err := j.old.FinishHandOver(ctx); err != nil {
		j.t.Fatal(err)
	}
	if err := j.old.Quiet(ctx); err != nil {
		j.t.Fatal(err)
	}
	j.passed()
	j.old.CommitHandOver()
	if err := j.new.Serve(); err != nil {
		j.t.Fatal(err)
	}
}

// giveBack is the Outgoing of SendBack.
type giveBack struct{ *joint }

func (g giveBack) Batch(b *Batch) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.back[b.Shard] = append(g.back[b.Shard], b)
}
func (g giveBack) Message(int, *message.Message) {}
func (g giveBack) Empty(int, int)                { g.returned <- struct{}{} }

// handOverClient checks that numbered messages of several streams come once and in order.
type handOverClient struct {
	*rawConn
	name string
	mu   sync.Mutex
	last map[string]int
	bad  []string
	end  error
}

func (r *rig) handOverClient(name, path string) *handOverClient {
	c := &handOverClient{rawConn: r.mustWire(path, ""), name: name, last: map[string]int{}}
	go func() {
		for {
			op, p, err := c.frame()
			c.mu.Lock()
			if err != nil || op == gobwas.OpClose {
				c.end = fmt.Errorf("%v %v %q", err, op, p)
				c.mu.Unlock()
				return
			}
			var stream string
			var n int
			if _, err := fmt.Sscanf(string(p), "%s %d", &stream, &n); err != nil {
				c.bad = append(c.bad, string(p))
			} else if n != c.last[stream]+1 {
				c.bad = append(c.bad, fmt.Sprintf("%s after %d", p, c.last[stream]))
			}
			c.last[stream] = n
			c.mu.Unlock()
		}
	}()
	return c
}

func (c *handOverClient) check(t *testing.T, want map[string]int) {
	t.Helper()
	eventually(t, c.name+" has everything", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.end != nil || len(c.bad) > 0 {
			return true
		}
		for stream, n := range want {
			if c.last[stream] != n {
				return false
			}
		}
		return true
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end != nil {
		t.Errorf("%s ended: %v", c.name, c.end)
	}
	if len(c.bad) > 0 {
		t.Errorf("%s: %q", c.name, c.bad[:min(3, len(c.bad))])
	}
}

// pushes publishes numbered messages to whoever serves.
type handOverPushes struct {
	mu   sync.Mutex
	to   *rig
	sent map[string]int
}

func (p *handOverPushes) push(t *testing.T, stream string, to message.Target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := &message.Message{Target: to, Payload: fmt.Append(nil, stream, " ", p.sent[stream]+1)}
	for p.to.push(m) != nil {
		time.Sleep(time.Millisecond) // its mailboxes are full
	}
	p.sent[stream]++
}

// Sessions go to another server while messages to all, to topics and to users go on. Each
// client gets each message once and in order.
func TestHandOver(t *testing.T) {
	const users, each = 40, 5
	old := newRig(t, Options{})
	p := &handOverPushes{to: old, sent: map[string]int{}}
	var clients []*handOverClient
	for i := range users * each {
		clients = append(clients, old.handOverClient(fmt.Sprint("client ", i), fmt.Sprintf("/ws?uid=u%d&topic=t%d", i%users, i%3)))
	}
	j := newJoint(t, old, Options{})
	stop := make(chan struct{})
	var pushing sync.WaitGroup
	for range 2 {
		pushing.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				time.Sleep(100 * time.Microsecond)
				switch n := rand.IntN(10); {
				case n == 0:
					p.push(t, "all", message.ToAll())
				case n < 4:
					name := fmt.Sprint("t", rand.IntN(3))
					p.push(t, name, message.ToTopics(name))
				default:
					name := fmt.Sprint("u", rand.IntN(users))
					p.push(t, name, message.ToUsers(name))
				}
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	old.HandOver(j)
	eventually(t, "most have left", func() bool { j.mu.Lock(); defer j.mu.Unlock(); return j.sessions > users*each*9/10 })
	time.Sleep(20 * time.Millisecond)
	p.mu.Lock()
	j.commit()
	p.to = j.new
	p.mu.Unlock()
	time.Sleep(20 * time.Millisecond)
	close(stop)
	pushing.Wait()
	for i, c := range clients {
		c.check(t, map[string]int{"all": p.sent["all"], fmt.Sprint("t", i%3): p.sent[fmt.Sprint("t", i%3)], fmt.Sprint("u", i%users): p.sent[fmt.Sprint("u", i%users)]})
	}
	if n := j.new.Stats().Sessions; n != users*each {
		t.Errorf("%d sessions in the new server", n)
	}
	t.Logf("%d sessions in %d batches, %d bytes each; %d pushes", j.sessions, j.batches, j.bytes/max(j.sessions, 1), p.sent["all"])

	// The new server serves all of it: clients that connect, and those that close.
	late := j.new.handOverClient("late", "/ws?uid=u0&topic=t0")
	late.mu.Lock()
	late.last["all"] = p.sent["all"]
	late.mu.Unlock()
	p.push(t, "all", message.ToAll())
	late.check(t, map[string]int{"all": p.sent["all"]})
	for _, c := range clients {
		c.Close()
	}
	eventually(t, "all but the late one ended", func() bool { return j.new.Stats().Sessions == 1 })
}

// Everything goes back when the successor does not take over after all, at any moment, and
// can be handed over again.
func TestHandOverAborted(t *testing.T) {
	const users = 60
	old := newRig(t, Options{})
	p := &handOverPushes{to: old, sent: map[string]int{}}
	var clients []*handOverClient
	for i := range 3 * users {
		clients = append(clients, old.handOverClient(fmt.Sprint("client ", i), fmt.Sprintf("/ws?uid=u%d&topic=t", i%users)))
	}
	stop := make(chan struct{})
	var pushing sync.WaitGroup
	pushing.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Microsecond):
			}
			if name := fmt.Sprint("u", rand.IntN(users)); i%8 > 0 {
				p.push(t, name, message.ToUsers(name))
			} else {
				p.push(t, "all", message.ToAll())
			}
		}
	})
	for round := range 4 {
		j := newJoint(t, old, Options{})
		old.HandOver(j)
		eventually(t, "some have left", func() bool { j.mu.Lock(); defer j.mu.Unlock(); return j.sessions >= 40*round })
		resumed, closed := old.AbortHandOver(func(shard int) []*Batch {
			if shard == 0 {
				j.passed()
				j.new.SendBack(giveBack{j})
				for range old.shards {
					<-j.returned
				}
			}
			return j.back[shard]
		}, nil)
		j.mu.Lock()
		if closed != 0 || resumed != j.sessions {
			t.Errorf("round %d: %d resumed of %d, %d closed", round, resumed, j.sessions, closed)
		}
		j.mu.Unlock()
	}
	close(stop)
	pushing.Wait()
	for i, c := range clients {
		c.check(t, map[string]int{"all": p.sent["all"], fmt.Sprint("u", i%users): p.sent[fmt.Sprint("u", i%users)]})
	}
	late := old.handOverClient("late", "/ws?uid=u0")
	late.mu.Lock()
	late.last["all"] = p.sent["all"]
	late.mu.Unlock()
	p.push(t, "all", message.ToAll())
	late.check(t, map[string]int{"all": p.sent["all"]})
	if n := old.Stats().Sessions; n != 3*users+1 {
		t.Errorf("%d sessions", n)
	}
}

// What a connection is in the middle of goes along: a message in fragments, a frame of
// which half has come, a request without its end, a backlog, and limits.
func TestHandOverInTheMiddle(t *testing.T) {
	old := newRig(t, Options{Echo: true})
	fragments := old.mustWire("/echo", "")
	if _, err := fragments.Write(masked(gobwas.OpText, false, []byte("first, "))); err != nil {
		t.Fatal(err)
	}
	whole := masked(gobwas.OpText, true, []byte("in two halves"))
	halves := old.mustWire("/echo", "")
	halves.Write(whole[:9])
	head, err := old.connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { head.Close() })
	req := request("/ws?uid=h", "")
	head.Write(req[:40])
	slow := old.mustWire("/ws?uid=slow", "")
	slow.SetReadBuffer(32 << 10)
	big := make([]byte, 64<<10)
	for i := range big {
		big[i] = 'a' + byte(i%26)
	}
	pushed := 0
	push := func() {
		payload := append(fmt.Appendf(nil, "%04d", pushed), big...)
		if err := old.push(&message.Message{Target: message.ToUsers("slow"), Kind: message.Binary, Payload: payload}); err != nil {
			t.Fatal(err)
		}
		pushed++
	}
	arrived := func() (n, waits int) {
		for i := range old.shards {
			old.on(i, func(h *shard) {
				for slot, ok := h.ps.Next(0); ok; slot, ok = h.ps.Next(slot + 1) {
					n++
					if h.ps.Backlogged(slot) {
						waits++
					}
				}
			})
		}
		return n, waits
	}
	eventually(t, "all have arrived", func() bool { n, _ := arrived(); return n == 4 })
	for waits := 0; waits == 0; _, waits = arrived() {
		push()
	}
	for range 5 {
		push()
	}
	j := newJoint(t, old, Options{Echo: true})
	old.HandOver(j)
	j.commit()

	fragments.Write(masked(gobwas.OpContinuation, true, []byte("then the rest")))
	if _, p, err := fragments.frame(); err != nil || string(p) != "first, then the rest" {
		t.Errorf("fragments: %q, %v", p, err)
	}
	halves.Write(whole[9:])
	if _, p, err := halves.frame(); err != nil || string(p) != "in two halves" {
		t.Errorf("halves: %q, %v", p, err)
	}
	head.Write(req[40:])
	if status, err := head.answer(); err != nil || status != 101 {
		t.Errorf("head: %d, %v", status, err)
	}
	for i := range pushed {
		_, p, err := slow.frame()
		if err != nil || len(p) != 4+len(big) || string(p[:4]) != fmt.Sprintf("%04d", i) {
			t.Fatalf("the slow client got %d bytes %.8q as number %d: %v", len(p), p, i, err)
		}
	}
	if n := j.new.Stats().Sessions; n != 4 {
		t.Errorf("%d sessions", n)
	}
}

// The state of a session survives encoding, also with fields of a later version, and cut
// anywhere it is an error or a state.
func FuzzHanded(f *testing.F) {
	h := handed{uid: []byte("ann"), topics: []joinedTopic{{"news", permitGranted}, {"chat", permitPattern}}, openedAt: 7, pinged: 3, variant: 2,
		limits: &sessionLimits{1, 2, 3, 4, 5, 6}, route: "orders", agent: "x", lasted: 9, tokens: []int64{-5, 7, 9, 0, 3}, class: "phone"}
	h.conn = poller.Handed{ID: 1<<32 | 5, Ticks: 100, LastRead: 90, LastWrite: 95, Timer: 120, Timed: true, Unread: []byte("ab"), Unsent: []byte("cd")}
	f.Add(h.append(nil))
	f.Add(append(h.append(nil), 0xff, 0x01, 0x02, 'x', 'y'))
	f.Fuzz(func(t *testing.T, p []byte) {
		for cut := range min(len(p), 200) {
			var it handed
			_ = it.parse(p[:cut], 100)
		}
		var it, again handed
		if it.parse(p, 100) != nil {
			return
		}
		once := it.append(nil)
		if err := again.parse(once, 100); err != nil {
			t.Fatalf("%x became %x: %v", p, once, err)
		}
		if twice := again.append(nil); string(twice) != string(once) {
			t.Fatalf("%x became %x, then %x", p, once, twice)
		}
	})
}
