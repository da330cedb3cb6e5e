package push

import (
	"net"
	"net/netip"
	"sync"

	"belfry/ws"
)

// places bounds the connections that are open at once. Past the bound a
// connection on which nothing is done for its client gives way to a new one:
// one that was answered and only reads on, else the one that has waited
// longest. A pool in use waits for milliseconds, idle connections for longer;
// and those that carried a push under a key go last, so that strangers cannot
// close the connections of backends. One address may hold half of the places:
// past that its own connections give way. Only connections that are being
// served refuse a new one.
type places struct {
	max int

	mu     sync.Mutex // guards the rest, and the fields of conn that say so
	open   int        // those that gave way not included
	owners map[netip.Prefix]*owner
	giving ranks // of all addresses
}

// owner is a remote address with open connections.
type owner struct {
	open   int
	giving ranks // of this address
}

// rank says when a connection gives way, the first rank first.
type rank uint8

const (
	rankAnswered rank = iota // reads the rest of a body so that the answer arrives
	rankStranger             // waits for a request, or for its client to read
	rankProven               // likewise; it has carried what needs a key
	rankCount
	rankServed = rankCount // does not give way
)

// ranks are connections that give way, of each rank the longest first.
type ranks [rankCount]list[*conn]

func (r *ranks) first() *conn {
	for i := range r {
		if e := r[i].first; e != nil {
			return e.of
		}
	}
	return nil
}

func newPlaces(most int) *places {
	return &places{max: most, owners: map[netip.Prefix]*owner{}}
}

// take gives c a place, if need be that of victim, which has to be told.
func (p *places) take(c *conn) (victim *conn, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	own := p.owners[c.remote]
	if p.open >= p.max {
		from := &p.giving
		if own != nil && own.open >= max(1, p.max/2) {
			from = &own.giving
		}
		if victim = from.first(); victim == nil {
			return nil, false
		}
		victim.leaving.Store(true)
		p.free(victim)
		own = p.owners[c.remote] // the victim may have been its last
	}
	p.open++
	if own == nil {
		own = new(owner)
		p.owners[c.remote] = own
	}
	own.open++
	c.own, c.at, c.rank, c.waits = own, p, rankServed, true
	p.move(c, rankStranger)
	return victim, true
}

// free gives c's place back.
func (p *places) free(c *conn) {
	p.move(c, rankServed)
	p.open--
	if c.own.open--; c.own.open == 0 {
		delete(p.owners, c.remote)
	}
}

// move makes c the last of a rank, if it is not in it already.
func (p *places) move(c *conn, to rank) {
	if c.rank == to {
		return
	}
	if c.rank != rankServed {
		p.giving[c.rank].remove(&c.link)
		c.own.giving[c.rank].remove(&c.ownLink)
	}
	if c.rank = to; to != rankServed {
		p.giving[to].pushBack(&c.link)
		c.own.giving[to].pushBack(&c.ownLink)
	}
}

// remoteOf returns what counts as one remote address.
func remoteOf(a net.Addr) netip.Prefix {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	return ws.ClientPrefix(tcp.AddrPort().Addr())
}
