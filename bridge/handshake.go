package bridge

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"belfry/session"
	"belfry/ws"
)

// refused is the error of a connection that does not reach a shard.
type refused struct {
	cause  Cause
	err    error
	answer *ws.Refusal // sent before the connection is closed; nil: nothing is
}

func (r *refused) Error() string { return fmt.Sprintf("%v: %v", r.cause, r.err) }

// Waits of an accept loop after an error, as in net/http.
const (
	leastPause = 5 * time.Millisecond
	mostPause  = time.Second
)

// accept accepts connections until the listener is closed.
func (s *Server) accept(l *listener) {
	pause := leastPause
	for {
		tcp, err := l.AcceptTCP()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // no descriptor left, usually
			s.count.errors.Add(1)
			s.opt.Log.Warn("cannot accept", zap.Error(err))
			time.Sleep(pause)
			pause = min(2*pause, mostPause)
			continue
		}
		pause = leastPause
		s.count.accepted.Add(1)
		if s.count.handshaking.Add(1) > int64(s.opt.MaxHandshakes) {
			s.count.handshaking.Add(-1)
			s.count.refused[CauseMaxHandshakes].Add(1)
			_ = tcp.Close()
			continue
		}
		go s.serve(tcp, l.proxy)
	}
}

// serve brings a connection from accept to its shard, or closes it.
func (s *Server) serve(tcp *net.TCPConn, proxy bool) {
	c := s.newConn(tcp)
	if !s.remember(c) {
		s.count.handshaking.Add(-1)
		_ = tcp.Close()
		return
	}
	placed := false
	defer func() {
		s.count.handshaking.Add(-1)
		if placed {
			c.start()
			return
		}
		c.shut()
		c.dropAhead()
		s.forget(c)
	}()
	defer c.recovered()
	_ = tcp.SetDeadline(time.Now().Add(s.opt.HandshakeTime))
	err := s.establish(c, proxy)
	if err == nil {
		placed = true
		return
	}
	s.count.refused[err.cause].Add(1)
	s.opt.Log.Debug("TLS connection refused", zap.Stringer("cause", err.cause), zap.Stringer("remote", c.remote), zap.Error(err.err))
	if err.answer != nil {
		c.refuse(err.answer)
	}
}

// establish reads what a connection begins with, in this order: a PROXY header, the
// handshake, and the first bytes of the request. The rates of new connections hold
// before the handshake, which costs more than everything else.
func (s *Server) establish(c *conn, proxy bool) *refused {
	if proxy {
		if err := c.readProxy(); err != nil {
			return err
		}
	}
	admission, refusal := s.opt.Sessions.Admit(c.remote)
	if refusal != nil {
		return &refused{cause: rateCause(refusal), err: errors.New(refusal.Detail)}
	}
	if addr := c.remote.Addr(); !s.trusts(addr) { // a trusted proxy has many clients
		if !s.places.enter(addr) {
			return &refused{cause: CauseMaxHandshakes, err: errors.New("half of all handshakes are of this address")}
		}
		defer s.places.leave(addr)
	}
	c.tls = tls.Server(c, s.tls)
	first, err := c.handshake()
	if err != nil {
		return err
	}
	return s.place(c, admission, first)
}

// handshake makes the handshake and returns the first bytes of the request.
func (c *conn) handshake() (first []byte, _ *refused) {
	err := c.shake()
	if err == nil {
		err = c.flush(nil)
	}
	if err != nil {
		return nil, classify(err)
	}
	c.srv.count.handshakes.Add(1)
	if c.tls.ConnectionState().DidResume {
		c.srv.count.resumed.Add(1)
	}
	buf := takeBuffer(smallBuffer)
	defer giveBuffer(buf)
	n, err := c.read(*buf)
	if n == 0 {
		return nil, classify(err)
	}
	return append([]byte(nil), (*buf)[:n]...), nil
}

func (c *conn) shake() error {
	c.enter()
	defer c.leave()
	return c.tls.Handshake()
}

// place decides what becomes of a connection after its handshake: here a pair, with
// the records on the workers (see doc.go for TLS in the kernel).
func (s *Server) place(c *conn, a session.Admission, first []byte) *refused {
	if s.count.connections.Add(1) > int64(s.opt.MaxConnections) {
		s.count.connections.Add(-1)
		return &refused{CauseMaxConns, errors.New("tls.max_connections"),
			ws.Unavailable("this server has as many TLS connections as it may (tls.max_connections)", s.opt.RetryAfter)}
	}
	if err := s.bridge(c, a, first); err != nil {
		s.count.connections.Add(-1)
		return &refused{CauseSessions, err, ws.Unavailable("this server takes no more connections now", s.opt.RetryAfter)}
	}
	c.open = true
	return nil
}

// bridge makes the pair of a connection and gives its other end to a shard. What
// the shard sends waits in the pair.
func (s *Server) bridge(c *conn, a session.Admission, first []byte) error {
	pair, fd, err := newPair()
	if err != nil {
		return err
	}
	if err = s.setPair(c, pair); err == nil {
		err = c.watch()
	}
	if err == nil {
		err = s.opt.Sessions.Adopt(fd, a, first)
	}
	if err != nil {
		pair.close()
		_ = unix.Close(fd)
		return err
	}
	return c.TCPConn.SetDeadline(time.Time{})
}

// rateCause returns the cause of a connection that Sessions.Admit refuses.
func rateCause(r *ws.Refusal) Cause {
	if r.Cause == session.CauseAddress {
		return CauseAddressRate
	}
	return CauseConnectRate
}

// classify finds the cause of an error of the handshake.
func classify(err error) *refused {
	var header tls.RecordHeaderError
	switch {
	case errors.As(err, &header) && header.Conn != nil && looksLikeHTTP(header.RecordHeader):
		return &refused{CauseHTTP, err, ws.BadRequest("this port speaks TLS: use https:// or wss://")}
	case errors.As(err, &header) && header.Conn != nil:
		return &refused{cause: CauseProtocol, err: err}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &refused{cause: CauseTimeout, err: err}
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), isReset(err):
		return &refused{cause: CauseGone, err: err}
	}
	return &refused{cause: CauseHandshake, err: err}
}

// looksLikeHTTP says whether a connection began with a request of HTTP/1.
func looksLikeHTTP(start [5]byte) bool {
	switch string(start[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "CONNE", "PATCH":
		return true
	}
	return false
}
