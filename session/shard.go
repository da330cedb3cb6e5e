package session

import (
	"belfry/offheap"
	"belfry/pace"
	"belfry/poller"
)

// shard is the session side of one poller.Shard. It wires its parts together and
// passes on what the poller calls. Only the shard's goroutine may use it, but for
// what is marked otherwise.
type shard struct {
	env

	// From accept to session.
	upgrader upgrader
	upgrades upgrades
	halfOpen halfOpen
	remotes  remotes
	eventing eventing // what Options.Events is told, at every step
	changes  changeFeed
	watch    watch // what Options.Observer is told

	// What clients send.
	receiver    receiver
	assembly    assembly
	buckets     buckets
	answers     answers
	commands    commands
	decisions   decisions
	calls       calls // of other goroutines
	permissions permitting
	renewals    renewals
	departures  departures
	arrivals    arrivals
	pubs        pubQueue // half of it is the publisher goroutine's

	// What clients are sent.
	users      users
	grants     grants
	clients    clients
	topics     topics
	dispatcher dispatcher
	orders     orders // of backends
	decided    orders // of authenticators and of webhooks that decide
	fanout     fanoutRuns
	spreads    spreads
	acks       acks      // of clients, for those who push
	latencies  latencies // read by any goroutine, as env.counters

	// How sessions are watched, and how they end.
	heartbeats heartbeats
	pongs      pongTimes
	closer     closer
	refuser    refuser
	shutdown   shutdownRun
	shedding   shedding
	delays     pace.Delays // advised to clients of sessions that are closed by an order, or old
	giving     giving      // sessions to another process
	taking     taking      // and from one
	log        connLog
}

// Kinds of mail.
const (
	mailDelivery   uint32 = iota // Ptr: *Delivery
	mailUserReady                // ID: connection
	mailTopicReady               // ID: topic token
	mailClose                    // Ptr: closeOrder
	mailCall                     // Ptr: func(*shard)
	mailPublished                // pubQueue has results
	mailCut                      // Ptr: *relocation; a mark in the bulk queue
)

