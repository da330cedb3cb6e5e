package session

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"belfry/message"
	"belfry/poller"
)

// Heritage is what a server opens with that takes the place of the server of another
// process.
type Heritage struct {
	Poller   poller.Heritage
	Key      [32]byte // Options.Key of the other server, by which users have their shards
	Variants []string // of the other server; see Server.Variants
	LastSeen [][]byte // by shard: when users had their last session

	From  Successor // told of what has begun and ended
	Marks [][]byte  // by shard and slot: written when a session is read or changed; nil: not wanted
}

// check returns an error if sessions of the other server could not go on here. A later
// version may know more protocols, behind those that the other one knows.
func (in *Heritage) check(own []string) error {
	if in != nil && (len(in.Variants) > len(own) || !slices.Equal(in.Variants, own[:len(in.Variants)])) {
		return fmt.Errorf("session: the process that serves speaks %s, this one %s: a hot restart is not possible; restart the node cold",
			strings.Join(in.Variants, ", "), strings.Join(own, ", "))
	}
	return nil
}

// Variants names the protocols that clients may speak, in the order of their numbers.
func (s *Server) Variants() (names []string) {
	for i := range s.protocols.variants {
		v := &s.protocols.variants[i]
		names = append(names, v.Transport.Name()+"+"+v.Encoding.Name())
	}
	return names
}

// Bequeath returns what a successor opens with. Nothing changes here. The descriptors of
// the listeners stay the server's.
func (s *Server) Bequeath() *Heritage {
	n := len(s.shards)
	in := &Heritage{Key: s.opt.Key, Variants: s.Variants(), Poller: poller.Heritage{Listeners: s.loop.Listenings(), Clocks: make([]uint32, n), Generations: make([]uint32, n)}, LastSeen: make([][]byte, n)}
	s.onShards(func(h *shard) {
		in.Poller.Clocks[h.index], in.Poller.Generations[h.index] = h.ps.Now(), h.ps.Generation()
		in.LastSeen[h.index] = h.users.seen.export()
	})
	return in
}

// onShards calls f on each shard and waits.
func (s *Server) onShards(f func(h *shard)) {
	var wg sync.WaitGroup
	for _, h := range s.shards {
		wg.Add(1)
		s.inOrder(h, func(h *shard) {
			defer wg.Done()
			f(h)
		}, wg.Done)
	}
	wg.Wait()
}

// inOrder has f called on a shard, behind everything that was given to it before in this
// way. If the shard has stopped, gone is called instead.
func (s *Server) inOrder(h *shard, f func(h *shard), gone func()) {
	for !h.ps.Post(poller.QueueSingle, poller.Mail{Kind: mailCall, Ptr: f}) {
		select {
		case <-s.done:
			gone()
			return
		case <-time.After(time.Millisecond):
		}
	}
}

func nothing() {}

// HandOver begins to hand the sessions over. New ones go on to open here meanwhile.
func (s *Server) HandOver(out Outgoing) {
	s.onShards(func(h *shard) { h.giving.start(out) })
}

// Imported says that the successor serves the sessions of a batch.
func (s *Server) Imported(at int, batch uint64) {
	s.inOrder(s.shards[at], func(h *shard) { h.giving.imported(batch) }, nothing)
}

// Ended names connections that the successor has closed.
func (s *Server) Ended(at int, ids []poller.ID) {
	s.inOrder(s.shards[at], func(h *shard) { h.giving.ended(ids) }, nothing)
}

// stragglers is how long FinishHandOver waits for sessions that cannot leave yet: those
// with a login, a decision or a call of a backend under way.
const stragglers = 5 * time.Second

