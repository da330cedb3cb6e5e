package load

import (
	"context"
	"fmt"
	"time"

	"belfry/bench"
)

// broadcasts sends n messages to all. It sends the next when all have the last
// one and the interval is over. It returns the time to the last receipt of each
// message.
func (r *run) broadcasts(ctx context.Context, what string, p publisher, n int) (took []float64, err error) {
	r.progress.begin(what, n)
	begun := time.Now()
	for i := range n {
		wall, err := r.pool.Broadcast(ctx, p.broadcast)
		if err != nil {
			return took, fmt.Errorf("message %d of %d: %w", i+1, n, err)
		}
		took = append(took, wall.Seconds()*1e3)
		r.progress.set(i+1, "%d of %d messages, the last reached all in %.0f ms", i+1, n, took[i])
		if next := time.Duration(i+1) * r.o.Interval; i+1 < n && next > 0 {
			if err := bench.Sleep(ctx, time.Until(begun.Add(next))); err != nil {
				return took, err
			}
		}
	}
	return took, nil
}

// fanout sends messages to all.
func (r *run) fanout(ctx context.Context) error {
	p, err := newPublisher(r.o)
	if err != nil {
		return err
	}
	defer p.close()
	if _, err := r.broadcasts(ctx, "warming up", p, warmups); err != nil {
		return err
	}
	if err := r.begin(ctx); err != nil {
		return err
	}
	took, err := r.broadcasts(ctx, "fan-out", p, r.o.Messages)
	r.fanoutFigures(ctx, took)
	return err
}

// fanoutFigures reports messages that took so many ms each.
func (r *run) fanoutFigures(ctx context.Context, took []float64) {
	if len(took) == 0 {
		return
	}
	r.rep.Receipts = took
	median, worst, total := bench.Median(took), 0.0, 0.0
	for _, ms := range took {
		worst, total = max(worst, ms), total+ms
	}
	open := float64(r.pool.Open())
	r.rep.figure("publish → last receipt, median", median, "ms")
	r.rep.figure("publish → last receipt, worst", worst, "ms")
	r.rep.figure("publish → last receipt per connection, median", median*1e3/open, "µs")
	r.rep.figure("deliveries per second while a message is being delivered", open*float64(len(took))/total*1e3, "/s")
	if used, known := r.ended(ctx); known {
		r.rep.figure("server CPU per delivery", used*1e6/open/float64(len(took)), "µs")
	}
}

// echo sends messages that come back.
func (r *run) echo(ctx context.Context) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	done := make(chan error, 1)
	var e bench.Echoed
	go func() {
		var err error
		e, err = r.pool.Echo(ctx, bench.Echo{Rate: r.o.OpenRate, Size: r.o.Size, Duration: int64(r.o.Duration),
			Grace: int64(r.o.wait(arriveQuiet)), Message: r.o.Echo})
		done <- err
	}()
	waited := r.wait(ctx, "echo", r.o.Duration)
	if err := <-done; err != nil {
		return err
	}
	r.rep.figure("echoes sent", float64(e.Sent), "")
	r.rep.figure("echoes back", float64(e.Back), "")
	r.rep.figure("echoes per second", float64(e.Back)/(float64(max(e.End-e.Start, 1))/1e9), "/s")
	if r.o.OpenRate > 0 {
		r.rep.figure("sent late by at most", float64(e.Late)/1e6, "ms")
	}
	if used, known := r.ended(ctx); known && e.Back > 0 {
		r.rep.figure("server CPU per echo", used*1e6/float64(e.Back), "µs")
	}
	if e.Back < e.Sent {
		r.rep.problem("%d of %d echoes did not come back", e.Sent-e.Back, e.Sent)
	}
	return waited
}

// heartbeat measures the cost of keeping idle connections alive.
func (r *run) heartbeat(ctx context.Context) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	begun := time.Now()
	before, err := r.pool.Stats(ctx)
	if err != nil {
		return err
	}
	waited := r.wait(ctx, "heartbeats", r.o.Duration)
	last, cancel := lastWords(ctx)
	defer cancel()
	after, err := r.pool.Stats(last)
	if err != nil {
		return err
	}
	took := time.Since(begun).Seconds()
	pings := float64(after.Pings - before.Pings)
	r.rep.figure("pings answered", float64(after.Pongs-before.Pongs), "")
	r.rep.figure("pings per second", pings/took, "/s")
	if after.MinPings != ^uint32(0) {
		r.rep.figure("pings of the connection with the fewest", float64(after.MinPings), "")
	}
	if used, known := r.ended(last); known {
		r.rep.figure("server CPU", 100*used/took, "% of a core")
		if pings > 0 {
			r.rep.figure("server CPU per ping and pong", used*1e6/pings, "µs")
		}
	}
	r.memoryFigures()
	if pings == 0 {
		r.rep.warning("no ping arrived in %v: the server pings less often, or not at all (--duration)", r.o.Duration)
	}
	if n := after.PongsLost - before.PongsLost; n > 0 {
		r.rep.problem("%d pings could not be answered: the sockets were full", n)
	}
	return waited
}

