package push

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// A hot restart hands the listening sockets to another process. The one that serves
// holds: clients that connect wait in the kernel until the other process accepts them,
// or this one does again.

// Inherit takes the place of Listen: the server takes over listening sockets of another
// process, in the order of its Sockets, also if it returns an error.
func (s *Server) Inherit(sockets []*net.TCPListener) error {
	addresses := 1
	if s.opt.HealthAddress != "" {
		addresses++
	}
	for i, l := range sockets {
		s.addListener(l, i)
	}
	if len(sockets) != addresses {
		s.closeListeners()
		return fmt.Errorf("push: %d listening sockets for %d addresses", len(sockets), addresses)
	}
	return nil
}

// Sockets returns the listening sockets of Address and HealthAddress. They stay the
// server's.
func (s *Server) Sockets() (sockets []*net.TCPListener) {
	for _, l := range s.listeners {
		sockets = append(sockets, l.Listener.(*net.TCPListener))
	}
	return sockets
}

// leaveTick is how often Hold looks for requests that are being served.
const leaveTick = time.Millisecond

// Hold accepts no more connections until Resume, and waits until all pushes that have
// begun are answered. The next request on a connection that is open gets a 503, was not
// delivered, and ends the connection. It returns ctx's error if pushes are still being
// served then.
func (s *Server) Hold(ctx context.Context) error {
	s.holding.Store(true)
	for _, l := range s.listeners {
		l.hold()
	}
	for s.count.inFlight.Load() > 0 {
		select {
		case <-ctx.Done():
			return fmt.Errorf("push: %d requests are being served: %w", s.count.inFlight.Load(), ctx.Err())
		case <-time.After(leaveTick):
		}
	}
	return nil
}

// Resume ends what Hold began.
func (s *Server) Resume() {
	s.holding.Store(false)
	for _, l := range s.listeners {
		l.resume()
	}
}

// isDeadline reports whether hold ended an Accept.
func isDeadline(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// hold has Accept wait.
func (l *listener) hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.resumed == nil {
		l.resumed = make(chan struct{})
		_ = l.Listener.(*net.TCPListener).SetDeadline(expired)
	}
}

// resume has Accept go on.
func (l *listener) resume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.resumed != nil {
		_ = l.Listener.(*net.TCPListener).SetDeadline(time.Time{})
		close(l.resumed)
		l.resumed = nil
	}
}

// accept returns the next connection, after resume if the listener is held.
func (l *listener) accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err == nil || !isDeadline(err) {
			return c, err
		}
		l.mu.Lock()
		resumed := l.resumed
		l.mu.Unlock()
		if resumed == nil {
			continue
		}
		select {
		case <-resumed:
		case <-l.closed:
			return nil, net.ErrClosed
		}
	}
}

// Close implements net.Listener. A copy of the socket that another process has stays
// open.
func (l *listener) Close() error {
	l.closing.Do(func() { close(l.closed) })
	return l.Listener.Close()
}
