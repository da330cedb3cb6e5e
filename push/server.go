package push

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Server is the HTTP API. Make it with New, then Listen, then Serve; or take
// Handler and serve it elsewhere.
type Server struct {
	opt   Options // with defaults filled in
	keys  *keyring
	guard *browserGuard // nil if there are keys
	log   *zap.Logger
	count counters
	in    bodies
	logs  *refusalLog

	busyDetail string

	stop     context.Context // done when the server begins to stop
	stopping context.CancelFunc

	abandoned sync.WaitGroup // connections that abandon took from net/http

	listeners []*listener // of Address, and HealthAddress if it is set
}

// New checks the options. It opens nothing.
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
		// These routes need no key wherever they are.
		if err := CheckAddress(o.HealthAddress, 1); err != nil {
			return nil, err
		}
	}
	s := &Server{opt: o, log: o.Log}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	if err := s.opt.Limits.fill(); err != nil {
		return nil, err
	}
	var err error
	if s.keys, err = newKeyring(o.Keys); err != nil {
		return nil, err
	}
	if len(s.keys.digests) == 0 {
		if s.guard, err = newBrowserGuard(o.AllowedHosts); err != nil {
			return nil, err
		}
	}
	s.busyDetail = fmt.Sprintf("allowed are at most %d requests at once (api.max_requests)", s.opt.MaxRequests)
	s.in = newBodies(&s.opt.Limits)
	s.logs = newRefusalLog(s.log)
	s.stop, s.stopping = context.WithCancel(context.Background())
	return s, nil
}

// Handler serves what Address serves: everything, or all but the health
// routes if these have an address of their own.
func (s *Server) Handler() http.Handler {
	routes := s.apiRoutes()
	if s.opt.HealthAddress == "" {
		routes = append(routes, s.healthRoutes()...)
	}
	return s.handler(s.guard, routes)
}

// HealthHandler serves /healthz, /readyz and /metrics and nothing else. It
// looks neither at keys nor at Host.
func (s *Server) HealthHandler() http.Handler {
	return s.handler(nil, append(s.healthRoutes(), route{id: routeOther, pattern: "/", serve: s.notFound}))
}

// Stats returns the counters. It may be called from any goroutine.
func (s *Server) Stats() Stats {
	st := s.count.snapshot()
	st.Bodies, st.BodyBytes = int(s.in.open.Load()), s.in.bytes.Load()
	for _, k := range s.keys.all {
		st.Keys = append(st.Keys, KeyCount{k.name, k.requests.Load(), k.pushes.Load()})
	}
	return st
}

// Listen binds the addresses, so that a port already taken is told at once.
// A port 0 is chosen by the kernel: see Addr.
func (s *Server) Listen() error {
	for _, addr := range []string{s.opt.Address, s.opt.HealthAddress} {
		if addr == "" {
			continue
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			for _, open := range s.listeners {
				_ = open.Close()
			}
			s.listeners = nil
			return fmt.Errorf("push: listen on %s: %w", addr, listenReason(err))
		}
		s.listeners = append(s.listeners, newListener(l, s.opt.MaxConnections, &s.count))
	}
	return nil
}

// listenReason is err without the address, which net says once more.
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

// Addr returns the address the API listens on, nil before Listen.
func (s *Server) Addr() net.Addr {
	if len(s.listeners) == 0 {
		return nil
	}
	return s.listeners[0].Addr()
}

// HealthAddr returns the address of the health routes: Addr's, or their own.
func (s *Server) HealthAddr() net.Addr {
	if len(s.listeners) == 0 {
		return nil
	}
	return s.listeners[len(s.listeners)-1].Addr()
}

// Serve serves until ctx is done and then stops: /readyz says so, no new
// connections are accepted, batches end with a line that says why, and
// requests under way have ShutdownTimeout. The health address goes last. It
// returns nil after that, or the error that ended serving early. It may be
// called once.
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
			s.log.Warn("requests still under way were cut off", zap.Duration("after", s.opt.ShutdownTimeout))
			_ = hs.Close()
		}
	}
	for range running {
		<-failed
	}
	s.abandoned.Wait() // at most lingerTime: Shutdown does not know of them
	return err
}

// httpServer sets every limit of net/http; its zero values are none.
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
