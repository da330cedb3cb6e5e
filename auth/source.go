package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// maxParked is how many tokens may wait for a reading of the keys because their key
// id is unknown. Further ones get 503.
const maxParked = 1024

// source reads keys, and reads them again: after JWT.Refresh, and soon if a token
// names a key that is not known. What was read last stays in force while a reading
// fails.
type source struct {
	opt *JWT
	now func() time.Time
	log *zap.Logger

	set   atomic.Pointer[keySet] // in force
	parts []*part                // owned by the goroutine of run, except what mu guards
	wake  chan struct{}          // holds one: read now

	readings *readings

	mu       sync.Mutex
	parked   []func() // called after the next reading
	reading  bool     // a reading runs, or is about to
	stopped  bool     // there are no more readings
	lastRead time.Time
}

// readings counts readings of a JWKS.
type readings struct{ all, failed atomic.Uint64 }

// part is one place that keys come from: a file or a URL. mu of the source guards
// failed and since.
type part struct {
	setting, place string // place is "" if it may hold a password
	read           func(ctx context.Context) ([]byte, error)
	parse          func(data []byte) ([]*key, error)
	remote         bool // a JWKS: its keys may be out of date

	sum    [32]byte
	keys   []*key
	failed error     // of the last reading
	since  time.Time // of the last reading that succeeded; zero: none has
}

// newSource returns a source with the secret and the keys of all files. A JWKS with
// a URL is read by run.
func newSource(o *Options) (*source, error) {
	s := &source{opt: &o.JWT, now: o.Now, log: o.Log, wake: make(chan struct{}, 1), readings: &readings{}}
	if secret := o.JWT.Secret; len(secret) > 0 {
		k, err := newKey("", "", secret, o.JWT.Algorithms)
		if err != nil {
			return nil, fmt.Errorf("auth.jwt.secret: %w", err)
		}
		s.parts = append(s.parts, &part{keys: []*key{k}})
	}
	for _, name := range o.JWT.PublicKeyFiles {
		s.parts = append(s.parts, s.pemPart(name))
	}
	if place := o.JWT.JWKS; place != "" {
		p, err := s.jwksPart(place)
		if err != nil {
			return nil, fmt.Errorf("auth.jwt.jwks: %w", err)
		}
		s.parts = append(s.parts, p)
	}
	for _, p := range s.parts {
		if p.read == nil || p.remote && IsURL(o.JWT.JWKS) {
			continue
		}
		if s.readPart(context.Background(), p); p.failed != nil {
			return nil, fmt.Errorf("%s: %s: %w", p.setting, p.place, p.failed)
		}
	}
	s.publish()
	for _, name := range o.JWT.Algorithms {
		if !strings.Contains(" "+strings.Join(s.set.Load().algorithms, " ")+" ", " "+name+" ") && o.JWT.JWKS == "" {
			return nil, fmt.Errorf("auth.jwt.algorithms: no key is for %s", name)
		}
	}
	return s, nil
}

// IsURL says whether the place of a JWK set is a URL, not a file.
func IsURL(place string) bool { return strings.Contains(place, "://") }

func (s *source) pemPart(name string) *part {
	return &part{
		setting: "auth.jwt.public_key_file", place: name,
		read: func(context.Context) ([]byte, error) { return readFile(name) },
		parse: func(data []byte) (keys []*key, err error) {
			values, err := readPEM(data)
			for _, value := range values {
				k, err := newKey("", "", value, s.opt.Algorithms)
				if err != nil {
					return nil, err
				}
				keys = append(keys, k)
			}
			return keys, err
		},
	}
}

func (s *source) jwksPart(place string) (*part, error) {
	p := &part{setting: "auth.jwt.jwks", remote: true}
	if !IsURL(place) {
		p.place = place
		p.read = func(context.Context) ([]byte, error) { return readFile(place) }
		p.parse = func(data []byte) ([]*key, error) { return readJWKS(data, true, s.opt.Algorithms) }
		return p, nil
	}
	f, err := newFetcher(place, s.opt.Transport)
	if err != nil {
		return nil, err
	}
	p.read = f.fetch
	p.parse = func(data []byte) ([]*key, error) { return readJWKS(data, false, s.opt.Algorithms) }
	return p, nil
}

// readPart reads a part again. Only the goroutine of run, and newSource before it,
// may call it. A failure leaves the keys as they are.
func (s *source) readPart(ctx context.Context, p *part) (changed bool) {
	data, err := p.read(ctx)
	sum := sha256.Sum256(data)
	var keys []*key
	if err == nil && (p.keys == nil || sum != p.sum) {
		if keys, err = s.parse(p, data); err == nil {
			p.keys, p.sum, changed = keys, sum, true
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.failed = err; err == nil {
		p.since = s.now()
	}
	return changed
}

// parse reads keys. A fault of the parser costs this reading: what it reads comes from
// outside.
func (s *source) parse(p *part, data []byte) (keys []*key, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			s.log.Error("keys could not be read: a fault of this server", zap.String("setting", p.setting), zap.Any("panic", fault), zap.ByteString("stack", debug.Stack()))
			keys, err = nil, errKeysFault
		}
	}()
	return p.parse(data)
}

