package session

import (
	"bytes"
	"time"

	"belfry/message"
	"belfry/offheap"
	"belfry/poller"
	"belfry/wire"
	"belfry/ws"
)

// eventing tells Options.Events about a shard's sessions. A session without a route
// has no record here. Owned by the shard.
type eventing struct {
	env
	clients  *clients
	renewals *renewals

	table  *offheap.Table // by slot: index in all
	all    *offheap.Records[routed]
	blobs  blobs
	agents agents
	recent [recentClients]recentClient // by slot
}

// routed is what is kept of a session for Options.Events. No Go pointers.
type routed struct {
	opened     int64       // when Opened was called: time since the server's start, + 1 ns; 0: not yet
	kept       offheap.Str // what Events.Match has kept
	readFrom   uint32      // tick at which the session was read again after a pause
	unanswered uint32      // messages that await Server.Reply
	route      Route
	agent      uint16 // in eventing.agents
}

// recentClients is for how many sessions of a shard the Client is kept that was told
// last, so that a session that sends many messages makes one. 4 KiB of Match each are
// 0.5 MiB.
const recentClients = 128

type recentClient struct {
	id     poller.ID
	client *Client
}

func (ev *eventing) init(e *env, cs *clients, rs *renewals) (err error) {
	ev.env, ev.clients, ev.renewals = *e, cs, rs
	owner, most := e.opt.Poller.Memory.Owner("events"), 1
	if e.opt.Events != nil || e.opt.KeepAgent {
		most = e.opt.MaxSessions + e.opt.MaxPending
	}
	ev.table = offheap.NewTable(owner)
	if ev.all, err = offheap.NewRecords[routed](owner, most); err != nil {
		return err
	}
	ev.blobs.strs, err = offheap.NewStrs(owner, most)
	return err
}

func (ev *eventing) close() {
	ev.table.Close()
	ev.all.Close()
	ev.blobs.strs.Close()
}

// trim gives memory back that is not used any more.
func (ev *eventing) trim() {
	ev.table.Trim()
	ev.all.Trim()
	ev.blobs.strs.Trim()
}

// match asks Options.Events for the route of an upgrade.
func (ev *eventing) match(req *ws.Request, o *upgrade) {
	if ev.opt.Events != nil {
		var keep []byte
		o.route, keep = ev.opt.Events.Match(req, ev.srv.protocols.variants[o.variant].Encoding.Name())
		switch {
		case o.route == 0:
		case len(keep) > MaxKept:
			ev.counters.limit(limitKept)
		default:
			o.kept = bytes.Clone(keep)
		}
	}
	if o.route != 0 || ev.opt.KeepAgent {
		o.agent = agentOf(req)
	}
}

// keep stores what an upgrade has found for the session that it becomes.
func (ev *eventing) keep(slot uint32, rec *record, o *upgrade) error {
	if o.route == 0 && o.agent == "" {
		return nil
	}
	kept, err := ev.blobs.put(o.kept)
	if err != nil {
		return err
	}
	at, ok := ev.all.Alloc()
	if !ok {
		ev.blobs.free(kept)
		return errNoRoom
	}
	if err := ev.table.Insert(slot, at); err != nil {
		ev.blobs.free(kept)
		ev.all.Free(at)
		return err
	}
	agent, ok := ev.agents.enter(o.agent)
	if !ok {
		ev.counters.limit(limitAgents)
	}
	*ev.all.At(at) = routed{kept: kept, route: o.route, agent: agent}
	rec.flags |= flagKept
	return nil
}

// of returns what is kept of a session, nil if nothing is.
func (ev *eventing) of(slot uint32, rec *record) *routed {
	if rec.flags&flagKept == 0 {
		return nil
	}
	p := ev.table.Probe(slot) // the slot is hash and key at once
	if !p.Next() {
		return nil
	}
	return ev.all.At(p.Val())
}

// wanted says whether the events of an open session are told.
func (ev *eventing) wanted(slot uint32, rec *record) bool {
	if rec.flags&flagKept == 0 {
		return false
	}
	r := ev.of(slot, rec)
	return r != nil && r.opened != 0
}

// client returns what Options.Events is told about a session.
func (ev *eventing) client(slot uint32) *Client {
	id, last := ev.ps.ID(slot), &ev.recent[slot%recentClients]
	if last.id == id {
		return last.client
	}
	*last = recentClient{id, ev.clients.of(slot)}
	return last.client
}

// changed is called when a session's Client is not what it was.
func (ev *eventing) changed(slot uint32) {
	if last := &ev.recent[slot%recentClients]; last.id.Slot() == slot {
		*last = recentClient{}
	}
}

// opened tells that a session is open.
func (ev *eventing) opened(slot uint32, rec *record) {
	r := ev.of(slot, rec)
	if r == nil || r.route == 0 {
		return
	}
	r.opened = int64(ev.srv.clock()) + 1
	ev.ps.Protect(ev.ps.ID(slot), func() { ev.opt.Events.Opened(ev.client(slot)) })
}

