package report

import (
	"time"

	"belfry/message"
)

// Received implements broadcast.Reporter.
func (r *Reporter) Received(id string, q message.ReportRequest) *message.Report {
	now := time.Now()
	k := key{q.Node, id}
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.counted[k]; c != nil {
		if c.asked { // it came after its end, which no node sends
			return nil
		}
		return c.report
	}
	if len(r.counted) >= maxCounted {
		r.spilled = now.Add(time.Minute)
		return nil
	}
	c := &counted{key: k, until: now.Add(q.Wait + slack)}
	c.report = message.NewReport(q, func(*message.Report) { r.change(c) })
	r.counted[k] = c
	wakeUp(r.wake) // run has to forget it some time
	return c.report
}

// Asked implements broadcast.Reporter.
func (r *Reporter) Asked(node uint32, id string) {
	if c := r.ask(key{node, id}); c != nil {
		c.report.Seal()
	}
}

// ask notes that a message is complete. It returns nil if that was noted before.
func (r *Reporter) ask(k key) *counted {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.counted[k]
	if c == nil { // the message did not come here: the answer is that it has no sessions
		c = &counted{key: k, until: now}
		c.report = message.NewReport(message.ReportRequest{Node: k.node}, func(*message.Report) { r.change(c) })
		if now.Before(r.spilled) {
			c.report.Lose()
		}
	}
	if c.asked {
		return nil
	}
	c.asked = true
	return c
}

// change has run look at a message. A shard may call it.
func (r *Reporter) change(c *counted) {
	r.mu.Lock()
	if !c.queued {
		c.queued = true
		r.changed = append(r.changed, c)
	}
	r.mu.Unlock()
	wakeUp(r.wake)
}

// take returns what has changed, and whether anything is counted.
func (r *Reporter) take() (list []*counted, any bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list, r.changed = r.changed, nil
	for _, c := range list {
		c.queued = false
	}
	return list, len(r.counted) > 0
}

// run is the goroutine that tells other nodes what became of their messages.
func (r *Reporter) run() {
	var sweep, acks <-chan time.Time // nil: nothing is due
	var later []*counted             // with acknowledgements that are not told yet
	for {
		select {
		case <-r.wake:
		case <-sweep:
			r.sweep(time.Now())
			sweep = nil
		case <-acks:
			for _, c := range later {
				c.later = false
				r.tell(c)
			}
			clear(later)
			later, acks = later[:0], nil
		case <-r.stop.Done():
			return
		}
		list, any := r.take()
		for _, c := range list {
			if counts := countsOf(c.report); c.told && !counts.acknowledged() {
				if !c.later {
					c.later, later = true, append(later, c)
				}
				if acks == nil {
					acks = time.After(ackPause)
				}
				continue
			}
			r.tell(c)
		}
		if any && sweep == nil {
			sweep = time.After(time.Second)
		}
	}
}

// tell tells the node of a message what became of it here.
func (r *Reporter) tell(c *counted) {
	a := answer{ID: c.id, Lost: c.report.Lost(), Counts: countsOf(c.report)}
	c.told = true
	if a.acknowledged() {
		r.forget(c)
	}
	// Without a connection the node does not get it, and names this one as silent.
	_ = r.opt.Control.SendTo(c.node, kindResult, a.encode())
}

func (r *Reporter) forget(c *counted) {
	c.report.Forsake()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counted[c.key] == c {
		delete(r.counted, c.key)
	}
}

// sweep forgets messages whose nodes wait no longer.
func (r *Reporter) sweep(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, c := range r.counted {
		if now.After(c.until) {
			c.report.Forsake()
			delete(r.counted, k)
		}
	}
}
