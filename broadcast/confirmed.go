package broadcast

import (
	"slices"

	"go.uber.org/zap"
)

// sweep stops to use homes that are gone. One that is there again was perhaps stopped:
// it has to answer an open first, so that it verifies what it knows of others.
func (r *routes) sweep() {
	present := r.out.present()
	for home, s := range r.streams {
		if slices.ContainsFunc(present, func(p Peer) bool { return p.ID == home }) || len(s.kept) > 0 {
			continue // what is not confirmed becomes late, see tick
		}
		if s.state == relaysOpen {
			s.state, s.moved = relaysClosed, r.now()
		}
	}
}

// busy reports whether something may become late.
func (r *routes) busy() bool {
	if len(r.fences) > 0 || len(r.held) > 0 {
		return true
	}
	for _, s := range r.streams {
		if len(s.kept) > 0 {
			return true
		}
	}
	return false
}

// heard takes what another node says about routes.
func (r *routes) heard(m routeMessage) {
	switch s := r.streams[m.node]; m.what {
	case routePassed:
		r.answered(m.epoch, m.node)
	case routeConfirm, routeRefuse:
		switch {
		case s == nil || s.epoch != m.epoch || s.state == relaysClosed || m.number > s.number: // of an earlier stream
		case m.what == routeConfirm:
			r.confirmed(s, m.number)
		case s.state == relaysOpening:
			r.close(s, "refused")
		case s.state == relaysOpen:
			r.end(s, "refused")
		}
	}
}

// confirmed forgets the relays up to a number.
func (r *routes) confirmed(s *relays, number uint64) {
	n := len(s.kept) - int(s.number-number)
	if n <= 0 {
		return
	}
	for i := range s.kept[:n] {
		s.bytes -= s.kept[i].size
		if s.kept[i].special == "" {
			r.out.free(&s.kept[i])
		}
	}
	clear(s.kept[:n])
	if s.kept = s.kept[n:]; len(s.kept) == 0 {
		s.kept = nil
	}
	s.moved = r.now()
	r.count.confirmed.Add(uint64(n))
	if s.waits > 0 && len(s.kept) <= r.window/2 {
		r.settle()
	}
	if s.state == relaysOpening {
		s.state = relaysOpen
		r.log.Info("pushes to users go through their home again", zap.String("home", r.nameOf(s.home)))
	}
}

// close publishes directly what a home has not confirmed. Pushes to its buckets are
// direct until the home confirms an open.
func (r *routes) close(s *relays, why string) {
	opening := s.state == relaysOpening
	s.state, s.moved = relaysClosed, r.now()
	first := s.number - uint64(len(s.kept)) + 1
	again := make([]part, 0, len(s.kept)+1)
	for i := range s.kept {
		if p := s.kept[i]; p.special == "" {
			p.subject, p.origin, p.again = userBucketSubject(p.bucket), origin{r.self, s.epoch, first + uint64(i)}, true
			again = append(again, p)
		}
	}
	s.kept, s.bytes = nil, 0
	again = append(again, part{retire: origin{r.self, s.epoch, s.number}})
	r.urgent = append(again, r.urgent...)
	r.fences = slices.DeleteFunc(r.fences, func(f *fence) bool { return f.path == s })
	r.settle()
	if opening {
		return
	}
	r.count.fell(why)
	r.count.again.Add(uint64(len(again) - 1))
	r.log.Warn("pushes to users go to all nodes: their home does not confirm them", zap.String("home", r.nameOf(s.home)),
		zap.String("why", why), zap.Int("unconfirmed", len(again)-1))
}

// republish sends a push that a home has not confirmed.
func (r *routes) republish(p *part) bool {
	if !r.out.direct(p.subject, p, p.origin) {
		return false
	}
	r.sent++
	r.last[p.bucket], r.path[p.bucket] = r.sent, nil
	r.out.free(p)
	return true
}

// tick looks at what is late.
func (r *routes) tick() {
	now := r.now()
	for _, s := range r.streams {
		if now.Sub(s.moved) < r.wait || len(s.kept) == 0 || s.state == relaysClosed || s.state == relaysEnding {
			continue // one that ends waits for its fence, for no longer
		}
		r.close(s, "timeout")
	}
	if len(r.fences) > 0 {
		r.tickFences()
	}
}

func (r *routes) nameOf(node uint32) string {
	for _, p := range r.out.present() {
		if p.ID == node {
			return p.Name
		}
	}
	return nodeString(node)
}