// closed tells that a session has ended, if Opened was told, and forgets what was
// kept of it. It is called while the session is still in the table of users.
func (ev *eventing) closed(slot uint32, rec *record) {
	r := ev.of(slot, rec)
	if r == nil {
		return
	}
	if r.opened != 0 {
		lasted := ev.srv.clock() - time.Duration(r.opened-1)
		r.opened = 0 // whatever Closed does, it is not called again
		ev.ps.Protect(0, func() { ev.opt.Events.Closed(ev.client(slot), rec.reason, lasted) })
	}
	ev.changed(slot)
	if rec.flags&flagHeld != 0 {
		rec.flags &^= flagHeld
		ev.ps.Resume(slot) // the client's close frame has to be read
	}
	ev.agents.leave(r.agent)
	ev.blobs.free(r.kept)
	p := ev.table.Probe(slot)
	p.Next()
	at := p.Val()
	ev.table.Delete(slot, at)
	ev.all.Free(at)
	rec.flags &^= flagKept
}

// carry stores in o what is kept of a session that goes on as another one.
func (ev *eventing) carry(slot uint32, rec *record, o *upgrade) {
	if r := ev.of(slot, rec); r != nil {
		o.route, o.kept, o.agent = r.route, bytes.Clone(ev.blobs.get(r.kept)), ev.agents.name(r.agent)
	}
}

// answered says whether every message of a session that awaits an answer has it.
func (ev *eventing) answered(slot uint32, rec *record) bool {
	r := ev.of(slot, rec)
	return r == nil || r.unanswered == 0
}

// reply counts an answer.
func (ev *eventing) reply(slot uint32, rec *record) {
	if r := ev.of(slot, rec); r != nil && r.unanswered > 0 {
		r.unanswered--
		ev.renewals.recheck(slot, rec)
	}
}

// received hands a message to Options.Events. The session must be wanted.
func (ev *eventing) received(slot uint32, rec *record, m *Inbound) {
	if m.Answered {
		ev.of(slot, rec).unanswered++
	}
	if ev.opt.Events.Received(ev.client(slot), m) {
		ev.hold(slot, rec)
	}
}

// data hands a payload without commands to Options.Events. It returns false if the
// session has no route.
func (ev *eventing) data(slot uint32, rec *record, kind message.Kind, p []byte) bool {
	if !ev.wanted(slot, rec) {
		return false
	}
	ev.received(slot, rec, &Inbound{Kind: kind, Payload: bytes.Clone(p)})
	return true
}

// subscribed tells that commands of a client began subscriptions.
func (ev *eventing) subscribed(slot uint32, rec *record, topics []string) {
	for _, topic := range topics {
		ev.opt.Events.Subscribed(ev.client(slot), topic)
	}
}

// unsubscribed tells that a subscription of a client has ended. The session must be
// wanted.
func (ev *eventing) unsubscribed(slot uint32, rec *record, topic string) {
	ev.opt.Events.Unsubscribed(ev.client(slot), topic)
}

// hold stops reading a session until release. Its client is not asked for a pong
// meanwhile, which could not be read.
func (ev *eventing) hold(slot uint32, rec *record) {
	if rec.state != stateOpen || rec.flags&flagHeld != 0 {
		return
	}
	ev.counters.paused.Add(1)
	rec.flags = rec.flags&^flagPinged | flagHeld
	ev.ps.Pause(slot)
}

// release reads a session again, unless something else keeps it from being read. The
// time in which nothing was read does not count as silence of the client.
func (ev *eventing) release(slot uint32, rec *record) {
	if rec.flags&flagHeld == 0 {
		return
	}
	rec.flags &^= flagHeld
	rec.pingedAt = ev.ps.Now()
	if r := ev.of(slot, rec); r != nil {
		r.readFrom = ev.ps.Now()
	}
	ev.readOn(slot, rec)
	ev.ps.SetTimer(slot, ev.ps.Now()+1) // the heartbeats look what is due now
}

// lastRead returns the tick from which on a session's client has been silent.
func (ev *eventing) lastRead(slot uint32, rec *record) uint32 {
	read := ev.ps.LastRead(slot)
	if rec.flags&flagKept != 0 {
		if r := ev.of(slot, rec); r != nil {
			return max(read, r.readFrom)
		}
	}
	return read
}

// forward hands the message of an OpSend or OpRPC to Options.Events.
func (cs *commands) forward(slot uint32, rec *record, c *wire.Command) {
	if !cs.events.wanted(slot, rec) {
		cs.answers.fail(slot, c.Ref, "forbidden", "", "no route of the gateway takes messages of this session (gateway.routes)")
		return
	}
	if c.Op == wire.OpRPC && c.Ref == "" { // an encoding need not have checked either
		cs.answers.fail(slot, "", "bad_request", "ref", "missing; an rpc needs one, because its answer repeats it")
		return
	}
	if c.Topic != "" {
		if err := message.CheckTopic(c.Topic); err != nil {
			cs.answers.fail(slot, c.Ref, "bad_request", "topic", err.Error())
			return
		}
	}
	cs.events.received(slot, rec, &Inbound{Event: c.Event, Topic: c.Topic, Ref: c.Ref, RPC: c.Op == wire.OpRPC, Answered: true,
		Kind: c.Kind, JSON: c.JSON, Payload: c.Payload})
}
