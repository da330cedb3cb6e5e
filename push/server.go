package push

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Server is the HTTP API. Create it with New, then call Listen and Serve; or serve
// its Handler elsewhere.
type Server struct {
	opt    Options                 // with defaults filled in
	keys   atomic.Pointer[keyring] // never nil
	guard  *browserGuard           // nil if there are keys
	log    *zap.Logger
	count  counters
	bodies bodies
	logs   *refusalLog

	busyDetail string

	stop     context.Context // done when the server begins to stop
	stopping context.CancelFunc

	abandoned sync.WaitGroup // calls of abandon: they have taken connections from net/http

	listeners []*listener // of Address, and HealthAddress if it is set
	holding   atomic.Bool // see Hold
}

// New returns a Server, or an error if the options are invalid. It opens no socket.
func New(o Options) (*Server, error) {
	if o.Publisher == nil {
		return nil, errors.New("push: Publisher is missing")
	}
	if o.Address == "" {
		o.Address = DefaultAddress
	}
	if err := CheckAddress(o.Address, len(o.Keys)); err != nil {
		return nil, err
	}
	if o.HealthAddress != "" {
		// The health routes never need a key, so any address is allowed.
		if err := CheckAddress(o.HealthAddress, 1); err != nil {
			return nil, err
		}
	}
	s := &Server{opt: o, log: o.Log}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	if err := errors.Join(s.opt.Limits.fill(), newIdempotency(&s.opt)); err != nil {
		return nil, err
	}
	keys, err := newKeyring(o.Keys)
	if err != nil {
		return nil, err
	}
	s.keys.Store(keys)
	if len(keys.digests) == 0 {
		if s.guard, err = newBrowserGuard(o.AllowedHosts); err != nil {
			return nil, err
		}
	}
	s.busyDetail = fmt.Sprintf("allowed are at most %d requests at once (api.max_requests)", s.opt.MaxRequests)
	s.bodies = newBodies(&s.opt.Limits)
	s.logs = newRefusalLog(s.log)
	s.stop, s.stopping = context.WithCancel(context.Background())
	return s, nil
}

// Handler returns the handler for Address. It has all routes, without the health
// routes if HealthAddress is set.
func (s *Server) Handler() http.Handler {
	routes := s.apiRoutes()
	if s.opt.HealthAddress == "" {
		routes = append(routes, s.healthRoutes()...)
	}
	return s.handler(s.guard, routes)
}

// HealthHandler returns a handler for /healthz, /readyz and /metrics only. It checks
// neither keys nor Host.
func (s *Server) HealthHandler() http.Handler {
	return s.handler(nil, append(s.healthRoutes(), route{id: routeOther, pattern: "/", serve: s.notFound}))
}

// Stats returns the counters. It may be called from any goroutine.
func (s *Server) Stats() Stats {
	st := s.count.snapshot()
	st.Bodies, st.BodyBytes = int(s.bodies.open.Load()), s.bodies.bytes.Load()
	for _, k := range s.keys.Load().all {
		st.Keys = append(st.Keys, KeyCount{k.name, k.requests.Load(), k.pushes.Load()})
	}
	return st
}

// Listen binds the addresses. It returns an error if one of them cannot be bound.
// If the port is 0, the kernel chooses one, which Addr returns.
func (s *Server) Listen() error {
	for i, addr := range []string{s.opt.Address, s.opt.HealthAddress} {
		if addr == "" {
			continue
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			s.closeListeners()
			return fmt.Errorf("push: listen on %s: %w", addr, listenReason(err))
		}
		s.addListener(l, i)
	}
	return nil
}

// addListener takes the listener of Address (0) or HealthAddress.
func (s *Server) addListener(l net.Listener, i int) {
	mine := newListener(l, s.opt.MaxConnections, &s.count)
	if i == 0 {
		mine.tls = s.opt.TLS
	}
	s.listeners = append(s.listeners, mine)
}

func (s *Server) closeListeners() {
	for _, l := range s.listeners {
		_ = l.Close()
	}
	s.listeners = nil
}

// listenReason returns err without the address, which the caller adds.
func listenReason(err error) error {
	var op *net.OpError
	var call *os.SyscallError
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("the port is taken by another process: %w", syscall.EADDRINUSE)
	case errors.As(err, &call):
		return call.Err
	case errors.As(err, &op):
		return op.Err
	}
	return err
}

// Addr returns the address at which the API listens, nil before Listen.
func (s *Server) Addr() net.Addr {
	if len(s.listeners) == 0 {
		return nil
	}
	return s.listeners[0].Addr()
}

// HealthAddr returns the address at which the health routes are served, nil before
// Listen. Without HealthAddress it is the same as Addr.
func (s *Server) HealthAddr() net.Addr {
	if len(s.listeners) == 0 {
		return nil
	}
	return s.listeners[len(s.listeners)-1].Addr()
}

// Serve serves until ctx is done, and then stops: /readyz answers 503, no more
// connections are accepted, and batches end with a line that says why. Requests
// that are being served have ShutdownTimeout to end. The health address stops
// last. Serve then returns nil, or the error that ended serving before ctx was
// done. It may be called once.
func (s *Server) Serve(ctx context.Context) error {
	if len(s.listeners) == 0 {
		return errors.New("push: Serve before Listen")
	}
	defer s.stopping()
	handlers := []http.Handler{s.Handler(), s.HealthHandler()}
	var servers []*http.Server
	failed := make(chan error, len(s.listeners))
	for i, l := range s.listeners {
		hs := s.httpServer(handlers[i])
		servers = append(servers, hs)
		go func() { failed <- hs.Serve(l) }()
	}
	var err error
	running := len(servers)
	select {
	case <-ctx.Done():
	case err = <-failed:
		running--
	}
	s.stopping()
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opt.ShutdownTimeout)
	defer cancel()
	for _, hs := range servers {
		if hs.Shutdown(limit) != nil {
			s.log.Warn("requests did not end in time: their connections were closed", zap.Duration("after", s.opt.ShutdownTimeout))
			_ = hs.Close()
		}
	}
	for range running {
		<-failed
	}
	s.abandoned.Wait() // at most restTime; Shutdown does not wait for these connections
	return err
}

// httpServer returns an http.Server with every limit set: the zero values of
// net/http mean no limit.
func (s *Server) httpServer(h http.Handler) *http.Server {
	errorLog, _ := zap.NewStdLogAt(s.log, zapcore.WarnLevel) // fails only for levels that do not exist
	return &http.Server{
		Handler:                      h,
		ReadHeaderTimeout:            s.opt.ReadHeaderTimeout,
		ReadTimeout:                  s.opt.ReadTimeout,
		WriteTimeout:                 s.opt.WriteTimeout,
		IdleTimeout:                  s.opt.IdleTimeout,
		MaxHeaderBytes:               s.opt.MaxHeaderBytes,
		ErrorLog:                     errorLog,
		ConnContext:                  withConn,
		ConnState:                    connState,
		DisableGeneralOptionsHandler: true,
	}
}
