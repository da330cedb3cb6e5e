package hostile

import (
	"bytes"
	"syscall"

	"golang.org/x/sys/unix"
)

// ends are the events of a closed connection.
const ends = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR

func (a *attacker) handle(i, events uint32) {
	b := &a.bots[i]
	if b.state == botClosed {
		return
	}
	if b.state == botConnecting {
		if !a.connected(i) {
			return
		}
		events &^= unix.EPOLLOUT
	}
	if events&(unix.EPOLLIN|ends) != 0 {
		if !a.receive(i, events&ends != 0) {
			return
		}
	}
	if events&unix.EPOLLOUT != 0 {
		a.send(i)
	}
}

// connected sends the beginning of the connection.
func (a *attacker) connected(i uint32) bool {
	b := &a.bots[i]
	if e, err := unix.GetsockoptInt(int(b.fd), unix.SOL_SOCKET, unix.SO_ERROR); err == nil && e != 0 {
		a.end(i, syscall.Errno(e).Error())
		return false
	}
	if a.plan.Head != nil {
		head := a.plan.Head(b.number)
		if n, err := unix.SendmsgN(int(b.fd), head, nil, nil, unix.MSG_NOSIGNAL); err != nil || n < len(head) {
			cause := "the socket is full"
			if err != nil {
				cause = err.Error()
			}
			a.end(i, cause)
			return false
		}
		a.count(len(head))
	}
	b.state = botUpgrading
	if a.plan.accepted() == "" {
		a.activate(i)
	}
	return a.rearm(i)
}

// activate begins the attack of a connection.
func (a *attacker) activate(i uint32) {
	b := &a.bots[i]
	b.state = botActive
	a.pending--
	a.report.Connected++
	b.due = a.clock.Now()
}

// rearm sets the events of connection i in epoll.
func (a *attacker) rearm(i uint32) bool {
	b := &a.bots[i]
	var events uint32
	if !b.eof {
		events = unix.EPOLLRDHUP
		if a.plan.Reads || b.state == botUpgrading {
			events |= unix.EPOLLIN
		}
	}
	if b.state == botActive && a.wants(b) && !b.parked {
		events |= unix.EPOLLOUT
	}
	if events == b.events {
		return true
	}
	b.events = events
	ev := unix.EpollEvent{Events: events, Fd: int32(i)}
	if err := unix.EpollCtl(a.epfd, unix.EPOLL_CTL_MOD, int(b.fd), &ev); err != nil {
		a.end(i, err.Error())
		return false
	}
	return true
}

// wants says whether there are bytes to send when the socket accepts them.
func (a *attacker) wants(b *bot) bool {
	switch {
	case len(b.left) > 0:
		return true
	case a.plan.Renew:
		return a.plan.Flood != nil && b.round < 2
	case a.plan.Flood != nil:
		return true
	}
	return len(a.plan.Once) > 0 && b.round < max(a.plan.OnceTimes, 1)
}

// lastPing is sent behind the buffer of a connection that will be renewed.
var lastPing = appendFrame(nil, true, opPing, nil)

// next returns the next buffer, nil if there is none.
func (a *attacker) next(b *bot) []byte {
	b.round++
	switch {
	case a.plan.Renew && b.round > 1:
		return lastPing
	case a.plan.Flood != nil:
		return a.plan.Flood(b.number, b.round)
	case b.round <= max(a.plan.OnceTimes, 1):
		return a.plan.Once
	}
	return nil
}

// send sends until the socket is full, or until it is the turn of other
// connections.
func (a *attacker) send(i uint32) {
	b := &a.bots[i]
	for sent := 0; b.state == botActive && sent < turnBytes && a.wants(b); {
		if !a.mayPast(i) {
			return
		}
		if len(b.left) == 0 {
			b.left = a.next(b)
			continue
		}
		n, err := unix.SendmsgN(int(b.fd), b.left, nil, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		switch err {
		case nil:
		case unix.EAGAIN, unix.EINTR:
			return
		default:
			a.readAll(i)
			a.end(i, errnoName(err))
			return
		}
		a.count(n)
		sent += n
		a.allowed -= int64(n)
		b.left = b.left[n:]
	}
	if b.state == botActive {
		a.rearm(i)
	}
}

// receive reads the available bytes, and all if the connection has ended.
func (a *attacker) receive(i uint32, ended bool) bool {
	b := &a.bots[i]
	for {
		n, err := unix.Read(int(b.fd), a.buf)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return true
		case err != nil:
			a.end(i, errnoName(err))
			return false
		case n == 0 && a.plan.Stays && b.state == botActive:
			return a.shutDown(i)
		case n == 0:
			a.end(i, "EOF")
			return false
		}
		a.received(i, a.buf[:n])
		if b.state == botClosed {
			return false
		}
		if !ended && n < len(a.buf) {
			return true
		}
	}
}

// shutDown notes that the server sends no more on a connection that stays.
func (a *attacker) shutDown(i uint32) bool {
	b := &a.bots[i]
	if !b.ended {
		a.closed(b, "EOF")
	}
	b.eof = true
	return a.rearm(i)
}