func newShard(srv *Server, ps *poller.Shard) (*shard, error) {
	h := &shard{env: newEnv(srv, ps)}
	if err := h.initTables(); err != nil {
		return nil, err
	}
	h.upgrades = upgrades{env: h.env, arrivals: &h.arrivals}
	h.orders.env, h.decided.env = h.env, h.env
	h.answers.env = h.env
	h.assembly = assembly{ps: ps, table: offheap.NewTable(h.opt.Poller.Memory.Owner("messages")), buffers: ps.NewBuffers()}
	h.calls.env = h.env
	h.decisions = decisions{env: h.env, clients: &h.clients, answers: &h.answers, renewals: &h.renewals}
	h.pubs.init(&h.env, &h.answers, &h.renewals)
	h.changes.init(&h.env, &h.users, &h.eventing, &h.grants)
	h.watch = watch{h.env, &h.clients, &h.topics}
	if h.opt.Observer.watches() || h.watch.watchesTopics() {
		h.topics.watch = &h.watch
	}
	h.log.init(&h.env, &h.remotes, &h.users)
	h.fanout.init(&h.env, &h.topics, &h.latencies)
	h.acks.env, h.fanout.acks = h.env, &h.acks
	h.spreads.env, h.spreads.topics = h.env, &h.topics
	h.dispatcher = dispatcher{env: h.env, spreads: &h.spreads, arrivals: &h.arrivals, users: &h.users, topics: &h.topics, fanout: &h.fanout, latencies: &h.latencies, acks: &h.acks}
	h.closer = closer{env: h.env, log: &h.log, answers: &h.answers, upgrades: &h.upgrades, assembly: &h.assembly,
		buckets: &h.buckets, topics: &h.topics, users: &h.users, grants: &h.grants, decisions: &h.decisions, renewals: &h.renewals, events: &h.eventing, changes: &h.changes, watch: &h.watch}
	h.heartbeats = heartbeats{env: h.env, renewals: &h.renewals, grants: &h.grants, closer: &h.closer, events: &h.eventing, fanout: &h.fanout, intervals: h.opt.intervals()}
	h.pongs.limit = h.heartbeats.intervals.pong / 2
	h.commands = commands{env: h.env, events: &h.eventing, renewals: &h.renewals, decisions: &h.decisions, topics: &h.topics, grants: &h.grants, clients: &h.clients, answers: &h.answers, pubs: &h.pubs, upgrader: &h.upgrader, acks: &h.acks}
	h.permissions = permitting{env: h.env, events: &h.eventing, grants: &h.grants, topics: &h.topics, answers: &h.answers}
	h.renewals = renewals{env: h.env, events: &h.eventing, users: &h.users, grants: &h.grants, topics: &h.topics, clients: &h.clients, answers: &h.answers, commands: &h.commands,
		permissions: &h.permissions, upgrades: &h.upgrades, heartbeats: &h.heartbeats, leaving: &h.departures}
	h.departures = departures{env: h.env, events: &h.eventing, renewals: &h.renewals, closer: &h.closer, remotes: &h.remotes, buckets: &h.buckets, topics: &h.topics,
		assembly: &h.assembly, fanout: &h.fanout}
	h.arrivals = arrivals{env: h.env, users: &h.users, topics: &h.topics, fanout: &h.fanout, upgrader: &h.upgrader, closer: &h.closer, acks: &h.acks}
	h.fanout.leaving = &h.departures
	h.receiver = receiver{env: h.env, upgrader: &h.upgrader, closer: &h.closer, refuser: &h.refuser, answers: &h.answers, buckets: &h.buckets,
		commands: &h.commands, events: &h.eventing, assembly: &h.assembly, pongs: &h.pongs, decoders: srv.protocols.newDecoders()}
	h.refuser = refuser{env: h.env, upgrades: &h.upgrades, halfOpen: &h.halfOpen, log: &h.log, closer: &h.closer}
	h.giving, h.taking = giving{env: h.env, h: h}, taking{env: h.env, h: h}
	h.fanout.giving, h.fanout.taking, h.dispatcher.giving, h.receiver.taking = &h.giving, &h.taking, &h.giving, &h.taking
	if in := h.opt.Heritage; in != nil {
		h.taking.from = in.From
		if h.index < len(in.Marks) {
			h.taking.marks = in.Marks[h.index]
			h.ps.MarkBacklogs(in.Marks[h.index])
		}
	}
	h.delays = h.opt.newDelays()
	h.shedding = shedding{env: h.env, h: h}
	h.heartbeats.h = h
	h.shutdown = shutdownRun{env: h.env, closer: &h.closer, refuser: &h.refuser}
	h.upgrader = upgrader{env: h.env, arrivals: &h.arrivals, permissions: &h.permissions, buckets: &h.buckets, upgrades: &h.upgrades, halfOpen: &h.halfOpen, remotes: &h.remotes, log: &h.log,
		users: &h.users, grants: &h.grants, topics: &h.topics, fanout: &h.fanout, receiver: &h.receiver, answers: &h.answers,
		closer: &h.closer, refuser: &h.refuser, heartbeats: &h.heartbeats, events: &h.eventing, changes: &h.changes, watch: &h.watch}
	if err := h.upgrader.init(); err != nil {
		return nil, err
	}
	return h, nil
}

// initTables makes the parts that reserve memory outside the Go heap.
func (h *shard) initTables() error {
	if err := h.users.init(&h.env, h); err != nil {
		return err
	}
	if err := h.grants.init(&h.env, &h.users); err != nil {
		return err
	}
	h.clients = clients{h.env, &h.users, &h.grants, &h.remotes, &h.eventing}
	if err := h.topics.init(&h.env, h, &h.fanout); err != nil {
		return err
	}
	if err := h.buckets.init(&h.env, &h.closer, &h.answers, &h.grants, &h.users); err != nil {
		return err
	}
	h.halfOpen.env = h.env
	if err := h.halfOpen.init(h.opt); err != nil {
		return err
	}
	if err := h.remotes.init(&h.env); err != nil {
		return err
	}
	return h.eventing.init(&h.env, &h.clients, &h.renewals)
}

