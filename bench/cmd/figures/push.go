package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"belfry/bench"
)

// pushMetric is belfry's own histogram of single pushes, from the arrival of
// the HTTP request to sendto(2).
const pushMetric = "belfry_push_latency_seconds"

// probeUser is the index of the one connection of the probe, beyond all
// others.
const probeUser = 999_999_999

// inFlight is how many broadcasts are on their way at any time: with two,
// the next one waits when one ends.
const inFlight = 2

// push is one round of pushes to one user during a continuous fan-out.
type push struct {
	Server     bench.Quantiles `json:"server"` // at the server, request → sendto; Count 0 if it does not tell
	Client     bench.Quantiles `json:"client"` // request → receipt in an otherwise idle process: an upper bound
	Broadcasts int             `json:"broadcasts"`
	Seconds    float64         `json:"seconds"`
	Refused    int             `json:"refused"` // 503s, of both kinds of push
}

// measurePush pushes to one user every o.pushEvery while broadcasts to
// everybody follow one another without a gap.
func measurePush(ctx context.Context, o options, p *pool, s *belfrySide) (*push, error) {
	probe, err := startProbe(ctx, o, p, s)
	if err != nil {
		return nil, err
	}
	defer probe.Stop(5 * time.Second)
	pusher, err := dialAPI(s.api)
	if err != nil {
		return nil, err
	}
	defer pusher.close()
	before, err := scrape(ctx, s)
	if err != nil {
		return nil, err
	}

	began := time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := make(chan struct{})
	flood := make(chan floodResult, 1)
	go func() {
		n, err := keepBroadcasting(ctx, p, s, stop)
		if err != nil {
			cancel(err) // do not push on to a server that fails
		}
		flood <- floodResult{n, err}
	}()
	sent, pushErr := pushEvery(ctx, o, pusher)
	close(stop)
	flooded := <-flood
	r := &push{Broadcasts: flooded.broadcasts, Seconds: time.Since(began).Seconds(), Refused: pusher.refused + s.conn.refused}
	if err := errors.Join(flooded.err, pushErr); err != nil {
		return nil, err
	}

	if r.Client, err = probeResult(ctx, probe, p, sent); err != nil {
		return nil, err
	}
	after, err := scrape(ctx, s)
	if err != nil {
		return nil, err
	}
	r.Server = after.since(before).quantiles()
	return r, p.verify(ctx, s)
}

type floodResult struct {
	broadcasts int
	err        error
}

// startProbe starts a client process with the probe's one connection.
func startProbe(ctx context.Context, o options, p *pool, s *belfrySide) (*bench.Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	probe, err := bench.Start(ctx, "probe", true, []string{"GOMAXPROCS=1"}, self, "client")
	if err != nil {
		return nil, err
	}
	r, err := probe.Call(ctx, bench.Command{Op: bench.OpDial, Dial: &bench.Dial{
		Addr: s.addr(), Path: clientPath, First: probeUser, Count: 1, Topics: o.topics, Window: 1,
		Next: p.next, Timeout: int64(5 * time.Second)}})
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
func keepBroadcasting(ctx context.Context, p *pool, s side, stop <-chan struct{}) (n int, err error) {
	var waits []func(context.Context) (int64, error)
	for stopped := false; ; {
		for !stopped && len(waits) < inFlight {
			waits = append(waits, p.expectBroadcast())
			if _, err := s.broadcast(ctx, p.next, p.opts.size); err != nil {
				return n, err
			}
			p.next++
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
func pushEvery(ctx context.Context, o options, a *apiConn) (sent int, err error) {
	path := userPath(bench.UID(probeUser))
	begin := time.Now()
	for at := time.Duration(0); at < o.push; at += o.pushEvery {
		if err := sleep(ctx, time.Until(begin.Add(at))); err != nil {
			return sent, err
		}
		sent++
		if _, err := a.push(ctx, path, bench.Direct, uint32(sent), o.size); err != nil {
			return sent, err
		}
	}
	return sent, nil
}

// probeResult waits for the last push and checks that none is missing.
func probeResult(ctx context.Context, probe *bench.Process, p *pool, sent int) (bench.Quantiles, error) {
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
	if st.Direct.Faults()+st.Broadcast.Faults()+st.Corrupt > 0 || st.Open != 1 {
		return st.Latency, fmt.Errorf("probe: direct %+v, broadcasts %+v, corrupt %d, ended: %s", st.Direct, st.Broadcast, st.Corrupt, causes(st.Ended))
	}
	return st.Latency, nil
}

// scrape reads the server's histogram of pushes.
func scrape(ctx context.Context, s *belfrySide) (histogram, error) {
	body, err := getBody(ctx, "http://"+s.api+"/metrics")
	if err != nil {
		return histogram{}, err
	}
	return parseHistogram(string(body), pushMetric)
}
