package load

import (
	"context"
	"fmt"
	"time"

	"belfry/bench"
	"belfry/bench/measure"
)

// hold keeps the connections for the duration.
func (r *run) hold(ctx context.Context) error {
	if used, known := r.ended(ctx); known {
		r.rep.Figure("server CPU per connection made", used*1e6/float64(max(r.detail.Opened, 1)), "µs")
	}
	err := r.wait(ctx, "holding", r.o.Duration)
	last, cancel := lastWords(ctx)
	defer cancel()
	r.memoryFigures(last)
	return err
}

// memoryFigures adds the server's memory per connection: its memory now less
// that before the first connection. It takes a sample: in a short run the sampler's
// last one may be older than the connections.
func (r *run) memoryFigures(ctx context.Context) {
	r.sampler.sample(ctx)
	now, ok := r.sampler.last()
	if !ok || now.RSS == 0 || now.Open == 0 {
		return
	}
	first := r.sampler.first()
	per := func(a, b int64) float64 { return float64(b-a) / float64(now.Open) }
	r.rep.Figure("server RSS", float64(now.RSS)/(1<<20), "MiB")
	r.rep.Figure("server RSS per connection", per(first.RSS, now.RSS), "B")
	if now.Slab > 0 {
		r.rep.Figure("kernel slab per connection, both ends", per(first.Slab, now.Slab), "B")
	}
}

// warmUp sends the messages that do not count.
func (r *run) warmUp(ctx context.Context) error {
	r.Progress.Count(warmups, "warming up")
	_, err := r.Broadcasts(ctx, warmups, r.o.Size, 0)
	return err
}

// fanout sends messages to all.
func (r *run) fanout(ctx context.Context) error {
	if err := r.warmUp(ctx); err != nil {
		return err
	}
	if err := r.begin(ctx); err != nil {
		return err
	}
	r.Progress.Count(r.o.Messages, "fan-out")
	took, err := r.Broadcasts(ctx, r.o.Messages, r.o.Size, r.o.Interval)
	r.fanoutFigures(ctx, took)
	return err
}

// fanoutFigures reports messages that took so many ms each.
func (r *run) fanoutFigures(ctx context.Context, took []float64) {
	if len(took) == 0 {
		return
	}
	r.detail.Receipts = took
	median, worst, total := bench.Median(took), 0.0, 0.0
	for _, ms := range took {
		worst, total = max(worst, ms), total+ms
	}
	open := float64(r.Pool.Open())
	r.rep.Figure("publish → last receipt, median", median, "ms")
	r.rep.Figure("publish → last receipt, worst", worst, "ms")
	r.rep.Figure("publish → last receipt per connection, median", median*1e3/open, "µs")
	r.rep.Figure("deliveries per second while a message is being delivered", open*float64(len(took))/total*1e3, "/s")
	if used, known := r.ended(ctx); known {
		r.rep.Figure("server CPU per delivery", used*1e6/open/float64(len(took)), "µs")
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
		e, err = r.Pool.Echo(ctx, bench.Echo{Rate: r.o.OpenRate, Size: r.o.Size, Duration: int64(r.o.Duration),
			Grace: int64(r.o.wait(measure.ArriveQuiet)), Message: r.o.Echo})
		done <- err
	}()
	waited := r.wait(ctx, "echo", r.o.Duration)
	if err := <-done; err != nil {
		return err
	}
	r.rep.Figure("echoes sent", float64(e.Sent), "")
	r.rep.Figure("echoes back", float64(e.Back), "")
	r.rep.Figure("echoes per second", float64(e.Back)/(float64(max(e.End-e.Start, 1))/1e9), "/s")
	if r.o.OpenRate > 0 {
		r.rep.Figure("sent late by at most", float64(e.Late)/1e6, "ms")
	}
	if used, known := r.ended(ctx); known && e.Back > 0 {
		r.rep.Figure("server CPU per echo", used*1e6/float64(e.Back), "µs")
	}
	if e.Back < e.Sent {
		r.rep.Problem("%d of %d echoes did not come back", e.Sent-e.Back, e.Sent)
	}
	return waited
}