var errKeysFault = errors.New("the keys could not be read, by a fault of this server")

// publish puts the keys of all parts in force.
func (s *source) publish() {
	var keys []*key
	for _, p := range s.parts {
		keys = append(keys, p.keys...)
	}
	s.set.Store(newKeySet(keys, s.now()))
}

// run reads the keys until ctx is done. remote says whether it reads at once:
// nothing was read from a URL yet.
func (s *source) run(ctx context.Context) {
	s.mu.Lock()
	now := s.reading
	s.mu.Unlock()
	failures := 0
	for ; ; now = true {
		if now {
			if s.readAll(ctx) {
				failures = 0
			} else {
				failures++
			}
		}
		timer := time.NewTimer(s.pause(failures))
		select {
		case <-timer.C:
		case <-s.wake:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			s.stop()
			return
		}
	}
}

// pause returns the time to the next reading after so many failures in a row.
func (s *source) pause(failures int) time.Duration {
	if failures == 0 {
		return s.opt.Refresh
	}
	return min(s.opt.Interval<<min(failures-1, 10), s.opt.Refresh)
}

// readAll reads all parts. It returns false if one failed.
func (s *source) readAll(ctx context.Context) bool {
	s.mu.Lock()
	s.reading, s.lastRead = true, s.now()
	s.mu.Unlock()
	select {
	case <-s.wake: // this is the reading that was asked for
	default:
	}
	changed, ok := false, true
	for _, p := range s.parts {
		if p.read == nil {
			continue
		}
		was := p.failed
		changed = s.readPart(ctx, p) || changed
		ok = ok && p.failed == nil
		if p.remote {
			s.readings.all.Add(1)
		}
		switch {
		case p.failed != nil && p.remote:
			s.readings.failed.Add(1)
			fallthrough
		case p.failed != nil:
			if was == nil {
				s.log.Warn("keys for tokens cannot be read; those that were read last stay in force", zap.String("setting", p.setting), zap.String("file", p.place), zap.Error(p.failed))
			}
		case was != nil:
			s.log.Info("keys for tokens can be read again", zap.String("setting", p.setting), zap.String("file", p.place))
		}
	}
	if changed {
		s.publish()
		s.log.Info("keys for tokens were read", zap.Int("keys", len(s.set.Load().keys)), zap.Strings("algorithms", s.set.Load().algorithms))
	}
	s.finish()
	return ok
}

// finish calls who waits for a reading.
func (s *source) finish() {
	s.mu.Lock()
	parked := s.parked
	s.parked, s.reading = nil, false
	s.mu.Unlock()
	for _, retry := range parked {
		retry()
	}
}

// stop calls who waits, and has await refuse those that come later: no reading would
// ever call them.
func (s *source) stop() {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.finish()
}

// await is called for a token with an unknown key id. It has the keys read if the
// last reading is long enough ago, and calls retry after that, from the goroutine of
// run. If it will not call retry, or retry is nil, it returns why the token is
// refused; errKeysChanged if seen, the set that the token was verified with, is not in
// force any more.
func (s *source) await(seen *keySet, retry func()) *refused {
	s.mu.Lock()
	defer s.mu.Unlock()
	remote := s.remote()
	switch {
	case remote == nil:
		return errUnknownKey
	case s.stopped:
		return refuseKeys("this server stops")
	case !s.reading && s.set.Load() != seen: // a set is in force before its reading ends
		return errKeysChanged
	case retry != nil && (s.reading || s.now().Sub(s.lastRead) >= s.opt.Interval):
		if len(s.parked) >= maxParked {
			return refuseKeys("too many clients wait for the keys of the identity provider")
		}
		s.parked = append(s.parked, retry)
		if !s.reading {
			s.reading = true
			s.wake <- struct{}{} // has room: reading was false
		}
		return nil
	case remote.failed != nil:
		return refuseKeys("signed by a key that is not known here, and the identity provider's keys cannot be read at the moment")
	}
	return errUnknownKey
}

// remote returns the JWKS, nil if there is none.
func (s *source) remote() *part {
	for _, p := range s.parts {
		if p.remote {
			return p
		}
	}
	return nil
}

// degraded returns what is wrong with the keys.
func (s *source) degraded() (reasons []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.parts {
		switch {
		case p.read == nil:
		case p.failed != nil && p.since.IsZero():
			reasons = append(reasons, fmt.Sprintf("%s: no keys yet: %v", p.setting, p.failed))
		case p.failed != nil:
			reasons = append(reasons, fmt.Sprintf("%s: %v; the keys read at %s stay in force", p.setting, p.failed, p.since.UTC().Format(time.RFC3339)))
		case p.since.IsZero():
			reasons = append(reasons, p.setting+": no keys yet")
		}
	}
	return reasons
}

// age returns the time since a JWKS was read, 0 if there is none.
func (s *source) age() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.remote(); p != nil && !p.since.IsZero() {
		return s.now().Sub(p.since)
	}
	return 0
}
