package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"belfry/bench"
	"belfry/bench/publish"
)

// probeUser is the index of the one connection of the probe, beyond all
// others.
const probeUser = 999_999_999

// receiptTimeout bounds the wait for the last push.
const receiptTimeout = 20 * time.Second

// inFlight is how many broadcasts are on their way at any time: with two,
// the next one waits when one ends.
const inFlight = 2

// push is one round of pushes to one user during a continuous fan-out.
type push struct {
	Server     bench.Quantiles `json:"server"` // at the server, request → sendto; Count 0 if it does not tell
	Client     bench.Quantiles `json:"client"` // request → receipt in an otherwise idle process: an upper bound
	Broadcasts int             `json:"broadcasts"`
	Seconds    float64         `json:"seconds"`
	Refused    int             `json:"refused"` // answers that said busy, to both kinds of push
}

// measurePush pushes to one user every o.pushEvery while broadcasts to
// everybody follow one another without a gap. The flooded clients run on what
// the others leave of the processors: the figure is the server's, and clients
// elsewhere would not compete with it.
func measurePush(ctx context.Context, o options, p *bench.Pool, s *belfrySide) (*push, error) {
	probe, err := startProbe(ctx, o, p, s)
	if err != nil {
		return nil, err
	}
	defer probe.Stop(5 * time.Second)
	pusher := publish.NewConn(publish.ToUser(s.api))
	refused := s.conn.Refused
	defer pusher.Close()
	switch before, err := s.stats(ctx); {
	case err != nil:
		return nil, err
	case before.Push.Count != 0: // its quantiles would be of these too
		return nil, fmt.Errorf("the server has counted %d pushes already", before.Push.Count)
	}
	if err := p.Background(); err != nil {
		return nil, err
	}
	began := time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := make(chan struct{})
	flood := make(chan floodResult, 1)
	go func() {
		n, err := keepBroadcasting(ctx, o, p, s, stop)
		if err != nil {
			cancel(err) // do not push on to a server that fails
		}
		flood <- floodResult{n, err}
	}()
	sent, pushErr := pushEvery(ctx, o, pusher)
	close(stop)
	flooded := <-flood
	r := &push{Broadcasts: flooded.broadcasts, Seconds: time.Since(began).Seconds(), Refused: pusher.Refused + s.conn.Refused - refused}
	if err := errors.Join(flooded.err, pushErr); err != nil {
		return nil, err
	}

	if r.Client, err = probeResult(ctx, probe, sent); err != nil {
		return nil, err
	}
	after, err := s.stats(ctx)
	if err != nil {
		return nil, err
	}
	r.Server = after.Latency()
	return r, verify(ctx, p, s)
}

type floodResult struct {
	broadcasts int
	err        error
}

// startProbe starts a client process with the probe's one connection.
func startProbe(ctx context.Context, o options, p *bench.Pool, s *belfrySide) (*bench.Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	probe, err := bench.Start(ctx, "probe", true, []string{"GOMAXPROCS=1"}, self, "client")
	if err != nil {
		return nil, err
	}
	r, err := probe.Call(ctx, bench.Command{Op: bench.OpDial, Dial: &bench.Dial{
		Targets: []netip.AddrPort{s.addr()}, First: probeUser, Count: 1, Window: 1, Next: p.Next(),
		Timeout: int64(5 * time.Second), Wire: bench.Wire{Path: clientPath(o), Topics: o.topics}}})
	if err == nil && r.Dialed.Opened != 1 {
		err = errors.New("the probe could not connect")
	}
	if err != nil {
		probe.Stop(5 * time.Second)
		return nil, err
	}
	return probe, nil
}

// keepBroadcasting keeps inFlight broadcasts on their way until stop is
// closed, then waits for the last, and returns how many there were.
func keepBroadcasting(ctx context.Context, o options, p *bench.Pool, s side, stop <-chan struct{}) (n int, err error) {
	var waits []func(context.Context) (int64, error)
	for stopped := false; ; {
		for !stopped && len(waits) < inFlight {
			seq, wait := p.Expect()
			waits = append(waits, wait)
			if _, err := s.broadcast(ctx, seq, o.size); err != nil {
				return n, err
			}
			n++
		}
		if len(waits) == 0 {
			return n, nil
		}
		if _, err := waits[0](ctx); err != nil {
			return n, err
		}
		waits = waits[1:]
		select {
		case <-stop:
			stopped = true
		default:
		}
	}
}

// pushEvery pushes to the probe's user for o.push and returns how often. A
// push that is late does not move the ones after it.
func pushEvery(ctx context.Context, o options, to *publish.Conn) (sent int, err error) {
	begin := time.Now()
	for at := time.Duration(0); at < o.push; at += o.pushEvery {
		if err := bench.Sleep(ctx, time.Until(begin.Add(at))); err != nil {
			return sent, err
		}
		sent++
		if _, err := to.Push(ctx, bench.Message{Stream: bench.Direct, User: probeUser, Seq: uint32(sent)}, o.size); err != nil {
			return sent, err
		}
	}
	return sent, nil
}

// probeResult waits for the last push and checks that none is missing.
func probeResult(ctx context.Context, probe *bench.Process, sent int) (bench.Quantiles, error) {
	_, err := probe.Call(ctx, bench.Command{Op: bench.OpWait, Wait: &bench.Wait{
		Stream: bench.Direct, Until: uint64(sent), Timeout: int64(receiptTimeout)}})
	if err != nil {
		return bench.Quantiles{}, err
	}
	r, err := probe.Call(ctx, bench.Command{Op: bench.OpStats})
	if err != nil {
		return bench.Quantiles{}, err
	}
	st := r.Stats
	if err := st.Verify(1); err != nil {
		return bench.Quantiles{}, fmt.Errorf("probe: %w", err)
	}
	return st.Directs.Quantiles(), nil
}