// OnOpen implements poller.Handler.
func (h *shard) OnOpen(slot uint32, state any) {
	h.srv.conns.Add(1)
	h.upgrader.arrived(slot, h.rec(slot), state)
}

// OnMoved implements poller.Handler: an upgrade goes on in the shard of its
// user.
func (h *shard) OnMoved(slot uint32, state any) {
	rec, o := h.rec(slot), state.(*upgrade)
	rec.state, rec.flags = stateJoin, flagWaiting
	if o.remote.IsValid() {
		h.remotes.keep(slot, o.remote, o.counted)
	}
	h.upgrader.register(slot, o)
}

// OnData implements poller.Handler.
func (h *shard) OnData(slot uint32, p []byte) int {
	rec := h.rec(slot)
	if rec.flags&flagReclaimed != 0 {
		return len(p)
	}
	switch rec.state {
	case stateHead:
		return h.upgrader.readHead(slot, p)
	case stateOpen, stateClosing, stateLogin:
		return h.receiver.read(slot, p)
	case stateHalfClosed:
		h.closer.discard(slot, rec, len(p))
		return len(p)
	case stateProxy:
		return h.upgrader.readProxy(slot, p)
	}
	return 0 // paused: an upgrade waits
}

// OnTimer implements poller.Handler.
func (h *shard) OnTimer(slot uint32) {
	rec := h.rec(slot)
	switch rec.state {
	case stateHead, stateAuth, stateJoin, stateProxy, stateLogin:
		h.upgrader.timedOut(slot, rec)
	case stateOpen:
		h.heartbeats.check(slot, rec)
	case stateHalfClosed:
		if h.closer.stillReading(slot, rec) {
			h.ps.SetTimer(slot, h.ps.Now()+halfCloseTime)
			return
		}
		h.ps.Close(slot)
	default:
		h.ps.Close(slot)
	}
}

// OnClose implements poller.Handler.
func (h *shard) OnClose(slot uint32, cause poller.Reason, err error) {
	defer h.srv.connEnded() // also after a panic
	rec := h.rec(slot)
	h.assembly.drop(slot, rec) // before anything that may fail
	if rec.reason == ReasonNone {
		rec.reason = lossReason(cause)
		if rec.openedAt == 0 {
			h.log.ended(slot, rec, err) // refuse and unregister write the lines of others
		}
	}
	h.taking.closing(slot)
	h.halfOpen.leave(rec)
	rec.state = stateHalfClosed
	h.closer.unregister(slot, err)
	h.upgrades.drop(rec)
	h.remotes.forget(slot)
	h.counters.closed[rec.reason].Add(1)
}

// lossReason returns why a connection ended that the session did not close.
func lossReason(cause poller.Reason) Reason {
	switch cause {
	case poller.ReasonEOF:
		return ReasonGone
	case poller.ReasonRead:
		return ReasonReadError
	case poller.ReasonWrite:
		return ReasonWriteError
	case poller.ReasonStop:
		return ReasonShutdown
	}
	return ReasonInternal
}

// OnRefused implements poller.Refuser: a connection was lost on its way to
// this shard.
func (h *shard) OnRefused(state any) {
	if o, ok := state.(*upgrade); ok {
		if o.counted {
			h.srv.addresses.leave(keyOf(o.remote.Addr()), h.srv.now())
		}
		h.upgrades.give(o)
		h.srv.waiting.Add(-1)
		h.srv.connEnded()
	}
}

