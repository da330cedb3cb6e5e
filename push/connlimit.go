package push

import (
	"net"
	"net/netip"
	"sync"

	"belfry/ws"
)

// connLimit bounds the number of open connections. At the limit a new connection
// evicts one that is not being served: one that was answered and only reads the
// rest of a body, or else the one that has waited longest. Connections of a pool
// in use wait for milliseconds, and idle connections wait longer. Connections on
// which a request with a key has succeeded are evicted last, so that strangers
// cannot close the connections of backends. If an address has half of the places,
// its new connections evict its own. If all connections are being served, the new
// one is refused.
type connLimit struct {
	max int

	mu        sync.Mutex // guards the rest, and the fields of conn that say so
	open      int        // without evicted connections
	remotes   map[netip.Prefix]*remoteConns
	evictable evictQueues // of all addresses
}

// remoteConns is a remote address with open connections.
type remoteConns struct {
	open      int
	evictable evictQueues // of this address
}

// evictRank is the order of eviction: connections of the first rank go first.
type evictRank uint8

const (
	rankAnswered  evictRank = iota // it only reads the rest of a body, so that its answer arrives
	rankAnonymous                  // it waits for a request, or for its client to read
	rankKeyed                      // the same, and a request with a key has succeeded on it
	rankCount
	rankServed = rankCount // it is being served and is not evicted
)

// evictQueues has the connections that can be evicted, by rank. In each queue the
// connection that has waited longest is first.
type evictQueues [rankCount]list[*conn]

// first returns the next connection to evict, nil if there is none.
func (q *evictQueues) first() *conn {
	for i := range q {
		if e := q[i].first; e != nil {
			return e.value
		}
	}
	return nil
}

func newConnLimit(most int) *connLimit {
	return &connLimit{max: most, remotes: map[netip.Prefix]*remoteConns{}}
}

// take gives c a place. If this is the place of another connection, take returns
// that connection as victim, and the caller must call its evict. ok is false if
// there is no place.
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

// move gives c another rank and makes it the last in its queues. It does nothing
// if c has this rank already.
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

// remoteOf returns the prefix that counts as one remote address: an IPv4 address
// or an IPv6 /64.
func remoteOf(a net.Addr) netip.Prefix {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	return ws.ClientPrefix(tcp.AddrPort().Addr())
}
