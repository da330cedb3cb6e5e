package session

import (
	"sync/atomic"

	"belfry/poller"
	"belfry/ws"
)

// decision is what the authenticator is asked about a connection. Decisions are used
// again, so that a storm of connections makes little garbage.
type decision struct {
	upgrader *upgrader
	id       poller.ID
	bytes    int           // that the authenticator is given
	number   atomic.Uint64 // of the question; another one as soon as it is answered
	result   authResult    // set by later
	finish   func(*shard)  // d.take, made once
}

// authResult is what an authenticator has found.
type authResult struct {
	grant   Grant
	refusal *ws.Refusal
}

// maxSpareDecisions is how many decisions a shard keeps, about 350 bytes each.
const maxSpareDecisions = 256

// ask begins a decision for which the authenticator is given n bytes.
func (u *upgrader) ask(id poller.ID, n int) (*decision, *ws.Refusal) {
	if refusal := u.keepBytes(n); refusal != nil {
		return nil, refusal
	}
	var d *decision
	if last := len(u.spare) - 1; last >= 0 {
		d, u.spare = u.spare[last], u.spare[:last]
	} else {
		d = &decision{upgrader: u}
		d.finish = d.take
	}
	d.id, d.bytes = id, n
	return d, nil
}

// later returns what takes the answer, if it needs time. The first call counts, even if
// another one comes when the decision is used again. The function may be called by any
// goroutine.
func (d *decision) later() func(Grant, *ws.Refusal) {
	number := d.number.Load()
	return func(g Grant, r *ws.Refusal) {
		if d.number.CompareAndSwap(number, number+1) {
			d.result = authResult{g, r}
			d.upgrader.srv.waitingBytes.Add(-int64(d.bytes))
			d.upgrader.decided(d.finish)
		}
	}
}

// take goes on with the upgrade after later. It runs on the shard.
func (d *decision) take(*shard) {
	id, result := d.id, d.result
	d.drop()
	d.upgrader.authDone(id, result.grant, result.refusal)
}

// cancel ends a decision that was made at once, without later.
func (d *decision) cancel() {
	if n := d.number.Load(); d.number.CompareAndSwap(n, n+1) {
		d.upgrader.srv.waitingBytes.Add(-int64(d.bytes))
		d.drop()
	}
}

// drop keeps a decision for another connection.
func (d *decision) drop() {
	d.result = authResult{}
	if u := d.upgrader; len(u.spare) < maxSpareDecisions {
		u.spare = append(u.spare, d)
	}
}
