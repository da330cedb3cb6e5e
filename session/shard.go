package session

import (
	"belfry/offheap"
	"belfry/poller"
	"belfry/wire"
	"belfry/ws"
)

// shard is the session side of one poller.Shard. All of it is owned by the
// shard's goroutine but the counters and what is marked otherwise.
type shard struct {
	srv       *Server
	opt       *Options // never changed
	intervals intervals
	ps        *poller.Shard
	index     int

	parser     *ws.Parser
	decoders   []wire.Decoder // by variant
	writer     wire.Writer
	buf        []byte // frames that are built for one session
	date       ws.Date
	read       readState
	buckets    buckets
	inbounds   assembly
	reclaimed  []poller.ID // connections that gave up what they held, to be ended
	pubQueue   pubQueue
	upgrades   offheap.Index[*upgrade]
	logins     []poller.ID // in stateAuth, whose credentials the authenticator has not seen yet
	halfOpen   halfOpen
	remotes    remotes
	origin     []byte  // of the request that is being refused, for its line
	conns      connLog // lines about connections
	lost       error   // what ended the connection that OnClose is called for
	badGrantAt uint32  // tick at which the authenticator was last complained about, + 1

	usersChanged uint64         // how often the sessions of some user did
	users        *offheap.Table // by hash of the uid: the user's youngest session
	uids         *offheap.Strs
	topics       topics
	fanout       fanout
	closing      shutdownRun
	stagedPushes []stagedPush // pushes whose sends are staged

	// Written by the shard, read by others.
	counters      counters
	latency       latency  // of pushes to users and sessions
	fanoutLatency latency  // of pushes to topics and all
	pubs          chan pub // to the shard's publisher goroutine; closed by OnStop
}

// Kinds of mail.
const (
	mailDelivery   uint32 = iota // Ptr: *Delivery
	mailAuth                     // ID: connection; Ptr: *verdict
	mailUserReady                // ID: connection
	mailTopicReady               // ID: topic token
	mailClose                    // Ptr: closeOrder
	mailCall                     // Ptr: func(*shard)
	mailPublished                // there is something in publishing.told
)

func newShard(srv *Server, ps *poller.Shard) (*shard, error) {
	h := &shard{srv: srv, opt: &srv.opt, intervals: srv.opt.intervals(), ps: ps, index: ps.Index()}
	var err error
	head := ws.ParserOptions{MaxHead: srv.opt.MaxHead}
	if srv.opt.Healthy != nil {
		head.HealthPath = HealthPath
	}
	if h.parser, err = ws.NewParser(head); err != nil {
		return nil, err
	}
	for i := range srv.protocols.variants {
		h.decoders = append(h.decoders, srv.protocols.variants[i].Transport.NewDecoder())
	}
	memory := srv.opt.Poller.Memory
	h.users = offheap.NewTable(memory.Owner("users"))
	if h.uids, err = offheap.NewStrs(memory.Owner("users"), srv.opt.MaxSessions+srv.opt.MaxPending); err != nil {
		return nil, err
	}
	if err = h.topics.init(h.opt); err != nil {
		return nil, err
	}
	if err = h.buckets.init(&srv.opt); err != nil {
		return nil, err
	}
	if err = h.halfOpen.init(h.opt); err != nil {
		return nil, err
	}
	if err = h.remotes.init(memory.Owner("remotes"), h.opt.remotes()); err != nil {
		return nil, err
	}
	h.conns = newConnLog(h.opt.Log, h.opt.Poller.Shards)
	h.fanout.init(h)
	h.inbounds = assembly{ps: ps, buffers: ps.NewBuffers()}
	if h.opt.Publish != nil {
		h.pubs = make(chan pub, h.opt.PublishQueue)
		h.pubQueue.own = map[poller.ID]int{}
	}
	return h, nil
}

// OnOpen implements poller.Handler.
func (h *shard) OnOpen(slot uint32, state any) {
	h.srv.conns.Add(1)
	h.arrived(slot, h.rec(slot), state)
}

// OnMoved implements poller.Handler: an upgrade goes on in the shard of its
// user.
func (h *shard) OnMoved(slot uint32, state any) {
	rec, o := h.rec(slot), state.(*upgrade)
	rec.state, rec.flags = stateJoin, flagWaiting
	if o.remote.IsValid() {
		h.keepRemote(slot, o.remote, o.counted)
	}
	h.register(slot, o)
}

