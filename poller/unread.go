package poller

import "math/bits"

// Tails of up to minTail bytes, which is most of them, are kept to be used
// again, and so many of them.
const (
	minTail   = 256
	freeTails = 256
)

// tail returns what a connection has received and the handler not consumed.
func (s *Shard) tail(c *conn) []byte {
	if a := s.account(c); a != nil {
		return a.tail
	}
	return nil
}

// keepTail stores what stays unread, which is little or nothing. Where the node
// has no room for it, the connection is told by OnReclaim.
func (s *Shard) keepTail(slot uint32, c *conn, rest []byte) {
	if len(rest) == 0 {
		s.dropTail(c)
		return
	}
	size := tailSize(len(rest))
	if have := cap(s.tail(c)); have < size {
		if _, ok := s.charge(slot, c, size-have); !ok {
			s.reclaimFrom(slot)
			return
		}
		s.replaceTail(c, size)
	} else if have > 4*size {
		s.replaceTail(c, size)
		s.uncharge(c, s.account(c), have-size)
	}
	a := s.account(c)
	a.tail = append(a.tail[:0], rest...)
}

// tailSize returns the capacity of a tail of n bytes: a power of two, since
// a client may send byte by byte.
func tailSize(n int) int { return max(minTail, 1<<bits.Len(uint(n-1))) }

// replaceTail gives c an empty tail of another size, counted already.
func (s *Shard) replaceTail(c *conn, size int) {
	a := s.account(c)
	s.freeTail(a.tail)
	if n := len(s.freeTails); n > 0 && size == minTail {
		a.tail = s.freeTails[n-1]
		s.freeTails = s.freeTails[:n-1]
		return
	}
	a.tail = make([]byte, 0, size)
}

// chargeOf returns what unread bytes count for on their way between shards.
func chargeOf(unread []byte) int {
	if len(unread) == 0 {
		return 0
	}
	return cap(unread)
}

// takeTail has c hold what came with it from another shard, or from outside,
// and was counted when it left.
func (s *Shard) takeTail(slot uint32, c *conn, unread []byte) {
	if len(unread) > 0 {
		s.loop.inbound.Add(accountSize)
		s.openAccount(slot, c, accountSize+cap(unread)).tail = unread
	}
}

// dropTail forgets what c left unread.
func (s *Shard) dropTail(c *conn) {
	a := s.account(c)
	if a == nil || a.tail == nil {
		return
	}
	t := a.tail
	a.tail = nil
	s.freeTail(t)
	s.uncharge(c, a, cap(t))
}

func (s *Shard) freeTail(t []byte) {
	if cap(t) == minTail && len(s.freeTails) < freeTails {
		s.freeTails = append(s.freeTails, t)
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
