package session

import (
	"context"
	"fmt"
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
	t         *testing.T
	old, new  *rig
	queues    []*endless // by shard: to the new server
	answers   *endless   // to the old one
	ended     sync.WaitGroup
	mu        sync.Mutex
	batches   int
	sessions  int
	bytes     int
	forwarded int        // messages to the new server
	sent      int        // of these, by it
	back      [][]*Batch // of SendBack, by shard
	returned  chan struct{}
	left      int
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
	j.mu.Lock()
	j.forwarded++
	j.mu.Unlock()
	j.queues[shard].put(func() { j.new.ImportMessage(shard, m) })
}

// Empty implements Outgoing.
func (j *joint) Empty(int, int) {}

// Ended implements Successor.
func (j *joint) Ended(shard int, ids []poller.ID) {
	j.answers.put(func() { j.old.Ended(shard, ids) })
}

func (j *joint) Sent(shard int, numbers []uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.sent += len(numbers)
	j.answers.put(func() { j.old.Sent(shard, numbers) })
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
	name  string
	mu    sync.Mutex
	last  map[string]int
	twice int // messages that came again
	may   int // how many may
	bad   []string
	end   error
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
			} else if n <= c.last[stream] {
				c.twice++
				c.mu.Unlock()
				continue
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
	if c.twice > c.may {
		t.Errorf("%s: %d messages came again", c.name, c.twice)
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

// start pushes what pick returns, again and again, until stop is called.
func (p *handOverPushes) start(t *testing.T, pick func(i int) (stream string, to message.Target)) (stop func()) {
	ending := make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-ending:
				return
			case <-time.After(100 * time.Microsecond):
			}
			stream, to := pick(i)
			p.push(t, stream, to)
		}
	})
	return func() { close(ending); ended.Wait() }
}

// further waits until so many more messages were pushed.
func (p *handOverPushes) further(t *testing.T, n int) {
	t.Helper()
	count := func() (sum int) {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, n := range p.sent {
			sum += n
		}
		return sum
	}
	want := count() + n
	eventually(t, "pushes", func() bool { return count() >= want })
}
