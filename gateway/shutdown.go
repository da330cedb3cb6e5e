package gateway

import "context"

// Shutdown sends the events that wait, until ctx is done; then it drops the rest and
// counts them. Clients that wait for an answer get an error. Events that come later
// are dropped. The sessions must have ended before, or their last events are lost.
func (g *Gateway) Shutdown(ctx context.Context) (dropped int) {
	g.mu.Lock()
	g.stopping = true
	for q, timer := range g.delayed {
		timer.Stop()
		delete(g.delayed, q)
		g.ready(q)
	}
	var empty chan struct{}
	if len(g.queues) > 0 {
		empty = make(chan struct{})
		g.empty = empty
	}
	g.mu.Unlock()
	if empty != nil {
		select {
		case <-empty:
		case <-ctx.Done():
			dropped = g.waiting()
			g.cancel() // from here on calls fail at once
			<-empty
		}
	}
	g.cancel()
	close(g.wake)
	g.endSpare()
	g.working.Wait()
	for _, r := range g.routes() {
		r.Backend.Close()
	}
	return dropped
}

// waiting returns how many events are not done.
func (g *Gateway) waiting() (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, q := range g.queues {
		for e := q.first; e != nil; e = e.next {
			n++
		}
	}
	return n
}
