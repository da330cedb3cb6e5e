package push

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"
)

// secured is the TLS of a connection, between conn, which follows the bytes of HTTP,
// and its socket. crypto/tls writes records to it. Reads go to the socket.
type secured struct{ *conn }

// Read reads records from the socket.
func (s secured) Read(p []byte) (int, error) { return s.TCPConn.Read(p) }

// Write writes records to the socket. It notices a client that does not read, as
// slowWriter does without TLS.
func (s secured) Write(p []byte) (int, error) { return s.write.write(s.conn, p) }

// Close closes the socket.
func (s secured) Close() error { return s.TCPConn.Close() }

// SetDeadline, SetReadDeadline and SetWriteDeadline set the socket's deadlines.
// crypto/tls sets one before it sends a close_notify.
func (s secured) SetDeadline(t time.Time) error      { return s.TCPConn.SetDeadline(t) }
func (s secured) SetReadDeadline(t time.Time) error  { return s.TCPConn.SetReadDeadline(t) }
func (s secured) SetWriteDeadline(t time.Time) error { return s.TCPConn.SetWriteDeadline(t) }

var _ net.Conn = secured{}

// secure puts TLS on a connection. net/http does not see it: it speaks HTTP/1.1, so
// every limit on connections and requests holds as without TLS. The handshake
// happens in the first read, within ReadHeaderTimeout.
func (c *conn) secure(config *tls.Config) {
	c.tls = tls.Server(secured{c}, config)
	c.client.look = c.client.lookForEnd
}

// read reads bytes of HTTP.
func (c *conn) read(p []byte) (int, error) {
	if c.tls == nil {
		return c.TCPConn.Read(p)
	}
	n, err := c.tls.Read(p)
	if n == 0 && err != nil && !c.tls.ConnectionState().HandshakeComplete {
		return 0, c.handshakeFailed(err)
	}
	return n, err
}

// handshakeFailed counts a failed handshake. A client that speaks HTTP without TLS
// gets an answer. The error is one after which net/http answers nothing.
func (c *conn) handshakeFailed(err error) error {
	c.count.handshakesFailed.Add(1)
	var header tls.RecordHeaderError
	if errors.As(err, &header) && header.Conn != nil && bytes.Contains([]byte("GET / HEAD POST PUT / DELETE "), header.RecordHeader[:]) {
		c.count.rejected[CauseHTTP].Add(1)
		p := &problem{cause: CauseHTTP, detail: "this address speaks HTTPS (api.tls.cert): use https://"}
		if _, err := c.TCPConn.Write(p.whole()); err == nil {
			c.discardRest()
		}
	}
	return &net.OpError{Op: "read", Net: "tcp", Addr: c.RemoteAddr(), Err: err}
}

// ReadFrom keeps net/http from passing a body to the socket without TLS.
func (c *conn) ReadFrom(r io.Reader) (int64, error) { return io.Copy(struct{ io.Writer }{c}, r) }

// send writes bytes of HTTP.
func (c *conn) send(p []byte) (int, error) {
	if c.tls == nil {
		return c.write.write(c, p)
	}
	return c.tls.Write(p)
}

// CloseWrite tells the client that nothing more comes, with TLS by a close_notify
// before FIN.
func (c *conn) CloseWrite() error {
	if c.tls != nil {
		_ = c.tls.CloseWrite() // before the handshake it does nothing
	}
	return c.TCPConn.CloseWrite()
}

// closeNotify sends a close_notify before the connection is closed. It does not
// wait for a client that does not read.
func (c *conn) closeNotify() {
	if c.tls != nil {
		_ = c.TCPConn.SetWriteDeadline(time.Now().Add(closeNotifyTime))
		_ = c.tls.CloseWrite()
	}
}

// closeNotifyTime is how long a close_notify may take. It usually takes no time: the
// socket's buffer has room.
const closeNotifyTime = 100 * time.Millisecond