// heartbeat measures the cost of keeping idle connections alive.
func (r *run) heartbeat(ctx context.Context) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	begun := time.Now()
	before, err := r.Pool.Stats(ctx)
	if err != nil {
		return err
	}
	waited := r.wait(ctx, "heartbeats", r.o.Duration)
	last, cancel := lastWords(ctx)
	defer cancel()
	after, err := r.Pool.Stats(last)
	if err != nil {
		return err
	}
	took := time.Since(begun).Seconds()
	pings := float64(after.Pings - before.Pings)
	r.rep.Figure("pings answered", float64(after.Pongs-before.Pongs), "")
	r.rep.Figure("pings per second", pings/took, "/s")
	if after.MinPings != ^uint32(0) {
		r.rep.Figure("pings of the connection with the fewest", float64(after.MinPings), "")
	}
	if used, known := r.ended(last); known {
		r.rep.Figure("server CPU", 100*used/took, "% of a core")
		if pings > 0 {
			r.rep.Figure("server CPU per ping and pong", used*1e6/pings, "µs")
		}
	}
	r.memoryFigures(last)
	if pings == 0 {
		r.rep.Warning("no ping arrived in %v: the server pings less often, or not at all (--duration)", r.o.Duration)
	}
	if n := after.PongsLost - before.PongsLost; n > 0 {
		r.rep.Problem("%d pings could not be answered: the sockets were full", n)
	}
	return waited
}

// storm resets all connections and makes them again, all at once.
func (r *run) storm(ctx context.Context) error {
	r.Progress.Count(r.o.Rounds, "storms")
	if err := r.begin(ctx); err != nil {
		return err
	}
	var seconds, rates []float64
	for i := range r.o.Rounds {
		if err := r.Pool.Drop(ctx); err != nil {
			return err
		}
		c, err := r.Pool.Connect(ctx, 0, r.o.Connections)
		if err != nil {
			return err
		}
		if c.Failed > 0 {
			r.rep.Problem("storm %d: %v", i+1, c.Err())
		}
		seconds, rates = append(seconds, c.Took.Seconds()), append(rates, c.PerSecond())
		r.Progress.Set(i+1, "%d of %d, all back in %.2f s", i+1, r.o.Rounds, c.Took.Seconds())
	}
	r.rep.Figure("all back after, median", bench.Median(seconds), "s")
	r.rep.Figure("connections per second, median", bench.Median(rates), "/s")
	if used, known := r.ended(ctx); known {
		r.rep.Figure("server CPU per connection ended and made", used*1e6/float64(r.o.Connections*r.o.Rounds), "µs")
	}
	return nil
}

// push posts messages to users and checks that each reached all connections of
// its user exactly once.
func (r *run) push(ctx context.Context) error {
	request, err := r.o.Publish.request(r.o.Publish.UserURL)
	if err != nil {
		return err
	}
	if err := r.begin(ctx); err != nil {
		return err
	}
	r.Progress.Count(int(r.o.Duration/time.Millisecond), "pushing")
	p, err := r.PushUsers(ctx, measure.PushOptions{Request: request, Users: r.o.wire.Users, Connections: r.o.Connections, Concurrency: r.o.Concurrency,
		Rate: r.o.OpenRate, Duration: r.o.Duration, Size: r.o.Size}, r.o.wait(measure.ArriveQuiet))
	if p == nil {
		return err
	}
	last, cancel := lastWords(ctx)
	defer cancel()
	used, known := r.ended(last)
	took := max(p.Took, time.Microsecond).Seconds()
	r.rep.Latency(answerLatency, p.Answers)
	r.rep.Figure("pushes accepted", float64(p.Accepted), "")
	r.rep.Figure("pushes per second", float64(p.Accepted)/took, "/s")
	r.rep.Figure("deliveries expected from these", float64(p.Deliveries), "")
	r.rep.Figure("deliveries per second", float64(p.Deliveries)/took, "/s")
	r.rep.Figure("refused with 503 or 429, and repeated", float64(p.Refused), "")
	if r.o.OpenRate > 0 {
		r.rep.Figure("sent late by at most", float64(p.Late)/1e6, "ms")
	}
	if known && p.Accepted > 0 {
		r.rep.Figure("server CPU per push", used*1e6/float64(p.Accepted), "µs")
	}
	r.rep.Figure("the generator's CPU per push", p.CPU.Seconds()*1e6/float64(max(p.Accepted, 1)), "µs")
	if busy := p.CPU.Seconds() / took; busy >= tooBusy {
		r.rep.Warning("the HTTP pusher used %.0f %% of a processor: it was the bottleneck", 100*busy)
	}
	return err
}

