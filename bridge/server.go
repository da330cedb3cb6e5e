package bridge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Server accepts TLS connections and gives them to shards. Its methods may be
// called from any goroutine.
type Server struct {
	opt       Options
	tls       *tls.Config
	gate      gate
	shakes    gate // of handshakes
	places    places
	poll      *poll
	workers   *workers
	listeners []*listener
	count     counters

	mu     sync.Mutex // guards the fields below
	conns  map[*conn]struct{}
	closed bool // no connection begins any more

	accepting sync.WaitGroup
	running   sync.WaitGroup // connections
	polling   sync.WaitGroup
}

// listener is a listening socket and the options that it was made for.
type listener struct {
	*net.TCPListener
	proxy bool
}

// New binds the listeners. It accepts no connection before Start.
func New(o Options) (*Server, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	s := &Server{opt: o, tls: o.TLS.Clone(), gate: make(gate, o.Workers), shakes: make(gate, o.Workers), workers: newWorkers(), conns: map[*conn]struct{}{}}
	s.places = places{most: max(1, o.MaxHandshakes/2), by: map[netip.Prefix]int32{}}
	// A write of a shard becomes one record. Without this option crypto/tls makes
	// many small ones of the first 128 KiB.
	s.tls.DynamicRecordSizingDisabled = true
	var err error
	if s.poll, err = newPoll(); err != nil {
		return nil, err
	}
	inherits := len(o.Inherit) > 0
	for _, l := range o.Listen {
		if inherits {
			err = s.inherit(l)
		} else {
			err = s.listen(l)
		}
		if err != nil {
			s.poll.close()
			s.closeListeners()
			return nil, err
		}
	}
	return s, nil
}

func (s *Server) listen(l Listen) error {
	config := net.ListenConfig{KeepAlive: -1, Control: s.setOptions}
	config.SetMultipathTCP(false) // it lacks the options below
	for port := int(l.Lo); port <= int(l.Hi); port++ {
		address := net.JoinHostPort(l.Host, strconv.Itoa(port))
		open, err := config.Listen(context.Background(), "tcp", address)
		if err != nil {
			return fmt.Errorf("bridge: listen: %w", err)
		}
		s.listeners = append(s.listeners, &listener{open.(*net.TCPListener), l.Proxy})
	}
	return nil
}

// inherit takes over the listeners of another process.
func (s *Server) inherit(l Listen) error {
	n := int(l.Hi) - int(l.Lo) + 1
	if len(s.opt.Inherit) < n {
		return fmt.Errorf("bridge: %d listening sockets for the %d ports of %s", len(s.opt.Inherit), n, l.Host)
	}
	for _, open := range s.opt.Inherit[:n] {
		s.listeners = append(s.listeners, &listener{open, l.Proxy})
	}
	s.opt.Inherit = s.opt.Inherit[n:]
	return nil
}

// Sockets returns the listening sockets, for Options.Inherit of another process. They
// stay the server's.
func (s *Server) Sockets() (sockets []*net.TCPListener) {
	for _, l := range s.listeners {
		sockets = append(sockets, l.TCPListener)
	}
	return sockets
}

// deferAccept is for how many seconds the kernel keeps a new connection until its
// first bytes arrive (man 7 tcp, TCP_DEFER_ACCEPT).
const deferAccept = 3

// notSentLowat is how many unsent bytes the kernel takes for one connection
// (TCP_NOTSENT_LOWAT); else it takes megabytes for a client that does not read.
const notSentLowat = 16 << 10

// setOptions sets the options of a listener that connections inherit. All of them
// are optional: some hosts lack some, and the shards' listeners log that.
func (s *Server) setOptions(_, _ string, raw syscall.RawConn) error {
	return raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, deferAccept)
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, notSentLowat)
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(s.opt.UserTimeout/time.Millisecond))
	})
}

// Addrs returns the addresses that the server listens on.
func (s *Server) Addrs() (all []netip.AddrPort) {
	for _, l := range s.listeners {
		a := l.Addr().(*net.TCPAddr).AddrPort()
		all = append(all, netip.AddrPortFrom(a.Addr().Unmap(), a.Port()))
	}
	return all
}

// Start makes the server accept connections.
func (s *Server) Start() {
	s.polling.Go(s.poll.run)
	for range s.opt.Workers {
		s.workers.start()
	}
	for _, l := range s.listeners {
		s.accepting.Go(func() { s.accept(l) })
	}
}

// StopAccepting closes the listeners. Connections that were accepted go on. It may
// be called more than once.
func (s *Server) StopAccepting() {
	s.closeListeners()
	s.accepting.Wait()
}

func (s *Server) closeListeners() {
	for _, l := range s.listeners {
		_ = l.Close()
	}
}

// Close stops accepting and ends handshakes. It waits until the shards have closed
// their ends and the clients have read what was left. What is open when ctx is done
// is cut off; Close returns how many connections that were.
func (s *Server) Close(ctx context.Context) (cut int) {
	s.StopAccepting()
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		if c.pair == nil {
			c.shut()
		}
	}
	s.mu.Unlock()
	defer s.closeWorkers()
	ended := make(chan struct{})
	go func() {
		s.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return 0
	case <-ctx.Done():
	}
	s.mu.Lock()
	cut = len(s.conns)
	for c := range s.conns {
		c.shut()
	}
	s.mu.Unlock()
	<-ended
	return cut
}

// closeWorkers ends the goroutines of Start. No connection is left.
func (s *Server) closeWorkers() {
	s.poll.close()
	s.polling.Wait()
	s.workers.close()
}

// remember counts a connection that begins. It returns false if none may begin any
// more.
func (s *Server) remember(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conns[c] = struct{}{}
	s.running.Add(1)
	return true
}

// forget ends what remember began.
func (s *Server) forget(c *conn) {
	s.poll.remove(&c.up)
	s.poll.remove(&c.down)
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.running.Done()
}

// errClosing refuses connections after Close was called.
var errClosing = errors.New("bridge: closing")

// setPair gives a connection its pair, unless the server is closing.
func (s *Server) setPair(c *conn, p *pair) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosing
	}
	c.pair = p
	return nil
}
