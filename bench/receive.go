package bench

import (
	"bytes"
	"encoding/binary"
	"strconv"

	"golang.org/x/sys/unix"
)

// readEvents makes the kernel report new bytes once. A level-triggered set
// checks every connection a second time only to find that nothing is left (man
// 7 epoll).
const readEvents = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET

// readEvents is the constant unless Wire.Level asks for a level-triggered set.
func (w *wire) readEvents() uint32 {
	if w.Level {
		return readEvents &^ unix.EPOLLET
	}
	return readEvents
}

// receive reads all available bytes of connection i, up to its end if it has
// ended. A read that does not fill the buffer has emptied the socket.
func (c *Client) receive(i uint32, ended bool) {
	for {
		n, e := read(c.conns[i].fd, c.buf)
		switch {
		case e == unix.EINTR:
			continue
		case e == unix.EAGAIN:
			return
		case e != 0:
			c.end(i, errnoName(e))
			return
		case n == 0:
			c.end(i, "EOF")
			return
		}
		c.received(i, n)
		if !ended && n < len(c.buf) || c.conns[i].state == connClosed {
			return
		}
	}
}

// received handles the complete frames in n bytes of the buffer and in the rest
// from before.
func (c *Client) received(i uint32, n int) {
	k := &c.conns[i]
	c.stats.Bytes += uint64(n)
	data := c.buf[:n]
	if len(c.tails) != 0 {
		if tail, ok := c.tails[i]; ok {
			data = append(tail, data...)
			delete(c.tails, i)
		}
	}
	if k.state == connUpgrading {
		n, err := c.wire.parseResponse(data)
		if err != nil {
			c.end(i, err.Error())
			return
		}
		if n == 0 {
			c.keep(i, data)
			return
		}
		data = data[n:]
		if !c.greet(i) {
			return
		}
	}
	if c.wire.Events {
		c.eventStream(i, data)
		return
	}
	c.frames(i, data)
}

// frames handles the complete frames of data and keeps the rest.
func (c *Client) frames(i uint32, data []byte) {
	for len(data) > 0 {
		f, n, err := parseFrame(data, c.wire.Deflate)
		if err != nil {
			c.end(i, err.Error())
			return
		}
		if n == 0 {
			c.keep(i, data)
			return
		}
		data = data[n:]
		switch f.Op {
		case opText, opBinary:
			c.message(i, f.Payload, f.Compressed)
			if c.conns[i].state == connClosed {
				return
			}
		case opPing:
			c.answer(i, f.Payload)
		case opClose:
			cause := "close frame"
			if len(f.Payload) >= 2 {
				cause = "close " + strconv.Itoa(int(binary.BigEndian.Uint16(f.Payload)))
			}
			c.end(i, cause)
			return
		}
	}
}

// keep copies p, which the next read overwrites.
func (c *Client) keep(i uint32, p []byte) { c.tails[i] = append([]byte(nil), p...) }

// greet sends the messages of Wire.OnOpen on connection i. The connection is
// then ready, unless a message must say so. greet returns false if the
// connection was lost.
func (c *Client) greet(i uint32) bool {
	k := &c.conns[i]
	k.state = connGreeting
	if c.wire.Ready == "" {
		c.open(i)
	}
	for _, t := range c.wire.onOpen {
		c.text = t.Append(c.text[:0], c.wire.values(int(k.number), nil))
		if !c.send(i, c.text) {
			return false
		}
	}
	return true
}

// send sends one message on connection i. If the socket has no room for all of
// it, the connection ends: the generator cannot fill a socket whose server
// reads.
func (c *Client) send(i uint32, text []byte) bool {
	op := byte(opText)
	if c.wire.Binary {
		op = opBinary
	}
	c.out = appendMasked(c.out[:0], op, mask(i), text)
	switch n, e := write(c.conns[i].fd, c.out); {
	case e != 0:
		c.end(i, "sending: "+errnoName(e))
		return false
	case n < len(c.out):
		c.end(i, "sending: the socket is full")
		return false
	}
	return true
}

