package push

import (
	"net"
	"net/netip"
	"sync"

	"belfry/ws"
)

// connLimit bounds the connections that are open at once. Past the bound a
// connection on which nothing is done for its client gives way to a new one:
// one that was answered and only reads on, else the one that has waited
// longest. A pool in use waits for milliseconds, idle connections for longer;
// and those that carried a push under a key go last, so that strangers cannot
// close the connections of backends. One address may hold half of the places:
// past that its remote connections give way. Only connections that are being
// served refuse a new one.
type connLimit struct {
	max int

	mu        sync.Mutex // guards the rest, and the fields of conn that say so
	open      int        // those that gave way not included
	remotes   map[netip.Prefix]*remoteConns
	evictable evictQueues // of all addresses
}

// remoteConns is a remote address with open connections.
type remoteConns struct {
	open      int
	evictable evictQueues // of this address
}

// evictRank says when a connection gives way, the first rank first.
type evictRank uint8

const (
	rankAnswered  evictRank = iota // reads the rest of a body so that the answer arrives
	rankAnonymous                  // waits for a request, or for its client to read
	rankKeyed                      // likewise; it has carried what needs a key
	rankCount
	rankServed = rankCount // does not give way
)

// evictQueues are connections that give way, of each rank the longest first.
type evictQueues [rankCount]list[*conn]

func (q *evictQueues) first() *conn {
	for i := range q {
		if e := q[i].first; e != nil {
			return e.of
		}
	}
	return nil
}

func newConnLimit(most int) *connLimit {
	return &connLimit{max: most, remotes: map[netip.Prefix]*remoteConns{}}
}

// take gives c a place, if need be that of victim, which has to be told.
func (l *connLimit) take(c *conn) (victim *conn, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	remote := l.remotes[c.remote]
	if l.open >= l.max {
		from := &l.evictable
		if remote != nil && remote.open >= max(1, l.max/2) {
			from = &remote.evictable
		}
		if victim = from.first(); victim == nil {
			return nil, false
		}
		victim.evicted.Store(true)
		l.free(victim)
		remote = l.remotes[c.remote] // the victim may have been its last
	}
	l.open++
	if remote == nil {
		remote = new(remoteConns)
		l.remotes[c.remote] = remote
	}
	remote.open++
	c.remoteConns, c.limit, c.rank, c.idle = remote, l, rankServed, true
	l.move(c, rankAnonymous)
	return victim, true
}

// free gives c's place back.
func (l *connLimit) free(c *conn) {
	l.move(c, rankServed)
	l.open--
	if c.remoteConns.open--; c.remoteConns.open == 0 {
		delete(l.remotes, c.remote)
	}
}

// move makes c the last of a rank, if it is not in it already.
func (l *connLimit) move(c *conn, to evictRank) {
	if c.rank == to {
		return
	}
	if c.rank != rankServed {
		l.evictable[c.rank].remove(&c.link)
		c.remoteConns.evictable[c.rank].remove(&c.remoteLink)
	}
	if c.rank = to; to != rankServed {
		l.evictable[to].pushBack(&c.link)
		c.remoteConns.evictable[to].pushBack(&c.remoteLink)
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
