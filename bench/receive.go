package bench

import (
	"bytes"
	"encoding/binary"
	"strconv"

	"golang.org/x/sys/unix"
)

// receive reads once from connection i and handles what is whole. The set is
// level-triggered, so what one read leaves brings another event.
func (c *Client) receive(i uint32) {
	k := &c.conns[i]
	n, e := read(k.fd, c.buf)
	switch {
	case e == unix.EAGAIN || e == unix.EINTR:
		return
	case e != 0:
		c.end(i, errnoName(e))
		return
	case n == 0:
		c.end(i, "EOF")
		return
	}
	data := c.buf[:n]
	if len(c.tails) != 0 {
		if tail, ok := c.tails[i]; ok {
			data = append(tail, data...)
			delete(c.tails, i)
		}
	}
	if k.state == connUpgrading {
		n, err := ParseResponse(data)
		if err != nil {
			c.end(i, err.Error())
			return
		}
		if n == 0 {
			c.keep(i, data)
			return
		}
		data = data[n:]
		k.state = connOpen
		c.stats.Open++
		c.dial.opened(c.clock.Now())
	}
	c.frames(i, data)
}

// frames handles the whole frames of data and keeps the rest.
func (c *Client) frames(i uint32, data []byte) {
	for len(data) > 0 {
		f, n, err := ParseFrame(data)
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
			c.message(i, f.Payload)
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

// keep copies p, which is gone at the next read.
func (c *Client) keep(i uint32, p []byte) { c.tails[i] = append([]byte(nil), p...) }

// message checks and counts one message. All receivers of a broadcast get the
// same bytes, so comparing with the last payload saves reading it again.
func (c *Client) message(i uint32, p []byte) {
	now := c.clock.Now()
	if !bytes.Equal(p, c.known) {
		s, seq, stamp, ok := ParsePayload(p)
		if !ok {
			c.stats.Corrupt++
			return
		}
		c.known = append(c.known[:0], p...)
		c.knownAs = message{s, seq, stamp}
	}
	k := &c.conns[i]
	if c.knownAs.stream == Broadcast {
		k.broadcast.Take(c.knownAs.seq, &c.stats.Broadcast)
		c.stats.LastBroadcast = now
		return
	}
	k.direct.Take(c.knownAs.seq, &c.stats.Direct)
	c.stats.LastDirect = now
	c.latency.record(now - c.knownAs.stamp)
}

// answer sends the pong for a ping (RFC 6455 §5.5.3). A socket that is full
// gets none: nothing the generator sends fills one, so it is counted.
func (c *Client) answer(i uint32, ping []byte) {
	k := &c.conns[i]
	k.pings++
	c.stats.Pings++
	c.pong = appendControl(c.pong[:0], opPong, 0x9e3779b9*(i+1), ping)
	if n, e := write(k.fd, c.pong); e != 0 || n < len(c.pong) {
		c.stats.PongsLost++
		return
	}
	c.stats.Pongs++
}
