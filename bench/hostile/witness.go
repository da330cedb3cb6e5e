package hostile

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"belfry/bench"
)

// witness is an innocent user with one session that gets pushes. The result of
// each push is recorded in the phase in which it was due.
type witness struct {
	uid  string
	node *node

	mu      sync.Mutex // guards what follows
	pushes  []push     // by their number, from 1
	latency [phases]*bench.Histogram
	closed  map[string]int
	twice   int // pushes that arrived again
	refused [phases]map[string]int
}

// push is one push to a witness.
type push struct {
	due      int64
	phase    phase
	answer   answer
	received bool
}

type answer uint8

const (
	unanswered answer = iota
	accepted
	refused // by a status: no client got it
	broken  // the connection ended before the answer: the client may have got it
)

func newWitness(n *node, uid string) *witness {
	w := &witness{uid: uid, node: n, pushes: make([]push, 1), closed: make(map[string]int)}
	for p := range w.latency {
		w.latency[p] = bench.NewHistogram()
		w.refused[p] = make(map[string]int)
	}
	return w
}

// connect makes the session and reads it. It makes a new one when it is lost,
// until ctx is done.
func (w *witness) connect(ctx context.Context, running *sync.WaitGroup) error {
	c, err := w.dial(ctx)
	if err != nil {
		return err
	}
	running.Go(func() {
		for {
			err := w.read(ctx, c)
			if ctx.Err() != nil {
				return
			}
			w.mu.Lock()
			w.closed[err.Error()]++
			w.mu.Unlock()
			for {
				if c, err = w.dial(ctx); err == nil {
					break
				}
				if bench.Sleep(ctx, 50*time.Millisecond) != nil {
					return
				}
			}
		}
	})
	return nil
}

func (w *witness) dial(ctx context.Context) (*client, error) {
	return dial(ctx, [4]byte{127, 0, 0, 1}, w.node.listen, "/ws?uid="+w.uid, "")
}

// read receives pushes until the connection ends.
func (w *witness) read(ctx context.Context, c *client) error {
	defer c.conn.Close()
	defer context.AfterFunc(ctx, func() { _ = c.conn.SetDeadline(time.Unix(1, 0)) })()
	clock := bench.NewClock()
	for {
		p, err := c.next()
		if err != nil {
			return err
		}
		m, ok := bench.ParsePayload(p)
		if !ok {
			return errors.New("a message that was not sent")
		}
		w.take(m, clock.Now())
	}
}

// take records a receipt.
func (w *witness) take(m bench.Message, now int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if int(m.Seq) >= len(w.pushes) {
		return
	}
	p := &w.pushes[m.Seq]
	if p.received {
		w.twice++
		return
	}
	p.received = true
	w.latency[p.phase].Record(now - p.due)
}

// offer returns the number of the due push.
func (w *witness) offer(due int64, ph phase) uint32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pushes = append(w.pushes, push{due: due, phase: ph})
	return uint32(len(w.pushes) - 1)
}

// answered records the API's answer, with the cause if it was not accepted.
func (w *witness) answered(seq uint32, a answer, cause string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := &w.pushes[seq]
	if p.answer = a; cause != "" {
		w.refused[p.phase][cause]++
	}
}

// waiting returns how many pushes have no answer, or were accepted and have not
// arrived.
func (w *witness) waiting() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.pushes[1:] {
		if !p.received && p.answer != refused && p.answer != broken {
			n++
		}
	}
	return n
}

// Pushed is the result of the pushes to the witnesses in one phase.
type Pushed struct {
	Due     int            `json:"due"`
	Refused int            `json:"refused"`          // or with no answer in time, and not delivered
	Lost    int            `json:"lost"`             // accepted and never delivered
	Causes  map[string]int `json:"causes,omitempty"` // of refusals and broken connections
	P50     float64        `json:"p50_ms"`           // due → receipt, of the witness with the larger p99
	P90     float64        `json:"p90_ms"`
	P99     float64        `json:"p99_ms"`
	Max     float64        `json:"max_ms"`
}

// tally sums up one phase.
func (w *witness) tally(ph phase) Pushed {
	w.mu.Lock()
	defer w.mu.Unlock()
	var t Pushed
	for _, p := range w.pushes[1:] {
		if p.phase != ph {
			continue
		}
		t.Due++
		switch {
		case p.received:
		case p.answer == accepted:
			t.Lost++
		default:
			t.Refused++
		}
	}
	t.Causes = maps.Clone(w.refused[ph])
	h := w.latency[ph]
	t.P50, t.P90, t.P99, t.Max = ms(h.At(50)), ms(h.At(90)), ms(h.At(99)), ms(h.Quantiles().Max)
	return t
}

// ended returns how often the session was lost, by cause.
func (w *witness) ended() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.closed)
}

// worse joins the tallies of two witnesses: it adds the counts and takes the
// quantiles with the larger p99.
func worse(a, b Pushed) Pushed {
	if b.P99 > a.P99 {
		a, b = b, a
	}
	a.Due += b.Due
	a.Refused += b.Refused
	a.Lost += b.Lost
	a.Causes = merged(a.Causes, b.Causes)
	return a
}

func ms(ns int64) float64 { return float64(ns) / 1e6 }
