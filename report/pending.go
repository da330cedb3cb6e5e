package report

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"belfry/broadcast"
	"belfry/message"
)

// Query is what a publisher wants to know.
type Query struct {
	Wait time.Duration // for the reports of all nodes, MinWait to MaxWait
	Ack  bool          // wait also for acknowledgements of clients
}

// Range of Query.Wait.
const (
	MinWait = time.Millisecond
	MaxWait = 30 * time.Second
)

// Pending is a push that was published and whose reports are awaited.
type Pending struct {
	r     *Reporter
	id    string
	own   *message.Report
	until time.Time
	wake  chan struct{} // capacity 1: a report came, or changed

	mu      sync.Mutex // guards the rest
	missing map[uint32]broadcast.Peer
	got     map[uint32]*answer
	names   map[uint32]string // of the nodes in got
}

// Publish publishes a message as Publisher.PublishWithin does, with the same errors. It
// also returns a *message.OverloadedError if Options.MaxWaits pushes wait already. After
// success Await must be called.
func (r *Reporter) Publish(ctx context.Context, m *message.Message, w message.Wait, q Query) (p *Pending, waited bool, err error) {
	if r.waiting.Add(1) > int64(r.opt.MaxWaits) {
		r.waiting.Add(-1)
		r.refused.Add(1)
		return nil, false, &message.OverloadedError{What: "as many pushes wait for their reports as may (api.max_waits)", RetryAfter: time.Second}
	}
	p = &Pending{r: r, wake: make(chan struct{}, 1), missing: r.concerned(&m.Target), got: map[uint32]*answer{}, names: map[uint32]string{}}
	if m.ID == "" {
		m.ID = r.opt.Bus.NewID()
	}
	p.id, p.until = m.ID, time.Now().Add(q.Wait)
	p.own = message.NewReport(message.ReportRequest{Node: r.opt.Self.ID, Wait: q.Wait, Ack: q.Ack}, func(*message.Report) { wakeUp(p.wake) })
	m.Report = p.own
	r.mu.Lock()
	r.pending[p.id] = p
	r.mu.Unlock()
	if waited, err = r.opt.Bus.PublishWithin(ctx, m, w); err != nil {
		p.close()
		return nil, waited, err
	}
	p.own.Seal()
	return p, waited, nil
}

// concerned returns the other nodes whose reports are awaited.
func (r *Reporter) concerned(t *message.Target) map[uint32]broadcast.Peer {
	nodes := map[uint32]broadcast.Peer{}
	peers := r.opt.Control.Peers()
	if t.Scope != message.ScopeSessions {
		for _, p := range peers {
			nodes[p.ID] = p
		}
		return nodes
	}
	for _, sid := range t.Names {
		id, err := message.NodeOf(sid)
		if err != nil || id == r.opt.Self.ID {
			continue // an error is found when the message is published
		}
		node := broadcast.Peer{ID: id}
		if at := slices.IndexFunc(peers, func(p broadcast.Peer) bool { return p.ID == id }); at >= 0 {
			node = peers[at]
		}
		nodes[id] = node
	}
	return nodes
}

// close ends the wait.
func (p *Pending) close() {
	p.own.Forsake()
	p.r.mu.Lock()
	delete(p.r.pending, p.id)
	p.r.mu.Unlock()
	p.r.waiting.Add(-1)
}

// told is the handler of kindResult.
func (r *Reporter) told(_ context.Context, from broadcast.Peer, body []byte) ([]byte, error) {
	a, err := decode(body)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	p := r.pending[a.ID]
	r.mu.Unlock()
	if p == nil {
		return nil, nil // too late
	}
	p.mu.Lock()
	p.got[from.ID], p.names[from.ID] = a, from.Name
	delete(p.missing, from.ID)
	p.mu.Unlock()
	wakeUp(p.wake)
	return nil, nil
}

// goneEvery is how often a wait looks whether its publisher has gone away.
const goneEvery = time.Second

// Await waits for the reports: until all nodes have reported, the wait is over, ctx is
// done, or gone says that nobody wants them any more. gone may be nil. It is called
// once, by one goroutine.
func (p *Pending) Await(ctx context.Context, gone func() bool) *Result {
	defer p.close()
	timer := time.NewTimer(min(goneEvery, time.Until(p.until)))
	defer timer.Stop()
	for !p.finished() {
		select {
		case <-p.wake:
			continue
		case <-timer.C:
			if left := time.Until(p.until); left > 0 && !(gone != nil && gone()) {
				timer.Reset(min(goneEvery, left))
				continue
			}
		case <-ctx.Done():
		case <-p.r.stop.Done():
		}
		break
	}
	res := p.result()
	if res.Complete {
		p.r.complete.Add(1)
	} else {
		p.r.incomplete.Add(1)
	}
	return res
}

// finished says whether nothing more is to come.
func (p *Pending) finished() bool {
	if !p.own.Complete() {
		return false
	}
	if p.own.Ack {
		if asked, acked := p.own.Acks(); acked < asked {
			return false
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.got {
		if !a.acknowledged() {
			return false
		}
	}
	return len(p.missing) == 0
}

// result sums up what has come.
func (p *Pending) result() *Result {
	answers, silent := p.answers()
	names := make([]string, 0, len(answers)+len(silent))
	for name := range answers {
		names = append(names, name)
	}
	for name := range silent {
		names = append(names, name)
	}
	slices.Sort(names)
	res := &Result{ID: p.id, Nodes: []Node{}}
	for _, name := range names {
		if a := answers[name]; a != nil {
			res.Counts.add(&a.Counts)
			res.Nodes = append(res.Nodes, Node{name, a.Counts})
		} else {
			res.Silent = append(res.Silent, Silent{name, silent[name]})
		}
	}
	if p.r.opt.Degraded != nil {
		res.Degraded = p.r.opt.Degraded()
	}
	res.Complete = len(res.Silent) == 0 && len(res.Degraded) == 0
	res.Offline = res.Complete && res.Sessions == 0
	return res
}

// answers returns what each node has reported, and why the others have not, by name.
func (p *Pending) answers() (answers map[string]*answer, silent map[string]string) {
	answers, silent = map[string]*answer{}, map[string]string{}
	if self := p.r.opt.Self.Name; p.own.Complete() {
		answers[self] = &answer{Counts: countsOf(p.own)}
	} else {
		silent[self] = "a shard did not get to the message in time"
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, a := range p.got {
		if a.Lost {
			silent[p.names[id]] = "the message was lost there before it got to the sessions"
			continue
		}
		answers[p.names[id]] = a
	}
	for id, n := range p.missing {
		if n.Name == "" {
			silent[fmt.Sprintf("%08x", id)] = "the node of this session is not there; if it has ended, so has the session"
			continue
		}
		silent[n.Name] = "no report in time"
	}
	return answers, silent
}
