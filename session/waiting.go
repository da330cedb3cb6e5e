package session

import (
	"net/netip"

	"belfry/offheap"
	"belfry/ws"
)

// upgrade is an upgrade between its steps: parse, choose, authorize, answer.
type upgrade struct {
	accept   []byte // the answer with which the transport accepts the request
	variant  uint8
	echo     bool
	answered bool   // accept was sent; the client has to log in
	ref      string // of its login command
	frames   int    // received before the login
	placed   bool   // Options.Places was asked

	credentials []byte // of the login command
	grant       Grant  // of the authenticator
	awaited     int    // subscriptions of the bus that it waits for; a relocation waits for its mark, too

	// Of a session of nobody that has logged in (relocation).
	move    *relocation // nil: this is no such session
	joined  []joinedTopic
	tokens  [rateCount]int32
	metered bool // tokens is set

	closes bool // the client asked for a subprotocol of the server: it can be told of a refusal by a close code

	route Route  // what Events.Match has returned
	kept  []byte // the same
	agent string // User-Agent, if it is to be kept

	// The client's address, of a connection that moves to another shard and had
	// one in remotes.
	remote  netip.AddrPort
	counted bool
}

// newUpgrade returns an upgrade that was used before, if there is one, so that a
// storm of connections makes no garbage. Any goroutine.
func (s *Server) newUpgrade() *upgrade { return s.upgrades.Get().(*upgrade) }

// putUpgrade gives an upgrade back. Any goroutine.
func (s *Server) putUpgrade(o *upgrade) {
	*o = upgrade{accept: o.accept[:0]}
	s.upgrades.Put(o)
}

// upgrades are the upgrades of a shard that have to wait: for an authenticator, for
// the client's login, or for subscriptions of the bus. Owned by the shard.
type upgrades struct {
	env
	arrivals *arrivals
	index    offheap.Index[*upgrade] // by record.side
}

// put keeps an upgrade in the record of its connection.
func (us *upgrades) put(rec *record, o *upgrade) { rec.side = us.index.Put(o) }

// get returns the upgrade that put has kept.
func (us *upgrades) get(rec *record) *upgrade { return us.index.Get(rec.side) }

// take returns the upgrade that put has kept, and forgets it.
func (us *upgrades) take(rec *record) *upgrade {
	o := us.index.Get(rec.side)
	us.index.Drop(rec.side)
	rec.side = 0
	return o
}

// drop gives back the upgrade of a connection that ends, if it has one. The
// connection must not be counted as half-open any more.
func (us *upgrades) drop(rec *record) {
	if rec.side != 0 && rec.flags&flagMetered == 0 {
		us.give(us.take(rec))
	}
}

// give gives back an upgrade that has failed.
func (us *upgrades) give(o *upgrade) {
	if o.move != nil {
		us.arrivals.drop(o.move)
	}
	us.srv.putUpgrade(o)
}

// startWaiting counts a connection as waiting for its answer, if it is not
// counted yet, and gives it Options.UpgradeTime. It returns a refusal if too
// many wait.
func (us *upgrades) startWaiting(slot uint32) *ws.Refusal {
	n := us.srv.waiting.Load()
	if rec := us.rec(slot); rec.flags&flagWaiting == 0 {
		rec.flags |= flagWaiting
		n = us.srv.waiting.Add(1)
	}
	if n > int64(us.opt.MaxWaiting) {
		us.counters.limit(limitWaiting)
		return ws.Unavailable("too many upgrades wait for an answer (upgrade.max_waiting)", us.opt.RetryAfter).WithCause(CausePending)
	}
	us.ps.SetTimer(slot, us.ps.Now()+ticks(us.opt.UpgradeTime))
	return nil
}

// stopWaiting stops counting a connection as waiting, if it is counted.
func (us *upgrades) stopWaiting(rec *record) {
	if rec.flags&flagWaiting != 0 {
		rec.flags &^= flagWaiting
		us.srv.waiting.Add(-1)
	}
}
