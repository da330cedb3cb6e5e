package line

import (
	"bytes"
	"strconv"
)

// readSize is the number of bytes that an inherited connection reads at once.
const readSize = 32 << 10

// reader is what a Conn has read.
type reader struct {
	scanner
	raw   []byte // read and not translated
	ready []byte // translated and not given to nats.go
	store []byte // the array of ready
	buf   []byte // the array of raw
}

// greeting is the handshake of an inherited connection: nats.go gets the server's INFO
// and sends CONNECT and PING, which the server must not see, and gets a PONG. nats.go
// does all of this on one goroutine.
type greeting struct{ wrote []byte }

// answered takes what nats.go answers to INFO. The caller holds mu.
func (g *greeting) answered(c *Conn, p []byte) error {
	g.wrote = append(g.wrote, p...)
	switch {
	case len(g.wrote) > maxLine:
		return errLongLine
	case bytes.HasSuffix(g.wrote, []byte("\r\nPING\r\n")):
		c.greeting = nil
		c.in.ready = []byte("PONG\r\n")
	}
	return nil
}

// greets reports whether the handshake with nats.go goes on.
func (c *Conn) greets() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.greeting != nil
}

// readInherited is Read of an inherited connection.
func (c *Conn) readInherited(p []byte) (int, error) {
	for len(c.in.ready) == 0 {
		if c.greets() {
			return 0, errHandshake
		}
		if c.hold.Load() != nil && c.in.aligned() {
			if err := c.wait(); err != nil {
				return 0, err
			}
			continue
		}
		if len(c.in.raw) == 0 {
			if c.in.buf == nil {
				c.in.buf = make([]byte, readSize)
			}
			n, err := c.Conn.Read(c.in.buf)
			if n == 0 && c.interrupted(err) {
				continue
			}
			if n == 0 {
				return 0, err
			}
			c.in.raw = c.in.buf[:n]
		}
		if err := c.translateIn(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.in.ready)
	c.in.ready = c.in.ready[n:]
	return n, nil
}

// translateIn translates what was read, up to the next boundary if reading is to stop.
func (c *Conn) translateIn() error {
	in := &c.in
	in.store = in.store[:0]
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(in.raw) > 0 && (c.hold.Load() == nil || !in.aligned()) {
		payload := in.payload > 0
		n, line, err := in.step(in.raw)
		switch {
		case err != nil:
			return err
		case payload:
			in.store = append(in.store, in.raw[:n]...)
		case line != nil && in.payload > 0:
			in.store = c.table.appendMessage(in.store, line)
		case line != nil:
			c.listen(line)
		}
		in.raw = in.raw[n:]
	}
	in.ready = in.store
	return nil
}

// listen takes a control line without a payload. The caller holds mu.
func (c *Conn) listen(line []byte) {
	switch {
	case is(line, "pong") && c.skip > 0:
		c.skip--
		return
	case is(line, "pong"):
		c.pings--
	case is(line, "info"):
		c.info = append(c.info[:0], line...)
	}
	c.in.store = append(c.in.store, line...)
}

// unknown is the number of a subscription that nats.go does not have: it drops the
// message. (Its own numbers begin with 1.)
const unknown = "0"

// appendMessage appends a MSG or HMSG line with nats.go's number of the subscription.
func (t *table) appendMessage(dst, line []byte) []byte {
	begin, end := third(line)
	sid, ok := t.local[string(line[begin:end])]
	if !ok {
		sid = unknown
	}
	dst = append(dst, line[:begin]...)
	dst = append(dst, sid...)
	return append(dst, line[end:]...)
}

// third returns where the third word of a line is.
func third(line []byte) (begin, end int) {
	blank := func(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }
	for word := 0; word < 3; word++ {
		for begin = end; begin < len(line) && blank(line[begin]); {
			begin++
		}
		for end = begin; end < len(line) && !blank(line[end]); {
			end++
		}
	}
	return begin, end
}

// translateOut translates what nats.go writes on an inherited connection. It keeps back
// a line whose end has not come. The result is valid until the next call. The caller
// holds mu.
func (c *Conn) translateOut(p []byte) []byte {
	b := c.wbuf[:0]
	for len(p) > 0 {
		payload := c.out.payload > 0
		n, line, err := c.out.step(p)
		switch {
		case err != nil: // not of nats.go; the server will refuse it
			n, b = len(p), append(b, p...)
		case payload:
			b = append(b, p[:n]...)
		case line == nil:
		case c.out.payload > 0:
			b = append(b, line...)
		case is(line, "sub"):
			if s, known := c.table.subscribed(line); !known {
				b = appendSub(b, s)
			}
		case is(line, "unsub"):
			if sid, most := c.table.unsubscribed(line); sid != "" {
				b = appendUnsub(b, sid, most)
			}
		default:
			c.said(line)
			b = append(b, line...)
		}
		p = p[n:]
	}
	c.wbuf = b
	if cap(b) > 1<<20 {
		c.wbuf = nil
	}
	return b
}

func appendSub(b []byte, s Sub) []byte {
	b = append(append(append(b, "SUB "...), s.Subject...), ' ')
	if s.Queue != "" {
		b = append(append(b, s.Queue...), ' ')
	}
	return append(append(b, s.SID...), "\r\n"...)
}

func appendUnsub(b []byte, sid, most string) []byte {
	b = append(append(b, "UNSUB "...), sid...)
	if _, err := strconv.Atoi(most); err == nil {
		b = append(append(b, ' '), most...)
	}
	return append(b, "\r\n"...)
}
