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

	pair  *pair // nil before the connection went to a shard
	pumps atomic.Int32
	once  sync.Once // of shut
}

func (s *Server) newConn(tcp *net.TCPConn) *conn {
	c := &conn{srv: s}
	c.stream.init(tcp, s.gate)
	c.drain = s.opt.drain
	if a, ok := tcp.RemoteAddr().(*net.TCPAddr); ok {
		c.remote = netip.AddrPortFrom(a.AddrPort().Addr().Unmap(), a.AddrPort().Port())
	}
	return c
}

// start starts the two goroutines that a connection has from then on.
func (c *conn) start() {
	c.pumps.Store(2)
	go c.pump(c.up)
	go c.pump(c.down)
}

// pump runs one direction. The last of the two forgets the connection.
func (c *conn) pump(run func()) {
	defer func() {
		if c.pumps.Add(-1) == 0 {
			c.shut()
			c.dropAhead()
			c.srv.count.connections.Add(-1)
			c.srv.forget(c)
		}
	}()
	defer c.recovered()
	run()
}

// recovered makes a panic cost its connection only.
func (c *conn) recovered() {
	if v := recover(); v != nil {
		c.srv.count.panics.Add(1)
		c.srv.opt.Log.Error("a TLS connection panicked", zap.Any("panic", v), zap.Stack("stack"))
		c.shut()
	}
}

// up passes on what the client sends, until the client or the shard ends the
// connection. The shard learns of the client's end as of any: it reads EOF.
func (c *conn) up() {
	for c.decrypt() == nil && c.wait() == nil { // some of the first record may be left
	}
	c.pair.closeWrite()
}

// decrypt passes on what was received. A record that is not complete stays in the
// tls.Conn. Answers to key updates that the socket does not take are sent by down,
// with what the shard sends next: up must not wait for the client to read.
func (c *conn) decrypt() error {
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
			return nil
		case err != nil:
			return err
		}
	}
}

// down passes on what the shard sends, until the shard closes its end.
func (c *conn) down() {
	defer c.shut()
	for {
		buf, n := c.pair.read()
		if n == 0 {
			break
		}
		err := c.write((*buf)[:n])
		giveBuffer(buf)
		if err == nil {
			err = c.flush(c.pair)
		}
		if err != nil {
			return
		}
	}
	c.closeWrite()
	// The shard may still read, until the client has closed too. It has a limit of
	// time for that.
	c.pair.awaitHangUp()
}

// closeWrite tells the client that nothing more comes: a close_notify (RFC 8446
// §6.1), and then FIN for clients that do not look at it.
func (c *conn) closeWrite() {
	if c.closeNotify() == nil && c.flush(c.pair) == nil {
		_ = c.TCPConn.CloseWrite()
	}
}

func (c *conn) closeNotify() error {
	c.gate.enter()
	defer c.gate.leave()
	return c.tls.CloseWrite()
}

func (c *conn) read(p []byte) (int, error) {
	c.gate.enter()
	defer c.gate.leave()
	return c.tls.Read(p)
}

func (c *conn) write(p []byte) error {
	c.gate.enter()
	defer c.gate.leave()
	_, err := c.tls.Write(p)
	return err
}

// shut closes both sides at once, which ends both goroutines. Any goroutine.
func (c *conn) shut() {
	c.once.Do(func() {
		_ = c.TCPConn.Close()
		if c.pair != nil {
			c.pair.close()
		}
	})
}
