package auth

import (
	"context"
	"fmt"
	"time"

	"belfry/bench"
	"belfry/bench/measure"
	"belfry/bench/publish"
	"belfry/bench/target"
)

// probeUser is the user who gets the pushes. No other connection has its number.
const probeUser = 999_999_998

// storms is how many nodes a round of it has.
const storms = 3

// storm is the result of one round.
type storm struct {
	Idle    stormed `json:"idle"`    // a node with a webhook; nobody connects
	Control stormed `json:"control"` // a node without a webhook admits everybody who connects at once
	Hangs   stormed `json:"hangs"`   // the webhook does not answer
}

// stormed is what one node went through.
type stormed struct {
	measure.Probed
	Before   int64   `json:"rss_before"` // bytes
	Peak     int64   `json:"rss_peak"`   // bytes
	InFlight float64 `json:"in_flight"`  // calls to the backend at the end of the pushes
	Waiting  float64 `json:"waiting"`    // clients that wait until one of these ends
}

func (r *run) measureStorms(ctx context.Context) error {
	for round := range r.o.Storms {
		var s storm
		for _, part := range []struct {
			what           string
			into           *stormed
			webhook, comes bool
		}{{"idle", &s.Idle, true, false}, {"without a webhook", &s.Control, false, true}, {"the webhook hangs", &s.Hangs, true, true}} {
			r.p.Step("handshakes at once, %s, round %d of %d", part.what, round+1, r.o.Storms)
			var err error
			if *part.into, err = r.storm(ctx, part.webhook, part.comes); err != nil {
				return fmt.Errorf("%s: %w", part.what, err)
			}
		}
		r.Storms = append(r.Storms, s)
	}
	return nil
}

// storm has o.Live sessions on a node, and then, if comes is set, o.Storm clients
// connect at once. It measures pushes to another user from that moment on.
func (r *run) storm(ctx context.Context, webhook, comes bool) (s stormed, err error) {
	back, err := target.StartBackend(decide)
	if err != nil {
		return s, err
	}
	defer back.Stop()
	all := r.o.Live + r.o.Storm
	// All at once. Nobody is refused before the pushes have ended.
	at := server{wire: bench.Wire{Path: bench.DevPath(0)}, window: all}
	if webhook {
		timeout := r.o.Push + 3*time.Second
		at.args = []string{"--set", "auth.webhook.url=" + back.URL, "--set", fmt.Sprintf("auth.webhook.timeout=%v", timeout),
			"--set", fmt.Sprintf("upgrade.timeout=%v", timeout+5*time.Second)}
	}
	err = r.populate(ctx, at, all, func(pop *measure.Population, b *target.Belfry) error {
		if err := pop.Connect(ctx, r.o.Live); err != nil {
			return err
		}
		probe, err := measure.StartProbe(ctx, bench.Dial{Targets: b.Listen(0), First: probeUser, Next: pop.Pool.Next(), Wire: at.wire},
			target.Conn(publish.ToUser(b.API(0))), b.API(0))
		if err != nil {
			return err
		}
		defer probe.Stop()
		// They are clients on other machines, which would not take the node's processors.
		if err := pop.Pool.Background(); err != nil {
			return err
		}
		back.Hangs.Store(true)
		s, err = r.pushDuring(ctx, pop, b, probe, comes)
		if err == nil && comes && webhook {
			err = r.checkWaited(ctx, pop, &s)
		}
		return err
	})
	return s, err
}

// pushDuring pushes to the probe while clients connect, if they come, and follows
// the memory of the node until all of them have been answered.
func (r *run) pushDuring(ctx context.Context, pop *measure.Population, b *target.Belfry, probe *measure.Probe, comes bool) (s stormed, err error) {
	pid := b.Processes()[0].PID()
	m, err := bench.ReadMemory(pid)
	if err != nil {
		return s, err
	}
	s.Before = m.RSS
	watched, stop := context.WithCancel(ctx)
	defer stop()
	peak := make(chan int64, 1)
	go func() { peak <- highest(watched, pid) }()
	answered := make(chan error, 1)
	go func() {
		if !comes {
			answered <- nil
			return
		}
		_, err := pop.Pool.Connect(ctx, r.o.Live, r.o.Live+r.o.Storm)
		answered <- err
	}()
	pushed := probe.Push(ctx, r.o.Size, r.o.PushEvery, r.o.Push)
	for before := -1.0; before != s.InFlight; { // calls begin meanwhile: both are to be of one moment
		before = s.InFlight
		s.Waiting, _ = b.Metric(ctx, 0, `belfry_webhook_waiting{webhook="connect"}`) // 0 without a webhook
		s.InFlight, _ = b.Metric(ctx, 0, `belfry_webhook_in_flight{webhook="connect"}`)
	}
	if err := <-answered; err != nil {
		return s, err
	}
	stop()
	s.Peak = max(s.Before, <-peak)
	if pushed != nil {
		return s, pushed
	}
	s.Probed, err = probe.Result(ctx, pop.Pool.Next())
	return s, err
}

// watchEvery is how often the memory is read.
const watchEvery = 50 * time.Millisecond

// highest returns the largest RSS of a process until ctx is done.
func highest(ctx context.Context, pid int) (most int64) {
	for {
		if m, err := bench.ReadMemory(pid); err == nil {
			most = max(most, m.RSS)
		}
		if bench.Sleep(ctx, watchEvery) != nil {
			return most
		}
	}
}

// checkWaited checks that everybody who came waited for the webhook, and then got
// 503, or 408 when upgrade.timeout was over first.
func (r *run) checkWaited(ctx context.Context, pop *measure.Population, s *stormed) error {
	if n := s.InFlight + s.Waiting; n != float64(r.o.Storm) {
		return fmt.Errorf("%v clients waited for the webhook, not %d", n, r.o.Storm)
	}
	stats, err := pop.Pool.Stats(ctx)
	if err == nil && (stats.Failed["status 503"]+stats.Failed["status 408"] != r.o.Storm || stats.Open != r.o.Live) {
		err = fmt.Errorf("%d sessions are open, not %d; failed: %s", stats.Open, r.o.Live, bench.Causes(stats.Failed))
	}
	return err
}
