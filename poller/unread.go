package poller

import "math/bits"

// Tails of up to minTail bytes, which is most of them, are kept to be used
// again, and so many of them.
const (
	minUnread      = 256
	maxSpareUnread = 256
)

// unread returns what a connection has received and the handler not consumed.
func (s *Shard) unread(c *conn) []byte {
	if a := s.account(c); a != nil {
		return a.unread
	}
	return nil
}

// keepUnread stores what stays unread, which is little or nothing. Where the node
// has no room for it, the connection is told by OnReclaim.
func (s *Shard) keepUnread(slot uint32, c *conn, rest []byte) {
	if len(rest) == 0 {
		s.dropUnread(c)
		return
	}
	size := unreadSize(len(rest))
	if have := cap(s.unread(c)); have < size {
		if _, ok := s.charge(slot, c, size-have); !ok {
			s.reclaimFrom(slot)
			return
		}
		s.resizeUnread(c, size)
	} else if have > 4*size {
		s.resizeUnread(c, size)
		s.uncharge(c, s.account(c), have-size)
	}
	a := s.account(c)
	a.unread = append(a.unread[:0], rest...)
}

// unreadSize returns the capacity of a tail of n bytes: a power of two, since
// a client may send byte by byte.
func unreadSize(n int) int { return max(minUnread, 1<<bits.Len(uint(n-1))) }

// resizeUnread gives c an empty tail of another size, counted already.
func (s *Shard) resizeUnread(c *conn, size int) {
	a := s.account(c)
	s.freeUnread(a.unread)
	if n := len(s.spareUnread); n > 0 && size == minUnread {
		a.unread = s.spareUnread[n-1]
		s.spareUnread = s.spareUnread[:n-1]
		return
	}
	a.unread = make([]byte, 0, size)
}

// chargeOf returns what unread bytes count for on their way between shards.
func chargeOf(unread []byte) int {
	if len(unread) == 0 {
		return 0
	}
	return cap(unread)
}

// adoptUnread has c hold what came with it from another shard, or from outside,
// and was counted when it left.
func (s *Shard) adoptUnread(slot uint32, c *conn, unread []byte) {
	if len(unread) > 0 {
		s.loop.inbound.Add(accountSize)
		s.openAccount(slot, c, accountSize+cap(unread)).unread = unread
	}
}

// dropUnread forgets what c left unread.
func (s *Shard) dropUnread(c *conn) {
	a := s.account(c)
	if a == nil || a.unread == nil {
		return
	}
	t := a.unread
	a.unread = nil
	s.freeUnread(t)
	s.uncharge(c, a, cap(t))
}

func (s *Shard) freeUnread(t []byte) {
	if cap(t) == minUnread && len(s.spareUnread) < maxSpareUnread {
		s.spareUnread = append(s.spareUnread, t)
	}
}

// Paused says whether reading a connection is paused. Resumed returns the tick
// at which it went on last, if it was paused while the connection held
// something; ok is false if it never was.
func (s *Shard) Paused(slot uint32) bool { return s.at(slot).flags&flagPaused != 0 }
func (s *Shard) Resumed(slot uint32) (tick uint32, ok bool) {
	a := s.account(s.at(slot))
	if a == nil || !a.paused {
		return 0, false
	}
	return a.resumed, true
}
