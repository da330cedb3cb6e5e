package session

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"

	"belfry/poller"
	"belfry/ws"
)

// closeOrder tells a shard to end its sessions, those in stateLogin included.
type closeOrder struct {
	rate   float64 // sessions a second; 0: as fast as it goes
	spread uint32  // ticks over which the advised delays are spread
	reason Reason
}

// shutdownRun walks over a shard's connections at shutdown and ends them at the
// rate of its order. Owned by the shard.
type shutdownRun struct {
	env
	closer  *closer
	refuser *refuser

	closeOrder
	wake   *time.Timer // starts a turn for the next step; nil: there is no order
	begun  time.Time
	next   time.Time // when the next step is due
	given  int       // sessions that were due up to the last step
	left   int       // sessions that are due and not ended yet
	cursor uint32    // next slot
}

// closeStep is the time between two steps, each of which ends what is due.
const closeStep = 20 * time.Millisecond

func (c *shutdownRun) begin(order closeOrder) {
	c.closeOrder, c.begun = order, time.Now()
	c.next = c.begun
	c.wake = time.AfterFunc(closeStep, c.ps.Wake)
}

// step returns how many more sessions are due. The first session of each shard is
// due at a different time; otherwise each step would end one session per shard at
// once.
func (c *shutdownRun) step(now time.Time) int {
	if c.rate == 0 {
		return math.MaxInt
	}
	shards := float64(len(c.srv.shards))
	due := int(now.Sub(c.begun).Seconds()*c.rate + (shards-float64(c.index))/shards)
	more := due - c.given
	c.given = due
	return more
}

// run ends the sessions that are due, and every upgrade in progress that it
// meets, for the time of a chunk. It says whether there are more.
func (c *shutdownRun) run() (more bool) {
	if c.wake == nil {
		return false
	}
	if c.left == 0 {
		now := time.Now()
		if now.Before(c.next) {
			return false
		}
		c.left, c.next = c.step(now), now.Add(closeStep)
		c.wake.Reset(closeStep)
	}
	for n := 1; c.left > 0; n++ {
		slot, ok := c.ps.Next(c.cursor)
		if !ok {
			// A socket may still move in from another shard, to a slot already passed.
			c.left, c.cursor = 0, 0
			return false
		}
		c.cursor = slot + 1
		switch c.rec(slot).state {
		case stateOpen, stateLogin:
			c.left--
			c.closer.endWith(slot, c.reason, "", ticks(c.opt.ReconnectAfter)+rand.Uint32N(c.spread+1))
		case stateHead, stateAuth, stateJoin, stateProxy:
			c.refuser.refuse(slot, ws.Unavailable("this server is going away", c.opt.RetryAfter).WithCause(CauseShutdown))
		}
		if n%16 == 0 && c.ps.Expired() {
			return c.left > 0
		}
	}
	return false
}

func (c *shutdownRun) stop() {
	if c.wake != nil {
		c.wake.Stop()
	}
}

// StopAccepting closes the listeners; sessions go on. It may be called more than
// once, from any goroutine.
func (s *Server) StopAccepting(ctx context.Context) error { return s.loop.StopAccepting(ctx) }

// Shutdown stops accepting and ends every session with 1001 (after CommitHandOver with
// 1012), at most pace a second
// (0: as fast as possible). It waits until the connections have ended, and then
// stops the shards. Clients are advised to reconnect after Options.ReconnectAfter
// plus a random part of spread, which counts in whole seconds. Connections that
// are left when ctx ends are cut off; the error is then a *CutOffError.
func (s *Server) Shutdown(ctx context.Context, pace int, spread time.Duration) error {
	if err := s.StopAccepting(ctx); err != nil {
		s.opt.Log.Warn("listeners not closed in time")
	}
	order := closeOrder{rate: float64(pace) / float64(len(s.shards)), spread: uint32(spread / time.Second), reason: ReasonShutdown}
	if s.handed.Load() {
		order.reason = ReasonRestart
	}
	for _, h := range s.shards {
		if err := h.ps.PostControl(ctx, poller.Mail{Kind: mailClose, Ptr: order}); err != nil {
			s.opt.Log.Warn("a shard was not told in time to end its sessions", zap.Int("shard", h.index), zap.Error(err))
		}
	}
	s.emptying.Store(true)
	if s.conns.Load() > 0 {
		select {
		case <-s.empty:
		case <-ctx.Done():
		}
	}
	left := int(s.conns.Load())
	if err := s.close(); err != nil {
		return err
	}
	if left > 0 {
		return &CutOffError{left}
	}
	return nil
}

// connEnded counts a connection that has ended. Shutdown waits for the last.
func (s *Server) connEnded() {
	if s.conns.Add(-1) == 0 && s.emptying.Load() {
		s.emptied.Do(func() { close(s.empty) })
	}
}

// CutOffError says how many connections were still open when the time for the
// shutdown was over.
type CutOffError struct{ Connections int }

func (e *CutOffError) Error() string {
	return fmt.Sprintf("session: %d connections cut off at shutdown", e.Connections)
}

// stopTime is how long the shards may take to stop once asked.
const stopTime = 5 * time.Second

// close stops the shards at once.
func (s *Server) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	s.once.Do(func() { close(s.done) })
	err := s.loop.Close(ctx)
	if err == nil {
		s.helpers.Wait()
		s.addresses.close()
	}
	return err
}
