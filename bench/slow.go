package bench

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// slowBuffer is the receive buffer of a connection that stops reading, in
// bytes, so that the server soon has to keep its messages.
const slowBuffer = 4 << 10

// readBuffer is its receive buffer when it reads again, in bytes.
const readBuffer = 128 << 10

// Slow makes a share of the open connections stop reading, spread evenly, and
// returns how many there are. They answer no pings either. Read shows what the
// server did to them.
func (c *Client) Slow(share float64) (int, error) {
	if share <= 0 || share > 1 {
		return 0, fmt.Errorf("share: %v; above 0 and at most 1", share)
	}
	for i := range c.conns {
		k := &c.conns[i]
		n := float64(k.number)
		if k.state != connOpen || k.slow || int((n+1)*share) == int(n*share) {
			continue
		}
		if err := unix.EpollCtl(c.epfd, unix.EPOLL_CTL_DEL, int(k.fd), nil); err != nil {
			return c.stats.Slow, fmt.Errorf("epoll_ctl: %w", err)
		}
		_ = unix.SetsockoptInt(int(k.fd), unix.SOL_SOCKET, unix.SO_RCVBUF, slowBuffer) // otherwise it only takes longer
		k.slow, k.watched = true, false
		c.stats.Slow++
	}
	return c.stats.Slow, nil
}

// Read makes the slow connections read again and returns how many there are.
// Their messages count as Slowed.
func (c *Client) Read() (n int) {
	for i := range c.conns {
		k := &c.conns[i]
		if k.state != connOpen || !k.slow || k.watched {
			continue
		}
		ev := unix.EpollEvent{Events: c.wire.readEvents(), Fd: int32(i)}
		if err := unix.EpollCtl(c.epfd, unix.EPOLL_CTL_ADD, int(k.fd), &ev); err != nil {
			c.end(uint32(i), "epoll_ctl: "+err.Error())
			continue
		}
		_ = unix.SetsockoptInt(int(k.fd), unix.SOL_SOCKET, unix.SO_RCVBUF, readBuffer) // otherwise it only takes longer
		k.watched = true
		n++
	}
	return n
}