// OnData implements poller.Handler.
func (h *shard) OnData(slot uint32, p []byte) int {
	rec := h.rec(slot)
	if rec.flags&flagReclaimed != 0 {
		return len(p)
	}
	switch rec.state {
	case stateHead:
		return h.readHead(slot, p)
	case stateOpen, stateClosing, stateLogin:
		return h.readFrames(slot, p)
	case stateHalfClosed:
		return len(p)
	case stateProxy:
		return h.readProxy(slot, p)
	}
	return 0 // paused: an upgrade waits
}

// OnTimer implements poller.Handler.
func (h *shard) OnTimer(slot uint32) {
	rec := h.rec(slot)
	switch rec.state {
	case stateHead, stateAuth, stateJoin, stateProxy:
		rec.reason = ReasonHandshakeTime
		h.counters.limit(limitUpgradeTime)
		if rec.state == stateJoin {
			h.refuse(slot, ws.Unavailable("the bus between the servers does not answer", h.opt.RetryAfter).WithCause(CauseBus))
			return
		}
		h.refuse(slot, &ws.Refusal{Status: 408, Cause: CauseTimeout, Detail: "the upgrade took too long"})
	case stateLogin:
		h.counters.limit(limitUpgradeTime)
		h.end(slot, ReasonLogin, "no login in time")
	case stateOpen:
		h.heartbeat(slot, rec)
	default:
		h.ps.Close(slot)
	}
}

// OnClose implements poller.Handler.
func (h *shard) OnClose(slot uint32, cause poller.Reason, err error) {
	defer h.srv.connEnded() // also when something in it panics
	rec := h.rec(slot)
	h.inbounds.drop(rec) // before anything that may fail
	if rec.reason == ReasonNone {
		switch cause {
		case poller.ReasonEOF:
			rec.reason = ReasonGone
		case poller.ReasonRead:
			rec.reason = ReasonReadError
		case poller.ReasonWrite:
			rec.reason = ReasonWriteError
		case poller.ReasonStop:
			rec.reason = ReasonShutdown
		default:
			rec.reason = ReasonInternal
		}
		if rec.openedAt == 0 {
			h.logEnded(slot, rec, err) // refusals and sessions have their line elsewhere
		}
	}
	h.dropHalfOpen(rec)
	rec.state = stateHalfClosed
	h.lost = err
	h.unregister(slot)
	h.lost = nil
	h.dropUpgrade(rec)
	h.forgetRemote(slot)
	h.counters.closed[rec.reason].Add(1)
}

// OnRefused implements poller.Refuser: a connection was lost on its way to
// this shard.
func (h *shard) OnRefused(state any) {
	if o, ok := state.(*upgrade); ok {
		if o.counted {
			h.srv.addresses.leave(keyOf(o.remote.Addr()), h.srv.now())
		}
		h.srv.putUpgrade(o)
		h.srv.waiting.Add(-1)
		h.srv.connEnded()
	}
}

// OnMail implements poller.Handler.
func (h *shard) OnMail(m poller.Mail) {
	switch m.Kind {
	case mailDelivery:
		h.dispatch(m.Ptr.(*Delivery))
	case mailAuth:
		h.authDone(poller.ID(m.ID), m.Ptr.(*authResult))
	case mailUserReady:
		if slot, ok := h.ps.Lookup(poller.ID(m.ID)); ok {
			h.ready(slot)
		}
	case mailTopicReady:
		h.topicReady(m.ID)
	case mailClose:
		h.closing.begin(h, m.Ptr.(closeOrder))
	case mailPublished:
		h.answerPubs()
	case mailCall:
		m.Ptr.(func(*shard))(h)
	}
}

// OnTick implements poller.Handler.
func (h *shard) OnTick() {
	h.uids.Trim()
	h.users.Trim()
	h.topics.trim()
	h.buckets.tick(h)
	h.inbounds.trim()
	h.halfOpen.trim()
	h.remotes.trim()
	h.srv.addresses.sweep(h.srv.now(), h.index, len(h.srv.shards))
	h.conns.tick(h.index)
	h.counters.topics.Store(int64(h.topics.len()))
	h.counters.links.Store(int64(h.topics.links.Len()))
	h.counters.users.Store(int64(h.users.Len()))
}

// OnWork implements poller.Handler.
func (h *shard) OnWork() bool {
	more := h.startLogins()
	h.wakeWaiters()
	more = h.endInbound() || more
	more = h.closing.run(h) || more
	more = h.resumeSlowed() || more
	return h.fanout.run() || more
}

// OnStop implements poller.Handler.
func (h *shard) OnStop() {
	if h.pubs != nil {
		close(h.pubs)
	}
	h.closing.stop()
	h.fanout.drop()
	h.users.Close()
	h.uids.Close()
	h.topics.close()
	h.buckets.all.Close()
	h.inbounds.close()
	h.halfOpen.close()
	h.remotes.close()
}