// readAll reads the rest of a connection that cannot be written to any more. It
// may contain the close code.
func (a *attacker) readAll(i uint32) {
	b := &a.bots[i]
	for {
		n, err := unix.Read(int(b.fd), a.buf)
		if err != nil || n <= 0 {
			return
		}
		a.received(i, a.buf[:n])
		if b.state == botClosed {
			return
		}
	}
}

// received parses bytes of the server.
func (a *attacker) received(i uint32, p []byte) {
	b := &a.bots[i]
	a.report.Received += uint64(len(p))
	if b.head != nil || b.state == botUpgrading || a.plan.accepted() == "" {
		rest, whole := a.answer(b, p)
		if !whole {
			return
		}
		if a.plan.Deflate && !b.got.deflate {
			a.end(i, "permessage-deflate was declined")
			return
		}
		a.activate(i)
		if a.plan.Renew && a.plan.Flood == nil {
			a.renew(i)
			return
		}
		if p = rest; !a.rearm(i) {
			return
		}
	}
	if !a.plan.Upgrade {
		return
	}
	limited := b.got.limited
	b.got.take(p)
	a.report.Limited += b.got.limited - limited
	switch {
	case b.got.closed != "" && b.state == botActive && !b.ended:
		a.closed(b, b.got.closed) // a hostile client continues until the socket is closed
	case a.plan.Renew && b.got.pongs > 0:
		a.renew(i)
	}
}

// answer collects the head of an HTTP answer and counts its status. whole says
// that the head is complete and accepts the connection; rest is what follows it.
func (a *attacker) answer(b *bot, p []byte) (rest []byte, whole bool) {
	want := a.plan.accepted()
	if want == "" && b.round > 0 { // the body of a counted answer
		return nil, false
	}
	if want == anyAnswer {
		return nil, true
	}
	b.head = append(b.head, p...)
	end := bytes.Index(b.head, []byte("\r\n\r\n"))
	if end < 0 || len(b.head) < 12 {
		return nil, false
	}
	head, rest := b.head[:end], b.head[end+4:]
	b.head = nil
	status := string(head[9:12])
	a.report.Answers[status]++
	switch want {
	case "":
		b.round = 1
	case status:
		b.got.deflate = bytes.Contains(head, []byte("permessage-deflate"))
		return rest, true
	default:
		b.got.closed = "status " + status
	}
	return nil, false
}

// mayPast says whether the cap allows more bytes. If not, bot i is parked until
// it does.
func (a *attacker) mayPast(i uint32) bool {
	if a.allowed > 0 {
		return true
	}
	if b := &a.bots[i]; !b.parked {
		b.parked = true
		a.parked = append(a.parked, i)
		a.rearm(i)
	}
	return false
}

// unpark lets parked bots send again as far as the cap allows. At most 20 ms of
// the cap accumulate, so that the attackers do not send in bursts.
func (a *attacker) unpark() {
	now := a.clock.Now()
	a.allowed = min(a.allowed+(now-a.filled)*int64(a.plan.Cap)/1e9, int64(a.plan.Cap)/50)
	a.filled = now
	for n := len(a.parked); n > 0 && a.allowed > 0; n-- {
		i := a.parked[0]
		a.parked = a.parked[1:]
		if b := &a.bots[i]; b.state == botActive && b.parked {
			b.parked = false
			a.send(i)
		}
	}
}

// drips sends the bytes that are due.
func (a *attacker) drips() {
	if len(a.plan.Drip) == 0 {
		return
	}
	now := a.clock.Now()
	for i := range a.bots {
		b := &a.bots[i]
		if b.state != botActive || b.due > now {
			continue
		}
		b.due = now + int64(a.plan.Every)
		k := b.at % len(a.plan.Drip)
		_, err := unix.SendmsgN(int(b.fd), a.plan.Drip[k:k+1], nil, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		switch err {
		case nil:
			b.at++
			a.count(1)
		case unix.EAGAIN, unix.EINTR:
		default:
			a.readAll(uint32(i))
			a.end(uint32(i), errnoName(err))
		}
	}
}

// count adds to what was sent.
func (a *attacker) count(n int) {
	a.report.Sent += uint64(n)
	k := int((a.clock.Now() - a.start) / int64(slice))
	for len(a.slices) <= k {
		a.slices = append(a.slices, 0)
	}
	a.slices[k] += uint64(n)
}

// finish returns the report so far. Clients that do not read are read once,
// because a close frame may wait.
func (a *attacker) finish() Report {
	if !a.plan.Reads {
		for i := range a.bots {
			if a.bots[i].state != botActive {
				continue
			}
			a.readAll(uint32(i))
		}
	}
	r := a.report
	r.Seconds = float64(a.clock.Now()-a.start) / 1e9
	r.Open = a.open - a.pending
	per := slice.Seconds()
	for _, n := range a.slices {
		r.Peak = max(r.Peak, float64(n)/per)
	}
	// The current slice is not complete.
	if k := int((a.clock.Now()-a.start)/int64(slice)) - 1; k >= 0 && k < len(a.slices) {
		r.End = float64(a.slices[k]) / per
	}
	return r
}

func errnoName(err error) string {
	if e, ok := err.(syscall.Errno); ok {
		if s := unix.ErrnoName(e); s != "" {
			return s
		}
	}
	return err.Error()
}