// OnMail implements poller.Handler.
func (h *shard) OnMail(m poller.Mail) {
	switch m.Kind {
	case mailDelivery:
		if h.opt.Events != nil {
			// A backend that subscribes a session and then pushes to the topic means
			// this session too.
			h.orders.run(h)
		}
		h.dispatcher.dispatch(m.Ptr.(*Delivery))
	case mailUserReady:
		if slot, ok := h.ps.Lookup(poller.ID(m.ID)); ok {
			h.upgrader.ready(slot)
		}
	case mailTopicReady:
		h.topics.ready(m.ID)
	case mailClose:
		h.spreads.hurry()
		h.shedding.stop()
		h.shutdown.begin(m.Ptr.(closeOrder))
	case mailPublished:
		h.pubs.answer()
	case mailCut:
		defer h.ps.Release(poller.QueueBulk, 1)
		h.cut(m.Ptr.(*relocation))
	case mailCall:
		m.Ptr.(func(*shard))(h)
	}
}

// cut takes the mark of a relocation. If both shards are this one, so is the mark.
func (h *shard) cut(r *relocation) {
	if r.from == h {
		h.departures.mark(r)
	}
	if r.to == h {
		h.arrivals.mark(r)
	}
}

// OnTick implements poller.Handler.
func (h *shard) OnTick() {
	if h.pongs.tick() {
		h.ps.PeersLate()
	}
	h.users.trim()
	h.grants.trim()
	h.topics.trim()
	h.buckets.tick()
	h.assembly.trim()
	h.halfOpen.trim()
	h.remotes.trim()
	h.eventing.trim()
	h.srv.addresses.sweep(h.srv.now(), h.index, len(h.srv.shards))
	h.log.tick()
	h.acks.trim()
	h.counters.topics.Store(int64(h.topics.len()))
	h.counters.links.Store(int64(h.topics.links.Len()))
	h.counters.users.Store(int64(h.users.table.Len()))
}

// OnWork implements poller.Handler.
func (h *shard) OnWork() bool {
	more := h.upgrader.startLogins()
	more = h.decided.run(h) || more
	more = h.orders.run(h) || more
	h.commands.wake()
	more = h.renewals.run() || more
	more = h.receiver.endInbound() || more
	more = h.calls.run(h) || more
	more = h.shedding.run() || more
	if len(h.spreads.list) == 0 { // what is left of spreads is sent before sessions end
		more = h.shutdown.run() || more
	}
	more = h.buckets.resume() || more
	more = h.fanout.run() || more // and between two runs h.giving.run
	h.taking.tell()
	more = h.spreads.run() || more // behind the fan-out: it must not wait for spreads
	h.arrivals.run()
	h.changes.flush()
	return more
}

// OnSubmitted implements poller.Handler.
func (h *shard) OnSubmitted() { h.dispatcher.submitted() }

// OnHalfOpen implements poller.HalfOpener.
func (h *shard) OnHalfOpen(slot uint32) { h.upgrader.halfOpened(slot, h.rec(slot)) }

// OnReclaim implements poller.Reclaimer.
func (h *shard) OnReclaim(slot uint32) { h.receiver.reclaim(slot) }

// OnSendFailed implements poller.Handler.
func (h *shard) OnSendFailed(slot uint32, r poller.SendResult) {
	switch r {
	case poller.FramesFull, poller.BytesFull, poller.NodeFull:
		h.closer.slow(slot, r, &h.refuser)
	case poller.ControlLost:
		h.rec(slot).flags &^= flagPinged // the ping was not sent, so no pong is awaited
	}
}

// OnStop implements poller.Handler.
func (h *shard) OnStop() {
	h.pubs.stop()
	h.orders.stop()
	h.decided.stop()
	h.changes.flush()
	h.shutdown.stop()
	h.shedding.stop()
	h.arrivals.stop()
	h.fanout.drop()
	h.spreads.stop()
	h.users.close()
	h.grants.close()
	h.topics.close()
	h.buckets.close()
	h.assembly.close()
	h.halfOpen.close()
	h.remotes.close()
	h.eventing.close()
}
