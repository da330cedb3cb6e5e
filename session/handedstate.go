package session

import (
	"fmt"
	"strconv"
	"time"
)

// RouteNames is implemented by Events that know their routes by name, so that a session
// keeps its route in another process.
type RouteNames interface {
	RouteName(r Route) string
	RouteOf(name string) (r Route, ok bool)
}

// describe fills in what the tables of the shard know of a connection.
func (h *shard) describe(slot uint32, rec *record, it *handed) {
	if rec.state != stateOpen {
		it.state = handedHead
		if rec.state == stateProxy {
			it.state = handedProxy
		}
		h.describeRemote(slot, rec, it)
		return
	}
	it.variant, it.openedAt = rec.variant, rec.openedAt
	if rec.pingedAt != 0 {
		it.pinged = h.ps.Now() - rec.pingedAt + 1
	}
	it.uid = append([]byte(nil), h.users.uid(rec)...)
	it.topics = h.topics.joined(rec)
	if g := h.grants.of(rec); g != nil {
		it.issued, it.expires, it.class = g.issued, g.expires, h.grants.className(rec)
		subscribe, publish := h.grants.patterns(rec)
		it.subscribe, it.publish = append([]byte(nil), subscribe...), append([]byte(nil), publish...)
		it.meta = append([]byte(nil), h.grants.meta(rec)...)
		if l := h.grants.limitsOf(rec); l != nil {
			own := *l
			it.limits = &own
		}
	}
	h.describeRemote(slot, rec, it)
	if r := h.eventing.of(slot, rec); r != nil {
		it.kept = append([]byte(nil), h.eventing.blobs.get(r.kept)...)
		it.agent = h.eventing.agents.name(r.agent)
		if r.route != 0 {
			it.route = h.eventing.routeName(r.route)
		}
		if r.opened != 0 {
			it.lasted = uint64((h.srv.clock() - time.Duration(r.opened-1)).Milliseconds()) + 1
		}
	}
	if in := h.assembly.of(slot, rec); in.Active() {
		it.inbound = in.AppendState(nil)
	}
	it.tokens = h.buckets.export(rec)
	it.unknown = h.taking.extra[h.ps.ID(slot)]
}

func (h *shard) describeRemote(slot uint32, rec *record, it *handed) {
	if rec.flags&flagRemote == 0 {
		return
	}
	if at, ok := h.remotes.find(slot); ok {
		r := h.remotes.all.At(at)
		it.remote = r.addrPort()
		if r.counted {
			it.marks |= markCounted
		}
	}
}

// takeOut takes a connection that was frozen out of all tables. Nobody is told.
func (h *shard) takeOut(slot uint32, rec *record) {
	h.assembly.drop(slot, rec)
	if rec.state != stateOpen {
		h.halfOpen.leave(rec)
	} else {
		h.srv.perVariant[rec.variant].Add(-1)
		h.eventing.forget(slot, rec)
		h.buckets.drop(slot, rec)
		h.topics.leaveAll(rec)
		h.grants.drop(rec)
		h.users.leave(slot, rec)
	}
	h.remotes.take(slot) // it stays counted in this process
}

// takeOver opens a connection of another process.
func (h *shard) takeOver(it *handed) error {
	slot := it.conn.ID.Slot()
	it.conn.Unread, it.conn.Unsent = append([]byte(nil), it.conn.Unread...), append([]byte(nil), it.conn.Unsent...)
	if err := h.ps.Inherit(&it.conn); err != nil {
		return err
	}
	h.srv.conns.Add(1)
	h.remotes.arrived(it)
	if it.state != handedOpen {
		h.takeHead(slot, it)
		return nil
	}
	h.srv.sessions.Add(1)
	err := h.enterHanded(slot, it)
	if err != nil {
		h.closer.end(slot, ReasonInternal, "")
		h.ps.Close(slot)
		return fmt.Errorf("slot %d: %w", slot, err)
	}
	h.taking.border(slot)
	h.changes.came(slot, h.rec(slot))
	return nil
}

// enterAgain has a connection that was frozen here go on.
func (h *shard) enterAgain(it *handed) error {
	slot := it.conn.ID.Slot()
	if !h.ps.Frozen(slot) || h.ps.ID(slot) != it.conn.ID {
		return errHanded
	}
	*h.rec(slot) = record{}
	it.conn.Unread, it.conn.Unsent = append([]byte(nil), it.conn.Unread...), append([]byte(nil), it.conn.Unsent...)
	if err := h.ps.Thaw(&it.conn); err != nil {
		return err
	}
	if it.state != handedOpen {
		h.takeHead(slot, it)
		return nil
	}
	return h.enterHanded(slot, it)
}

// takeHead goes on with a request that is not complete.
func (h *shard) takeHead(slot uint32, it *handed) {
	var state any
	if it.state == handedProxy {
		state = BehindProxy{}
	}
	h.upgrader.arrived(slot, h.rec(slot), state)
	if it.remote.IsValid() {
		h.remotes.keep(slot, it.remote, it.marks&markCounted != 0)
	}
	h.upgrader.halfOpened(slot, h.rec(slot))
	h.ps.ThawDone(slot)
}

