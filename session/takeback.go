package session

import (
	"time"

	"belfry/poller"
)

// This is what a shard does when the successor does not take over after all, on both
// sides.

// recall forwards no message any more, and has none sent before abort.
func (g *giving) recall() {
	if g.out != nil {
		g.wake.Stop()
		g.recalling, g.moved, g.finishing = true, false, nil
	}
}

// hold keeps a message that came by mail until abort.
func (g *giving) hold(d *Delivery) {
	if d.queue == poller.QueueSingle {
		g.ps.KeepPlace()
	}
	g.held = append(g.held, d)
}

// sendHeld sends what was kept.
func (g *giving) sendHeld() {
	held := g.held
	g.held = nil
	for _, d := range held {
		before := g.h.fanout.added
		g.h.dispatcher.dispatch(d)
		if d.queue == poller.QueueSingle && g.h.fanout.added == before {
			g.ps.Release(poller.QueueSingle, 1) // else the fan-out run gives the place back
		}
	}
}

// back gives all connections back, once they have got the messages that wait for them.
func (g *giving) back(out Outgoing) {
	*g = giving{env: g.env, h: g.h, told: -1, wake: time.NewTimer(time.Hour), backTo: out}
	g.ps.Wake()
}

// sendBack does what back asked for. It waits for no acknowledgements.
func (g *giving) sendBack() {
	if g.h.fanout.active || len(g.h.fanout.waiting) > 0 {
		return
	}
	out := g.backTo
	g.backTo, g.out = nil, out
	g.h.taking.from = nil // what ends here from now on is not told
	g.h.topics.keeps, g.h.users.keeps = true, true
	for g.cursor = 0; ; {
		b := g.collect()
		if b.Sessions == 0 {
			break
		}
		g.batches = append(g.batches, b.State)
		out.Batch(b)
	}
	left := g.skipped
	g.commit()
	out.Empty(g.index, left)
}

// abort takes everything back: back has what the successor gives back. Connections that
// are in no batch of it go on from the state that was sent; if touched says that the
// successor has read from one or changed it, it is closed. The shard's messages are its
// own again.
func (g *giving) abort(back []*Batch, touched func(slot uint32) bool) (a Aborted) {
	if g.out == nil {
		return a
	}
	g.wake.Stop()
	g.out, g.waits, g.recalling, g.finishing = nil, false, false, nil
	for _, b := range back {
		a.Resumed += g.takeBack(b)
	}
	from := map[uint32]uint64{}
	for slot, ok := g.ps.Next(0); ok; slot, ok = g.ps.Next(slot + 1) {
		if !g.ps.Frozen(slot) {
			g.unpause(slot)
			continue
		}
		var it handed
		batch := g.rec(slot).older
		err := g.kept(slot, &it)
		if err == nil {
			err = g.h.enterAgain(&it)
		}
		switch {
		case err != nil:
			g.ps.Drop(slot)
			g.srv.handedEnded(&it)
			a.Closed++
		case touched != nil && touched(slot):
			g.h.closer.end(slot, ReasonRestart, "")
			g.h.closer.halfClose(slot, g.rec(slot))
			a.Closed++
		default:
			a.Resumed++
			from[slot] = g.before[batch-1]
		}
	}
	a.Again, a.Lost = g.sendAgain(from), g.forwards.dropped
	g.batches, g.before, g.forwards = nil, nil, forwards{}
	g.h.topics.keeps, g.h.users.keeps = false, false
	g.h.topics.sweep()
	g.sendHeld()
	g.ps.Wake()
	return a
}

// takeBack thaws the connections of a batch that the successor gives back.
func (g *giving) takeBack(b *Batch) (resumed int) {
	head, p, err := parseBatchHead(b.State)
	for err == nil && len(p) > 0 {
		var fields []byte
		if fields, p, err = nextHanded(p); err != nil {
			break
		}
		var it handed
		if it.parse(fields, head.ticks) == nil && g.h.enterAgain(&it) == nil {
			resumed++
		}
	}
	return resumed
}

// unpause reads a session again that was paused to leave.
func (g *giving) unpause(slot uint32) {
	if rec := g.rec(slot); rec.state == stateOpen && g.ps.Paused(slot) {
		g.readOn(slot, rec)
	}
}
