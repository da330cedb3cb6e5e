package session

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"belfry/poller"
	"belfry/ws"
)

// closeSome asks a shard to end so many more sessions.
type closeSome struct {
	n      int
	spread uint32 // ticks over which they are to come back
}

// closingRun goes through a shard's sessions at shutdown.
type closingRun struct {
	cursor uint32
	left   int
	spread uint32
}

func (c *closingRun) more(some closeSome) { c.left, c.spread = c.left+some.n, some.spread }

// run ends sessions until enough were ended or the time is over.
func (c *closingRun) run(h *shard) (more bool) {
	for n := 1; c.left > 0; n++ {
		slot, ok := h.ps.Next(c.cursor)
		if !ok {
			// A socket may yet come from another shard to a slot behind us.
			c.left, c.cursor = 0, 0
			return false
		}
		c.cursor = slot + 1
		switch rec := h.rec(slot); rec.state {
		case stateOpen, stateLogin:
			c.left--
			h.endWith(slot, ReasonShutdown, "", ticks(h.opt.ReconnectAfter)+rand.Uint32N(c.spread+1))
		case stateHead, stateAuth, stateJoin, stateProxy:
			h.refuse(slot, ws.Unavailable("this server is going away", h.opt.RetryAfter).Because(CauseShutdown))
		}
		if n%16 == 0 && h.ps.Expired() {
			return c.left > 0
		}
	}
	return false
}

// closeStep is how often a batch of sessions is ended at shutdown.
const closeStep = 20 * time.Millisecond

// StopAccepting closes the listeners; sessions go on. It may be called more
// than once.
func (s *Server) StopAccepting(ctx context.Context) error { return s.loop.StopAccepting(ctx) }

// Shutdown stops accepting, ends every session with 1001 and an advised delay
// for coming back, at most pace a second (0: as fast as it goes), waits until
// their connections have ended, and stops the shards. The delay is
// Options.ReconnectAfter and a random part of spread, which counts in whole
// seconds. What is left when ctx ends is cut off; the error then says how many
// those were.
func (s *Server) Shutdown(ctx context.Context, pace int, spread time.Duration) error {
	if err := s.StopAccepting(ctx); err != nil {
		s.opt.Log.Warn("listeners not closed in time")
	}
	tick := time.NewTicker(closeStep)
	defer tick.Stop()
	start, given, first := time.Now(), 0, 0
	for s.loop.Stats().Connections > 0 {
		due := 1 << 30 * len(s.shards)
		if pace > 0 {
			due = int(time.Since(start).Seconds()*float64(pace)) + 1 - given
			given += due
		}
		first++ // of the shards whose share is one more, so that it is not always the same
		for i := range s.shards {
			share := due / len(s.shards)
			if i < due%len(s.shards) {
				share++
			}
			if share > 0 {
				s.shards[(first+i)%len(s.shards)].ps.Post(poller.LaneControl, poller.Mail{Kind: mailClose, Ptr: closeSome{share, uint32(spread / time.Second)}})
			}
		}
		select {
		case <-tick.C:
			continue
		case <-ctx.Done():
		}
		break
	}
	left := s.loop.Stats().Connections
	if err := s.close(); err != nil {
		return err
	}
	if left > 0 {
		return &CutOffError{left}
	}
	return nil
}

// CutOffError says how many connections were still open when the time for
// shutting down was over.
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
