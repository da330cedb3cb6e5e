package bridge

import (
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
)

// conn is a client's connection: its socket, the TLS on it, and the pair with the
// shard.
type conn struct {
	stream
	srv    *Server
	tls    *tls.Conn
	remote netip.AddrPort // of the client, behind a proxy too

	decrypted bool // of up: nothing is left of what came before it

	pair     *pair // nil before the connection went to a shard
	up, down direction
	left     atomic.Int32 // directions that have not ended
	once     sync.Once    // of shut
}

func (s *Server) newConn(tcp *net.TCPConn) *conn {
	c := &conn{srv: s}
	c.up.c, c.down.c = c, c
	c.stream.init(tcp, s.gate, s.shakes)
	c.drain = s.opt.drain
	if a, ok := tcp.RemoteAddr().(*net.TCPAddr); ok {
		c.remote = netip.AddrPortFrom(a.AddrPort().Addr().Unmap(), a.AddrPort().Port())
	}
	return c
}

// watch makes poll look after both directions. Before start it wakes none.
func (c *conn) watch() error {
	if err := c.srv.poll.add(c.stream.raw, &c.up); err != nil {
		return err
	}
	c.pair.writer = &c.up
	return c.srv.poll.add(c.pair.raw, &c.down)
}

// start starts the two directions.
func (c *conn) start() {
	c.left.Store(2)
	c.up.start()
	c.down.start()
}

// ended is called by each direction at its end. The last one forgets the connection.
func (c *conn) ended() {
	if c.left.Add(-1) == 0 {
		c.shut()
		c.dropAhead()
		c.srv.count.connections.Add(-1)
		c.srv.forget(c)
	}
}

// recovered makes a panic cost its connection only.
func (c *conn) recovered() {
	if v := recover(); v != nil {
		c.srv.count.panics.Add(1)
		c.srv.opt.Log.Error("a TLS connection panicked", zap.Any("panic", v), zap.Stack("stack"))
		c.shut()
	}
}

// passUp passes on what the client sends, until the client or the shard ends the
// connection. The shard learns of the client's end as of any: it reads EOF.
func (c *conn) passUp() outcome {
	for range rounds {
		err := c.decrypt() // at first: what has come with the first record
		if err == nil {
			err = c.fetch()
		}
		switch {
		case err == errAgain:
			return idle
		case err != nil:
			c.pair.closeWrite()
			return over
		}
	}
	return more
}

// decrypt passes on what was received. A record that is not complete stays in the
// tls.Conn. Answers to key updates that the socket does not take are sent by passDown,
// with what the shard sends next: passUp must not wait for the client to read.
func (c *conn) decrypt() error {
	if c.decrypted && len(c.ahead) == 0 {
		return nil
	}
	buf := takeBuffer(smallBuffer)
	defer giveBuffer(buf)
	for {
		n, err := c.read(*buf)
		if n > 0 {
			if err := c.pair.write((*buf)[:n]); err != nil {
				return err
			}
		}
		switch {
		case err == errAgain:
			c.decrypted = true
			return nil
		case err != nil:
			return err
		}
	}
}

// passDown passes on what the shard sends, until the shard closes its end.
func (c *conn) passDown() outcome {
	for range rounds {
		buf, n, err := c.pair.read()
		switch {
		case err == errAgain:
			return idle
		case err != nil:
			c.endDown()
			return over
		}
		err = c.write((*buf)[:n])
		giveBuffer(buf)
		if err == nil {
			err = c.flushDown()
		}
		if err != nil {
			c.shut()
			return over
		}
	}
	return more
}

// flushDown sends what is owed. It waits for a client that does not read.
func (c *conn) flushDown() error {
	if !c.owes() {
		return nil
	}
	c.down.detach()
	return c.flush(c.pair)
}

// endDown ends the connection after the shard has sent everything. The shard may
// still read, until the client has closed too. It has a limit of time for that.
func (c *conn) endDown() {
	defer c.shut()
	c.closeWrite()
	c.down.detach()
	c.pair.awaitHangUp()
}

// closeWrite tells the client that nothing more comes: a close_notify (RFC 8446
// §6.1), and then FIN for clients that do not look at it.
func (c *conn) closeWrite() {
	if c.closeNotify() == nil && c.flushDown() == nil {
		_ = c.TCPConn.CloseWrite()
	}
}

func (c *conn) closeNotify() error {
	c.enter()
	defer c.leave()
	return c.tls.CloseWrite()
}

func (c *conn) read(p []byte) (int, error) {
	c.enter()
	defer c.leave()
	return c.tls.Read(p)
}

func (c *conn) write(p []byte) error {
	c.enter()
	defer c.leave()
	_, err := c.tls.Write(p)
	return err
}

// shut closes both sides at once, which ends both directions. Any goroutine.
func (c *conn) shut() {
	c.once.Do(func() {
		_ = c.TCPConn.Close()
		if c.pair != nil {
			c.pair.close()
		}
		c.up.wake() // closing is no event of epoll
		c.down.wake()
	})
}
