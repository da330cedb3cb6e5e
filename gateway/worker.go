package gateway

// task is what a worker begins with: the first event of a session, for which take has
// counted a call of its route.
type task struct {
	route *route
	queue *queue
}

// maxSpare is how many workers stay when no session waits for a call. A goroutine of
// its own for each call would grow its stack to 16 KiB each time, which is a tenth of
// what a call costs.
const maxSpare = 16

// dispatch starts calls of r while its limits allow it.
func (g *Gateway) dispatch(r *route) {
	for {
		q := g.take(r)
		if q == nil {
			return
		}
		t := task{r, q}
		if last := len(g.spare) - 1; last >= 0 { // its stack is in the processor's cache
			g.spare[last] <- t // has room
			g.spare = g.spare[:last]
			continue
		}
		g.working.Go(func() { g.work(t) })
	}
}

// work is a worker: it makes calls until no session waits for one, and as a spare
// worker further calls until Shutdown.
func (g *Gateway) work(t task) {
	more := make(chan task, 1)
	for ok := true; ok; t, ok = <-more {
		g.makeCalls(t)
		if !g.rest(more) {
			return
		}
	}
}

// rest makes a worker a spare one, which gets its next task through more. It returns
// false if there are enough of them.
func (g *Gateway) rest(more chan task) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended || len(g.spare) >= maxSpare {
		return false
	}
	g.spare = append(g.spare, more)
	return true
}

// endSpare ends the spare workers. No call begins any more.
func (g *Gateway) endSpare() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = true
	for _, more := range g.spare {
		close(more)
	}
	g.spare = nil
}

// makeCalls makes calls of a route, one after the other, until none waits.
func (g *Gateway) makeCalls(t task) {
	g.opt.Gate.Enter()
	defer g.opt.Gate.Leave()
	r := t.route
	for q := t.queue; q != nil; q = g.takeNext(r) {
		e := q.first // only this goroutine uses it
		again := g.call(e)
		g.mu.Lock()
		r.inFlight--
		r.bytes -= e.size
		g.inFlight--
		if again && !g.stopping && g.tries(r) {
			g.delay(q)
			g.mu.Unlock()
		} else {
			why := causeFailed
			if g.stopping {
				why = causeShutdown
			}
			g.mu.Unlock()
			if again {
				g.guard(e, func() { g.fail(e, why, "") })
			}
			g.finish(q)
		}
	}
}

// takeNext returns what the worker of r does next. If calls waited for
// Options.InFlight, it starts those of other routes, too.
func (g *Gateway) takeNext(r *route) *queue {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.limited {
		g.limited = false
		for _, all := range [][]*route{g.routes(), g.retired} {
			for _, other := range all {
				if other != r {
					g.dispatch(other)
				}
			}
		}
	}
	return g.take(r)
}