// storm resets all connections and makes them again, all at once.
func (r *run) storm(ctx context.Context) error {
	r.progress.begin("storms", r.o.Rounds)
	if err := r.begin(ctx); err != nil {
		return err
	}
	var seconds, rates []float64
	for i := range r.o.Rounds {
		if err := r.pool.Drop(ctx); err != nil {
			return err
		}
		c, err := r.pool.Connect(ctx, 0, r.o.Connections)
		if err != nil {
			return err
		}
		if c.Failed > 0 {
			r.rep.problem("storm %d: %v", i+1, c.Err())
		}
		seconds, rates = append(seconds, c.Took.Seconds()), append(rates, c.PerSecond())
		r.progress.set(i+1, "%d of %d, all back in %.2f s", i+1, r.o.Rounds, c.Took.Seconds())
	}
	r.rep.figure("all back after, median", bench.Median(seconds), "s")
	r.rep.figure("connections per second, median", bench.Median(rates), "/s")
	if used, known := r.ended(ctx); known {
		r.rep.figure("server CPU per connection ended and made", used*1e6/float64(r.o.Connections*r.o.Rounds), "µs")
	}
	return nil
}

// slow makes a share of the clients stop reading, measures the others while
// messages are sent, and then checks the slow ones.
func (r *run) slow(ctx context.Context) error {
	p, err := newPublisher(r.o)
	if err != nil {
		return err
	}
	defer p.close()
	if _, err := r.broadcasts(ctx, "warming up", p, warmups); err != nil {
		return err
	}
	slow, err := r.pool.Slow(ctx, r.o.Share)
	if err != nil {
		return err
	}
	if err := r.begin(ctx); err != nil {
		return err
	}
	took, err := r.broadcasts(ctx, "fan-out past slow clients", p, r.o.Messages)
	r.fanoutFigures(ctx, took)
	if err != nil {
		return err
	}
	if used, known := r.sampler.last(); known && used.RSS > 0 {
		r.rep.figure("server RSS with slow clients", float64(used.RSS)/(1<<20), "MiB")
	}
	before, err := r.pool.Stats(ctx)
	if err != nil {
		return err
	}
	if _, err := r.pool.Read(ctx); err != nil {
		return err
	}
	after, err := r.waitQuiet(ctx, before)
	if err != nil {
		return err
	}
	r.rep.SlowEnded = subtract(after.Ended, before.Ended)
	r.rep.figure("clients that stopped reading", float64(slow), "")
	r.rep.figure("of these disconnected by the server", float64(sum(r.rep.SlowEnded)), "")
	r.rep.figure("messages that these had still to read", float64(after.Slowed.Received), "")
	r.rep.figure("messages that these missed", float64(after.Slowed.Lost), "")
	return nil
}

// waitQuiet waits until clients that read again receive nothing more.
func (r *run) waitQuiet(ctx context.Context, last bench.Stats) (bench.Stats, error) {
	r.progress.begin("reading what is left", 50)
	for quiet, i := 0, 0; quiet < 5 && i < 300; i++ {
		if err := bench.Sleep(ctx, 100*time.Millisecond); err != nil {
			return last, err
		}
		now, err := r.pool.Stats(ctx)
		if err != nil {
			return last, err
		}
		if quiet++; now.Bytes != last.Bytes || now.Open != last.Open {
			quiet = 0
		}
		last = now
	}
	return last, nil
}

func subtract(a, b map[string]int) map[string]int {
	d := make(map[string]int)
	for k, n := range a {
		if n -= b[k]; n > 0 {
			d[k] = n
		}
	}
	return d
}

// soak publishes for a long time.
func (r *run) soak(ctx context.Context) error {
	p, err := newPublisher(r.o)
	if err != nil {
		return err
	}
	defer p.close()
	if err := r.begin(ctx); err != nil {
		return err
	}
	first, _ := r.sampler.last()
	begun := time.Now()
	var took []float64
	r.progress.begin("soak", int(r.o.Duration/time.Millisecond))
	for time.Since(begun) < r.o.Duration && err == nil {
		var wall time.Duration
		if err = r.pool.Refresh(ctx); err == nil { // lost connections are not waited for; they are counted
			wall, err = r.pool.Broadcast(ctx, p.broadcast)
		}
		if err == nil {
			took = append(took, wall.Seconds()*1e3)
			s, _ := r.sampler.last()
			r.progress.set(int(time.Since(begun)/time.Millisecond), "%d open, %d lost, message %d reached all in %.0f ms", s.Open, s.Lost, len(took), took[len(took)-1])
			err = bench.Sleep(ctx, r.o.Interval-wall)
		}
	}
	last, cancel := lastWords(ctx)
	defer cancel()
	r.fanoutFigures(last, took)
	r.rep.figure("messages to all", float64(len(took)), "")
	if now, ok := r.sampler.last(); ok && now.RSS > 0 {
		r.rep.figure("server RSS at the end", float64(now.RSS)/(1<<20), "MiB")
		r.rep.figure("growth of it since the first message", float64(now.RSS-first.RSS)/(1<<20), "MiB")
	}
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("after %v: %w", time.Since(begun).Round(time.Second), err)
	}
	return ctx.Err()
}

// lastWords returns a context for reading counters when ctx may be done.
func lastWords(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
}
