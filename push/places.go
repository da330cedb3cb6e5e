package push

import (
	"net"
	"net/netip"
	"sync"

	"belfry/session"
)

// places bounds the connections that are open at once. Past the bound a
// connection that waits for a request, whether between two requests or with
// half a head, gives way to a new one: of the remote address with the most
// such connections, the one that has waited longest. So a new connection is not
// refused because of idle ones, and one address cannot hold all places with
// heads that do not arrive. It is refused only if all are being served.
type places struct {
	max int

	mu     sync.Mutex // guards the rest, and the fields of conn that say so
	open   int        // those that gave way not included
	owners map[netip.Prefix]*owner
	crowds []list[*owner] // owners by how many of their connections wait, in the order of arrival there
}

// owner is a remote address with open connections.
type owner struct {
	open    int
	waiting list[*conn] // the longest first
	n       int         // how many wait
	link    link[*owner]
}

func newPlaces(most int) *places {
	return &places{max: most, owners: map[netip.Prefix]*owner{}, crowds: make([]list[*owner], 1)}
}

// take gives c a place, if need be that of victim, which has to be told.
func (p *places) take(c *conn) (victim *conn, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open >= p.max {
		if victim = p.longest(); victim == nil {
			return nil, false
		}
		victim.leaving.Store(true)
		p.free(victim)
	}
	p.open++
	own := p.owners[c.remote]
	if own == nil {
		own = new(owner)
		own.link.of = own
		p.owners[c.remote] = own
	}
	own.open++
	c.own, c.at = own, p
	p.wait(c)
	return victim, true
}

// longest returns who is to give way, nil if every connection is being served.
func (p *places) longest() *conn {
	own := p.crowds[len(p.crowds)-1].first
	if own == nil {
		return nil
	}
	return own.of.waiting.first.of
}

// free gives c's place back.
func (p *places) free(c *conn) {
	p.stopWaiting(c)
	p.open--
	if c.own.open--; c.own.open == 0 {
		delete(p.owners, c.remote)
	}
}

// wait appends c to those of its address that wait.
func (p *places) wait(c *conn) {
	if !c.waits {
		c.waits = true
		c.own.waiting.pushBack(&c.link)
		p.count(c.own, 1)
	}
}

func (p *places) stopWaiting(c *conn) {
	if c.waits {
		c.waits = false
		c.own.waiting.remove(&c.link)
		p.count(c.own, -1)
	}
}

// count moves an owner to the crowd of those with as many waiting. The last
// crowd is never empty, but for crowd 0, which is not used.
func (p *places) count(own *owner, by int) {
	if own.n > 0 {
		p.crowds[own.n].remove(&own.link)
	}
	own.n += by
	if own.n == len(p.crowds) {
		p.crowds = append(p.crowds, list[*owner]{})
	}
	if own.n > 0 {
		p.crowds[own.n].pushBack(&own.link)
	}
	if last := len(p.crowds) - 1; last > 0 && p.crowds[last].first == nil {
		p.crowds = p.crowds[:last]
	}
}

// remoteOf returns what counts as one remote address.
func remoteOf(a net.Addr) netip.Prefix {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	return session.ClientPrefix(tcp.AddrPort().Addr())
}
