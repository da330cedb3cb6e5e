package bridge

import (
	"errors"
	"io"
	"net/http"
	"syscall"
	"time"

	"belfry/ws"
)

// After a refusal the client's bytes are read for a while: closing at once would
// send a reset, which may destroy the answer.
const (
	restTime = time.Second
	maxRest  = 64 << 10
)

// refuse answers with a refusal and closes the connection's sending side: inside TLS
// after a handshake, else as plain text.
func (c *conn) refuse(r *ws.Refusal) {
	answer := ws.AppendRefusal(nil, r, time.Now().UTC().AppendFormat(nil, http.TimeFormat))
	_ = c.TCPConn.SetDeadline(time.Now().Add(restTime))
	if c.tls != nil && c.tls.ConnectionState().HandshakeComplete {
		if c.write(answer) == nil {
			_ = c.closeNotify()
		}
	} else {
		_, _ = c.stream.Write(answer)
	}
	if c.flush(nil) == nil && c.TCPConn.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(c.TCPConn, maxRest))
	}
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