// FinishHandOver leaves new connections in the kernel for the successor, and waits until
// all sessions have left that can. Those that cannot stay, and Shutdown closes them.
func (s *Server) FinishHandOver(ctx context.Context) error {
	if err := s.loop.Hold(); err != nil {
		return err
	}
	ended := make(chan struct{}, len(s.shards))
	s.onShards(func(h *shard) { h.giving.finish(ended) })
	late := time.NewTimer(stragglers)
	defer late.Stop()
	for left := len(s.shards); left > 0; {
		select {
		case <-ended:
			left--
		case <-late.C:
			s.onShards(func(h *shard) { h.giving.hurried = true })
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Quiet waits until every message that was delivered has been sent, or was given to the
// successor. Nothing is delivered meanwhile.
func (s *Server) Quiet(ctx context.Context) error {
	for {
		busy := false
		var mu sync.Mutex
		s.onShards(func(h *shard) {
			mu.Lock()
			defer mu.Unlock()
			busy = busy || h.fanout.active || len(h.fanout.waiting) > 0 || h.ps.Fill(poller.QueueBulk) > 0
		})
		if !busy {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

// CommitHandOver says that the successor serves. This server closes its copies of the
// connections; Shutdown ends what is left.
func (s *Server) CommitHandOver() {
	s.handed.Store(true)
	s.onShards(func(h *shard) { h.giving.commit() })
}

// AbortHandOver takes all sessions back, and accepts connections again. returned is called
// once for each shard, when it sends no messages on any more: it returns what the successor
// gives back.
// touched says whether the successor has read or changed a session that is not given
// back; nil: not known.
func (s *Server) AbortHandOver(returned func(shard int) []*Batch, touched func(shard int, slot uint32) bool) (all Aborted) {
	s.onShards(func(h *shard) { h.giving.recall() })
	back := make([][]*Batch, len(s.shards))
	if returned != nil {
		for i := range back {
			back[i] = returned(i)
		}
	}
	var mu sync.Mutex
	s.onShards(func(h *shard) {
		var changed func(uint32) bool
		if touched != nil { // of sessions that are not given back
			changed = func(slot uint32) bool { return touched(h.index, slot) }
		}
		one := h.giving.abort(back[h.index], changed)
		mu.Lock()
		defer mu.Unlock()
		all.Resumed, all.Closed = all.Resumed+one.Resumed, all.Closed+one.Closed
		all.Again, all.Lost = all.Again+one.Again, all.Lost+one.Lost
	})
	_ = s.loop.Accept() // fails only if the loop has stopped
	return all
}

// Import opens the connections of a batch, whose descriptors become the server's. Batches
// and messages of a shard come in order, from one goroutine. done is called on the shard
// with an error if the batch cannot be opened.
func (s *Server) Import(b *Batch, done func(error)) {
	s.inOrder(s.shards[b.Shard], func(h *shard) { done(h.taking.batch(b)) }, func() { done(poller.ErrClosed) })
}

// ImportMessage sends a message to the sessions that a shard has taken over. It waits
// while the shard is busy.
func (s *Server) ImportMessage(at int, m *message.Message) {
	h := s.shards[at]
	h.taking.came++ // by this goroutine alone
	d, err := s.Prepare(m)
	if err != nil {
		return // it is in the log
	}
	d.shards, d.imported = s.shards[at:at+1:at+1], h.taking.came
	d.left.Store(1)
	s.mailBytes.Add(d.size)
	for d.queue == poller.QueueBulk && !h.ps.Reserve(d.queue) {
		select {
		case <-s.done:
			return
		case <-time.After(time.Millisecond):
		}
	}
	s.inOrder(h, func(h *shard) { h.dispatcher.dispatch(d) }, nothing)
}

// SendBack gives all connections back to the process that they came from. Afterwards
// nothing is done to them here.
func (s *Server) SendBack(out Outgoing) {
	for _, h := range s.shards {
		s.inOrder(h, func(h *shard) { h.giving.back(out) }, nothing)
	}
}

// Serve says that the other process has left: connections are this server's alone, and
// it accepts new ones.
func (s *Server) Serve() error {
	s.onShards(func(h *shard) { h.taking.serves() })
	return s.loop.Accept()
}