// enterHanded enters a session into the tables. Nobody is told that it has opened.
func (h *shard) enterHanded(slot uint32, it *handed) error {
	rec := h.rec(slot)
	if int(it.variant) >= len(h.srv.protocols.variants) {
		return fmt.Errorf("session: variant %d; there are %d", it.variant, len(h.srv.protocols.variants))
	}
	rec.state, rec.variant, rec.openedAt = stateOpen, it.variant, it.openedAt
	rec.fanoutRun = h.fanout.runNumber // it has the messages of the run
	rec.flags = flagSession
	if it.pinged != 0 {
		rec.pingedAt = h.ps.Now() - (it.pinged - 1)
	}
	if it.marks&markEcho != 0 {
		rec.flags |= flagEcho
	}
	if it.marks&markPinged != 0 {
		rec.flags |= flagPinged
	}
	h.srv.perVariant[rec.variant].Add(1)
	if err := h.enterTables(slot, rec, it); err != nil {
		return err
	}
	if it.remote.IsValid() {
		h.remotes.keep(slot, it.remote, it.marks&markCounted != 0)
	}
	h.buckets.restore(slot, rec, it.tokens)
	if len(it.inbound) > 0 {
		in := h.assembly.open(slot, rec)
		if in == nil {
			return errNoRoom
		}
		if err := in.RestoreState(it.inbound); err != nil {
			return err
		}
		h.assembly.startClock(in, h.ps.Now())
	}
	if !it.conn.Timed {
		h.heartbeats.arm(slot, rec)
	}
	h.ps.ThawDone(slot)
	return nil
}

// enterTables is the part of enterHanded about what the session was granted.
func (h *shard) enterTables(slot uint32, rec *record, it *handed) error {
	if err := h.grants.restore(rec, it); err != nil {
		return err
	}
	if len(it.uid) > 0 {
		_, hash := h.srv.homeOf(string(it.uid))
		if err := h.users.enter(slot, rec, hash, string(it.uid)); err != nil {
			return err
		}
		h.users.join(slot, rec) // it is open: nothing waits for the bus
	}
	if err := h.eventing.restore(slot, rec, it); err != nil {
		return err
	}
	watch := h.topics.watch
	h.topics.watch = nil // nobody has joined
	defer func() { h.topics.watch = watch }()
	for _, t := range it.topics {
		at, _, err := h.topics.join(slot, rec, t.name)
		if err != nil {
			return err
		}
		h.topics.permitBy(rec, at, t.by)
	}
	return nil
}

// restore stores the grant of a session that was handed over.
func (g *grants) restore(rec *record, it *handed) (err error) {
	to := granted{issued: it.issued, expires: it.expires, class: g.enterClass(it.class)}
	if to.meta, err = g.blobs.put(it.meta); err != nil {
		return err
	}
	if it.limits != nil {
		at, ok := g.limits.Alloc()
		if !ok {
			return errNoRoom
		}
		*g.limits.At(at) = *it.limits
		to.limits = at + 1
	}
	if to.permissions, err = g.internText(it.subscribe, it.publish); err != nil {
		return err
	}
	if to == (granted{}) {
		return nil
	}
	at, ok := g.all.Alloc()
	if !ok {
		g.release(&to)
		return errNoRoom
	}
	rec.grant = at + 1
	*g.of(rec) = to
	return nil
}

// routeName returns what a route is called in another process.
func (ev *eventing) routeName(r Route) string {
	if names, ok := ev.opt.Events.(RouteNames); ok {
		return names.RouteName(r)
	}
	return strconv.Itoa(int(r))
}

// routeOf is the reverse; 0 if there is no such route any more.
func (ev *eventing) routeOf(name string) Route {
	if names, ok := ev.opt.Events.(RouteNames); ok {
		r, _ := names.RouteOf(name)
		return r
	}
	n, _ := strconv.ParseUint(name, 10, 16) // 0 after an error
	return Route(n)
}

// Busy is implemented by Events that can say whether they still have something of a
// session: a message that was not passed on, or a call.
type Busy interface {
	Busy(session string) bool
}

// forget is closed without telling anybody.
func (ev *eventing) forget(slot uint32, rec *record) {
	if r := ev.of(slot, rec); r != nil {
		r.opened = 0
		rec.flags &^= flagHeld
		ev.closed(slot, rec)
	}
}

// restore stores what was kept of a session that was handed over.
func (ev *eventing) restore(slot uint32, rec *record, it *handed) error {
	if it.route == "" && it.agent == "" {
		return nil
	}
	o := &upgrade{agent: it.agent, kept: it.kept}
	if it.route != "" && ev.opt.Events != nil {
		o.route = ev.routeOf(it.route)
	}
	if err := ev.keep(slot, rec, o); err != nil {
		return err
	}
	if r := ev.of(slot, rec); r != nil && r.route != 0 && it.lasted > 0 {
		r.opened = int64(ev.srv.clock()) - int64(it.lasted-1)*int64(time.Millisecond) + 1
		if r.opened == 0 { // it stands for a session of which nothing was told
			r.opened = 1
		}
	}
	return nil
}

// busy says whether Options.Events has something of a session.
func (ev *eventing) busy(slot uint32, rec *record) bool {
	if !ev.wanted(slot, rec) {
		return false
	}
	b, ok := ev.opt.Events.(Busy)
	return ok && (b.Busy(ev.session(slot)) || ev.srv.shards[ev.index].orders.pending())
}

// handedEnded counts a connection that ended in the successor.
func (s *Server) handedEnded(it *handed) {
	if it.state == handedOpen {
		s.sessions.Add(-1)
	}
	if it.marks&markCounted != 0 {
		s.addresses.leave(keyOf(it.remote.Addr()), s.now())
	}
	s.connEnded()
}
