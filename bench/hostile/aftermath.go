package hostile

import (
	"context"
	"net/netip"
	"time"

	"belfry/bench"
)

// parseAddr reads the address of an API.
func parseAddr(s string) (netip.AddrPort, error) { return netip.ParseAddrPort(s) }

// deliverTime is how long accepted pushes may still need after the attack has
// ended.
const deliverTime = 8 * time.Second

// aftermath checks the node after the attackers have left.
func (s *scene) aftermath(ctx context.Context, before metrics) error {
	s.row.Memory.Peak, s.row.Gauges = s.watch.take()
	s.enter(phAfter)
	s.row.AfterTime = time.Second
	if s.attack.Memory {
		s.row.AfterTime = s.opts.After
	}
	if err := bench.Sleep(ctx, s.row.AfterTime); err != nil {
		return err
	}
	s.enter(phBetween)
	var err error
	if s.row.Memory.After, err = readRSS(s.node.proc.PID()); err != nil {
		return err
	}
	if s.joined != nil {
		s.row.Joined.Peak, _ = s.watch2.take()
		if s.row.Joined.After, err = readRSS(s.joined.proc.PID()); err != nil {
			return err
		}
	}
	for range 5 { // the API may still be busy
		m, e := s.node.metrics(ctx)
		if err = e; err == nil {
			s.row.Limits = m.moved(before, "belfry_limits_hit_total")
			s.row.Reasons = m.moved(before, "belfry_closed_total")
			return nil
		}
		if err := bench.Sleep(ctx, time.Second); err != nil {
			return err
		}
	}
	return err
}

// awaitEnd waits for pushes that have not arrived yet.
func (s *scene) awaitEnd(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, deliverTime)
	defer cancel()
	for {
		n := s.strangers.waiting()
		for _, w := range s.witnesses {
			n += w.waiting()
		}
		if n == 0 || bench.Sleep(ctx, 20*time.Millisecond) != nil {
			return
		}
	}
}

// tally fills in the results of the innocent clients.
func (s *scene) tally() {
	r := &s.row
	for i, ph := range []phase{phIdle, phControl, phAttacked, phAfter} {
		t := s.witnesses[0].tally(ph)
		for _, w := range s.witnesses[1:] {
			t = worse(t, w.tally(ph))
		}
		*[]*Pushed{&r.Idle, &r.Control, &r.Attacked, &r.After}[i] = t
	}
	r.NewIdle, r.NewControl, r.NewAttacked = s.strangers.tally(phIdle), s.strangers.tally(phControl), s.strangers.tally(phAttacked)
	r.InnocentsClosed = s.readers.ended()
	for _, w := range s.witnesses {
		for cause, n := range w.ended() {
			if r.InnocentsClosed == nil {
				r.InnocentsClosed = make(map[string]int)
			}
			r.InnocentsClosed["witness: "+cause] += n
		}
		r.Twice += w.twice
	}
	if r.Control.P99 > 0 {
		r.Ratio = r.Attacked.P99 / r.Control.P99
	}
	if dead := s.node.dead(); dead != nil {
		r.Died = dead.Error()
	}
}

func (s *scene) stopNodes() {
	s.node.stop()
	s.control.stop()
	s.joined.stop()
	s.props.stop()
}
