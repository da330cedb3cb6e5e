package poller

import "math/bits"

// Buffers of minUnread bytes are kept to be used again, at most maxSpareUnread
// of them. Most unread bytes fit into one.
const (
	minUnread      = 256
	maxSpareUnread = 256
)

// unread returns the bytes that a connection has received and the handler has
// not consumed. They are valid until the next call for the connection.
func (x *accounts) unread(c *conn) []byte {
	if a := x.of(c); a != nil {
		return a.unread
	}
	return nil
}

// keepUnread stores a copy of the bytes that stay unread, usually none or few.
// If the node has no room for them, the connection's own account is reclaimed.
func (x *accounts) keepUnread(slot uint32, c *conn, rest []byte) {
	if len(rest) == 0 {
		x.dropUnread(c)
		return
	}
	size := unreadSize(len(rest))
	if have := cap(x.unread(c)); have < size {
		if _, ok := x.charge(slot, c, size-have); !ok {
			x.reclaimFrom(slot)
			return
		}
		x.replaceUnread(c, size)
	} else if have > 4*size {
		x.replaceUnread(c, size)
		x.uncharge(c, x.of(c), have-size)
	}
	a := x.of(c)
	a.unread = append(a.unread[:0], rest...)
}

// unreadSize returns the capacity of a buffer for n unread bytes: a power of
// two, since a client may send byte by byte.
func unreadSize(n int) int { return max(minUnread, 1<<bits.Len(uint(n-1))) }

// replaceUnread gives a connection an empty buffer of another size, which is
// charged already.
func (x *accounts) replaceUnread(c *conn, size int) {
	a := x.of(c)
	x.freeUnread(a.unread)
	if n := len(x.spare); n > 0 && size == minUnread {
		a.unread = x.spare[n-1]
		x.spare = x.spare[:n-1]
		return
	}
	a.unread = make([]byte, 0, size)
}

// chargeOf returns how many bytes are charged for unread bytes that are on
// their way between shards.
func chargeOf(unread []byte) int {
	if len(unread) == 0 {
		return 0
	}
	return cap(unread)
}

// adoptUnread takes over unread bytes that came with a connection from another
// shard or from outside, and that the node counts already.
func (x *accounts) adoptUnread(slot uint32, c *conn, unread []byte) {
	if len(unread) > 0 {
		x.node.add(accountSize)
		x.open(x.conns.id(slot), c, accountSize+cap(unread)).unread = unread
	}
}

// dropUnread forgets the unread bytes of a connection.
func (x *accounts) dropUnread(c *conn) {
	a := x.of(c)
	if a == nil || a.unread == nil {
		return
	}
	b := a.unread
	a.unread = nil
	x.freeUnread(b)
	x.uncharge(c, a, cap(b))
}

func (x *accounts) freeUnread(b []byte) {
	if cap(b) == minUnread && len(x.spare) < maxSpareUnread {
		x.spare = append(x.spare, b)
	}
}