// slow makes a share of the clients stop reading, measures the others while
// messages are sent, and then checks the slow ones.
func (r *run) slow(ctx context.Context) error {
	if err := r.warmUp(ctx); err != nil {
		return err
	}
	slow, err := r.Pool.Slow(ctx, r.o.Share)
	if err != nil {
		return err
	}
	if err := r.begin(ctx); err != nil {
		return err
	}
	r.Progress.Count(r.o.Messages, "fan-out past slow clients")
	took, err := r.Broadcasts(ctx, r.o.Messages, r.o.Size, r.o.Interval)
	r.fanoutFigures(ctx, took)
	if err != nil {
		return err
	}
	if used, known := r.sampler.last(); known && used.RSS > 0 {
		r.rep.Figure("server RSS with slow clients", float64(used.RSS)/(1<<20), "MiB")
	}
	before, err := r.Pool.Stats(ctx)
	if err != nil {
		return err
	}
	if _, err := r.Pool.Read(ctx); err != nil {
		return err
	}
	after, err := r.waitQuiet(ctx, before)
	if err != nil {
		return err
	}
	r.detail.SlowEnded = subtract(after.Ended, before.Ended)
	r.rep.Figure("clients that stopped reading", float64(slow), "")
	r.rep.Figure("of these disconnected by the server", float64(sum(r.detail.SlowEnded)), "")
	r.rep.Figure("messages that these had still to read", float64(after.Slowed.Received), "")
	r.rep.Figure("messages that these missed", float64(after.Slowed.Lost), "")
	return nil
}

// waitQuiet waits until clients that read again receive nothing more.
func (r *run) waitQuiet(ctx context.Context, last bench.Stats) (bench.Stats, error) {
	r.Progress.Step("reading what is left")
	for quiet, i := 0, 0; quiet < 5 && i < 300; i++ {
		if err := bench.Sleep(ctx, 100*time.Millisecond); err != nil {
			return last, err
		}
		now, err := r.Pool.Stats(ctx)
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
	if err := r.begin(ctx); err != nil {
		return err
	}
	first, _ := r.sampler.last()
	begun := time.Now()
	var took []float64
	r.Progress.Count(int(r.o.Duration/time.Millisecond), "soak")
	var err error
	for time.Since(begun) < r.o.Duration && err == nil {
		var wall time.Duration
		if err = r.Pool.Refresh(ctx); err == nil { // lost connections are not waited for; they are counted
			wall, err = r.Broadcast(ctx, r.o.Size)
		}
		if err == nil {
			took = append(took, wall.Seconds()*1e3)
			s, _ := r.sampler.last()
			r.Progress.Set(int(time.Since(begun)/time.Millisecond), "%d open, %d lost, message %d reached all in %.0f ms", s.Open, s.Lost, len(took), took[len(took)-1])
			err = bench.Sleep(ctx, r.o.Interval-wall)
		}
	}
	last, cancel := lastWords(ctx)
	defer cancel()
	r.fanoutFigures(last, took)
	r.rep.Figure("messages to all", float64(len(took)), "")
	if now, ok := r.sampler.last(); ok && now.RSS > 0 {
		r.rep.Figure("server RSS at the end", float64(now.RSS)/(1<<20), "MiB")
		r.rep.Figure("growth of it since the first message", float64(now.RSS-first.RSS)/(1<<20), "MiB")
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
