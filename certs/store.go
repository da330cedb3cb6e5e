package certs

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Pair names the files of a certificate (PEM, with its chain) and of its key.
type Pair struct{ Cert, Key string }

// Options configure a Store.
type Options struct {
	// Name is the name of the setting or section that the files come from. It
	// begins messages: "tls", "api.tls".
	Name string
	// Pairs are the certificates. A client gets the first one that fits the
	// server name and the signature algorithms of its ClientHello (RFC 6066 §3),
	// or else the first of all.
	Pairs []Pair
	// ClientCA is a file with the certificates of CAs (PEM). If it is set, a
	// client must show a certificate that one of them has signed.
	ClientCA   string
	MinVersion uint16        // 0: TLS 1.2
	NextProtos []string      // of ALPN (RFC 7301); nil: http/1.1
	Every      time.Duration // between two looks at the files; 0: 5 s
	Soon       time.Duration // how long before its end a certificate is warned of; 0: 14 days
	Log        *zap.Logger   // nil: none
}

// SoonEnds is the default of Options.Soon.
const SoonEnds = 14 * 24 * time.Hour

// lookEvery is the default of Options.Every.
const lookEvery = 5 * time.Second

// warnEvery is the time between two warnings about a certificate that ends soon.
const warnEvery = 24 * time.Hour

// Store holds the certificates of a listener. Its methods may be called from any
// goroutine.
type Store struct {
	opt Options
	now func() time.Time

	current atomic.Pointer[loaded] // never nil

	mu     sync.Mutex // guards the fields below, and that one goroutine at a time reads files
	seen   stamps     // of the files that were read last, also if they were refused
	bad    bool       // they were refused
	warned time.Time  // when a certificate that ends soon was last warned of

	reloads, failures atomic.Uint64
}

// Open reads all files. Its errors name the file, and never repeat a part of a key.
func Open(o Options) (*Store, error) { return open(o, time.Now) }

func open(o Options, now func() time.Time) (*Store, error) {
	if len(o.Pairs) == 0 {
		return nil, fmt.Errorf("%s: no certificate; at least one is needed", o.Name)
	}
	o.MinVersion = cmp.Or(o.MinVersion, tls.VersionTLS12)
	o.Every = cmp.Or(o.Every, lookEvery)
	o.Soon = cmp.Or(o.Soon, SoonEnds)
	if o.NextProtos == nil {
		o.NextProtos = []string{"http/1.1"}
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	s := &Store{opt: o, now: now}
	s.seen = s.stamps() // before the files are read: a later change is noticed
	next, err := load(&o)
	if err != nil {
		return nil, err
	}
	s.current.Store(next)
	s.warnOfEnd(next)
	return s, nil
}

// Config returns a configuration for servers whose certificates are always those
// in force. The caller may change it before its first use.
func (s *Store) Config() *tls.Config {
	c := &tls.Config{
		MinVersion:     s.opt.MinVersion,
		NextProtos:     s.opt.NextProtos,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) { return s.current.Load().choose(hello), nil },
	}
	if s.opt.ClientCA == "" {
		return c
	}
	c.ClientAuth = tls.RequireAndVerifyClientCert
	c.SessionTicketsDisabled = true // each handshake asks the CAs that are in force now
	c.ClientCAs = s.current.Load().clientCAs
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		each := c.Clone()
		each.GetConfigForClient = nil
		each.ClientCAs = s.current.Load().clientCAs
		return each, nil
	}
	return c
}

// Run looks at the files until ctx is done.
func (s *Store) Run(ctx context.Context) {
	ticks := time.NewTicker(s.opt.Every)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
			s.Reload()
		}
	}
}

// Reload reads the files if one of them has changed since they were last read. If
// they cannot be used, the certificates stay as they are: a certificate whose key
// is written a moment later is read again then.
func (s *Store) Reload() {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.stamps()
	if seen.equal(s.seen) {
		s.warnAgain()
		return
	}
	s.seen = seen
	next, err := s.usable()
	if s.bad = err != nil; s.bad {
		s.failures.Add(1)
		s.opt.Log.Error("changed certificates cannot be used; the earlier ones stay in force", zap.Error(err))
		return
	}
	s.replace(next)
}

// usable reads the files, and returns an error if they cannot be used.
func (s *Store) usable() (*loaded, error) {
	next, err := load(&s.opt)
	if err != nil {
		return nil, err
	}
	if err = s.current.Load().worse(next, s.now()); err != nil {
		return nil, fmt.Errorf("%s: %w", s.opt.Name, err)
	}
	return next, nil
}

// Prepare reads the files if one of them has changed, and returns a function that
// takes the certificates over; it cannot fail. apply is nil if the files are those in
// force.
func (s *Store) Prepare() (apply func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.stamps()
	if seen.equal(s.seen) && !s.bad {
		return nil, nil
	}
	next, err := s.usable()
	if err != nil {
		return nil, err
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.seen, s.bad = seen, false // Run reads the files again if they have changed since
		s.replace(next)
	}, nil
}

func (s *Store) replace(next *loaded) {
	s.current.Store(next)
	s.reloads.Add(1)
	for _, c := range next.certificates() {
		s.opt.Log.Info("certificate reloaded", zap.String("file", c.File), zap.Time("not_after", c.NotAfter), zap.Strings("names", c.Names))
	}
	s.warnOfEnd(next)
}

// warnAgain repeats the warning about certificates that end soon.
func (s *Store) warnAgain() {
	if s.now().Sub(s.warned) >= warnEvery {
		s.warnOfEnd(s.current.Load())
	}
}

func (s *Store) warnOfEnd(l *loaded) {
	s.warned = s.now()
	for _, c := range l.certificates() {
		if left := c.NotAfter.Sub(s.now()); left < s.opt.Soon {
			s.opt.Log.Warn("a certificate ends soon: put a new one into its file; belfry reads it without a restart", zap.String("file", c.File),
				zap.Time("not_after", c.NotAfter), zap.Duration("left", left.Round(time.Minute)))
		}
	}
}

// Stats are the certificates in force, and how often files were read.
type Stats struct {
	Certificates []Certificate
	Reloads      uint64 // changes that were taken over
	Failures     uint64 // changes that could not be used
}

// Stats returns the certificates in force, and the counters.
func (s *Store) Stats() Stats {
	return Stats{Certificates: s.current.Load().certificates(), Reloads: s.reloads.Load(), Failures: s.failures.Load()}
}

// errEnded is why a pair is not taken over.
var errEnded = errors.New("the new certificate has ended, the present one has not")