// message checks and counts what one message holds. All receivers of a
// broadcast mostly get the same bytes, so comparing with the last message
// saves inflating and reading it again.
func (c *Client) message(i uint32, p []byte, compressed bool) {
	now := c.clock.Now()
	if len(p) > 0 && bytes.Equal(p, c.known) {
		c.take(i, c.knownAs, now)
		return
	}
	content := p
	if compressed {
		var ok bool
		if content, ok = c.inflater.inflate(p); !ok {
			c.stats.Corrupt++
			return
		}
	}
	c.content(i, p, content, now)
}

// content checks and counts what a message says that arrived as the bytes raw.
func (c *Client) content(i uint32, raw, p []byte, now int64) {
	if !c.wire.Wrapped {
		m, ok := ParsePayload(p)
		if !ok {
			c.stats.Corrupt++
			return
		}
		c.remember(raw, m)
		c.take(i, m, now)
		return
	}
	answered := c.conversation(i, p)
	if answered > 0 && answered == len(p) || c.conns[i].state == connClosed {
		return
	}
	var first Message
	found := 0
	for rest := p; ; found++ {
		m, after, err := FindPayload(rest)
		if err == ErrDamaged {
			c.stats.Corrupt++
			return
		}
		if err != nil {
			break
		}
		if found == 0 {
			first = m
		}
		rest = after
		c.take(i, m, now)
	}
	switch {
	case found == 0:
		c.stats.Other++
	case found == 1 && answered == 0: // on another connection the answer would be missing
		c.remember(raw, first)
	}
}

func (c *Client) remember(p []byte, m Message) { c.known, c.knownAs = append(c.known[:0], p...), m }

// conversation handles the messages of the server's own protocol in p: the one
// that says that the connection is ready, and those that need an answer. It
// returns how many bytes of p were answered.
func (c *Client) conversation(i uint32, p []byte) (answered int) {
	if c.conns[i].state == connGreeting && bytes.Contains(p, []byte(c.wire.Ready)) {
		c.open(i)
	}
	switch {
	case c.reply(i, p):
		return len(p)
	case len(c.wire.Answers) == 0 || bytes.IndexByte(p, '\n') < 0:
		return 0
	}
	for line := range bytes.Lines(p) {
		if c.reply(i, line) || c.reply(i, bytes.TrimSuffix(line, []byte("\n"))) {
			answered += len(line)
		}
	}
	return answered
}

// reply sends the answer to message p of connection i and says whether there is
// one.
func (c *Client) reply(i uint32, p []byte) bool {
	for _, a := range c.wire.Answers {
		if string(p) == a.To {
			c.stats.Other++
			c.send(i, []byte(a.With))
			return true
		}
	}
	return false
}

// take counts one payload.
func (c *Client) take(i uint32, m Message, now int64) {
	k := &c.conns[i]
	switch {
	case m.Stream == Direct && int(m.User) != c.wire.user(int(k.number)):
		c.stats.Misled++
	case k.slow && m.Stream == Broadcast:
		k.broadcast.Take(m.Seq, &c.stats.Slowed)
	case k.slow:
		k.direct.Take(m.Seq, &c.stats.Slowed)
	case m.Stream == Broadcast:
		k.broadcast.Take(m.Seq, &c.stats.Broadcast)
		c.stats.LastBroadcast = now
		c.stats.Broadcasts.Record(now - m.Stamp)
	default:
		k.direct.Take(m.Seq, &c.stats.Direct)
		c.stats.LastDirect = now
		c.stats.Directs.Record(now - m.Stamp)
		if c.echo != nil {
			c.echoed(i)
		}
	}
}

// answer sends the pong for a ping (RFC 6455 §5.5.3). If the socket is full it
// sends none and counts that.
func (c *Client) answer(i uint32, ping []byte) {
	k := &c.conns[i]
	k.pings++
	c.stats.Pings++
	c.out = appendMasked(c.out[:0], opPong, mask(i), ping)
	if n, e := write(k.fd, c.out); e != 0 || n < len(c.out) {
		c.stats.PongsLost++
		return
	}
	c.stats.Pongs++
}

// mask returns the mask of connection i. Masks protect proxies from bytes
// chosen by a web page (RFC 6455 §10.3); there is none here, so any mask will
// do.
func mask(i uint32) uint32 { return 0x9e3779b9 * (i + 1) }
