package push

import (
	"fmt"
	"net"
	"strconv"
	"sync"
)

// limitedListener bounds the connections open at once. One too many gets a
// 503 and is closed: making it wait, as netutil.LimitListener does, would
// keep health checks waiting too and tell nobody why.
type limitedListener struct {
	net.Listener
	max    int
	count  *counters
	answer []byte

	mu   sync.Mutex // guards open
	open int
}

func newLimitedListener(l net.Listener, most int, count *counters) *limitedListener {
	p := problem{cause: CauseBusy, detail: fmt.Sprintf("allowed are at most %d connections", most)}
	body := append(p.appendJSON(nil), '\n')
	head := "HTTP/1.1 503 Service Unavailable\r\nContent-Type: " + problemType[0] +
		"\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n"
	return &limitedListener{Listener: l, max: most, count: count, answer: append([]byte(head), body...)}
}

// Accept returns the next connection within the limit.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.take() {
			l.count.connections.Add(1)
			tcp, _ := c.(*net.TCPConn)
			return &limitedConn{TCPConn: tcp, from: l}, nil
		}
		l.count.connsRefused.Add(1)
		_, _ = c.Write(l.answer) // a new socket's buffer has room: this does not block
		_ = c.Close()
	}
}

func (l *limitedListener) take() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= l.max {
		return false
	}
	l.open++
	return true
}

// limitedConn gives its place back when it is closed. It embeds the concrete
// type so that net/http finds CloseWrite.
type limitedConn struct {
	*net.TCPConn
	from *limitedListener
	once sync.Once
}

// Close closes the connection.
func (c *limitedConn) Close() error {
	c.once.Do(func() {
		c.from.mu.Lock()
		c.from.open--
		c.from.mu.Unlock()
		c.from.count.connections.Add(-1)
	})
	return c.TCPConn.Close()
}
