package figures

import (
	"context"
	"fmt"
	"time"

	"belfry/bench"
	"belfry/bench/measure"
	"belfry/bench/plot"
	"belfry/bench/report"
	"belfry/bench/target"
	"belfry/bench/tool"
)

// rate is the cost of a constant stream of messages to all.
type rate struct {
	PerSecond float64         `json:"messages_per_second"` // wanted and published
	Seconds   float64         `json:"seconds"`
	CPU       float64         `json:"cpu_us"`    // server's, per delivery, in µs
	Share     float64         `json:"cpu_cores"` // server's, in total
	Passes    float64         `json:"messages_per_pass"`
	Receipt   bench.Quantiles `json:"receipt"` // publish → receipt, over all connections
	Behind    float64         `json:"behind_ms"`
	Refused   int             `json:"refused"`
}

// measureRates has one server and streams at one rate after the other. The last
// one takes o.RateLast.
func measureRates(ctx context.Context, o *Options, p *tool.Progress) (rates []rate, err error) {
	err = o.populate(ctx, p, false, nil, func(pop *measure.Population) error {
		if err := pop.Connect(ctx, o.Conns); err != nil {
			return err
		}
		for i, n := range o.Rates {
			p.Step("a stream of %d messages a second", n)
			length := o.RateTime
			if i == len(o.Rates)-1 {
				length = o.RateLast
			}
			r, err := measureRate(ctx, o, pop, pop.Target.(*target.Belfry), n, length)
			if err != nil {
				return err
			}
			rates = append(rates, r)
		}
		return nil
	})
	return rates, err
}

func measureRate(ctx context.Context, o *Options, pop *measure.Population, b *target.Belfry, perSecond int, length time.Duration) (r rate, err error) {
	if err := pop.Pool.Mark(ctx); err != nil {
		return r, err
	}
	statsBefore, err := b.Stats(ctx, 0)
	if err != nil {
		return r, err
	}
	before, err := pop.SettledCPU(ctx)
	if err != nil {
		return r, err
	}
	refused := b.All.Refused
	n := int(length.Seconds() * float64(perSecond))
	begin, wait, last := time.Now(), (func(context.Context) (int64, error))(nil), int64(0)
	for i := range n {
		if err := bench.Sleep(ctx, time.Until(begin.Add(time.Duration(i)*time.Second/time.Duration(perSecond)))); err != nil {
			return r, err
		}
		var seq uint32
		seq, wait = pop.Pool.Expect()
		if last, err = b.Broadcast(ctx, seq, o.Size); err != nil {
			return r, err
		}
	}
	took := time.Since(begin)
	end, err := wait(ctx)
	if err != nil {
		return r, err
	}
	after, err := pop.SettledCPU(ctx)
	if err != nil {
		return r, err
	}
	stats, err := pop.Pool.Stats(ctx)
	if err != nil {
		return r, err
	}
	statsAfter, err := b.Stats(ctx, 0)
	if err != nil {
		return r, err
	}
	cpu := (after - before).Seconds()
	return rate{
		PerSecond: float64(n) / took.Seconds(), Seconds: took.Seconds(),
		CPU: cpu * 1e6 / float64(n*pop.Pool.Open()), Share: cpu / took.Seconds(),
		Passes:  float64(n*o.Shards) / max(statsAfter.Passes-statsBefore.Passes, 1),
		Receipt: stats.Broadcasts.Quantiles(), Behind: float64(end-last) / 1e6, Refused: b.All.Refused - refused,
	}, pop.Verify(ctx)
}

// maxBehind is the largest delay of a stream's last receipt with which no
// client has fallen behind: one or two fan-out runs.
const maxBehind = 1000

func (r *run) rateRow() bench.Row {
	rates := r.Rates
	if len(rates) == 0 {
		return bench.Row{What: "a stream of messages to all", Missing: "no rates"}
	}
	last := rates[len(rates)-1]
	row := bench.Row{
		What:  fmt.Sprintf("%.0f messages a second of %d bytes to %d for %.0f s: last publish → last receipt", last.PerSecond, r.o.Size, r.o.Conns, last.Seconds),
		Value: last.Behind, Format: "%.0f ms", Target: maxBehind, Bound: bench.AtMost,
	}
	for _, x := range rates {
		row.Notes = append(row.Notes, fmt.Sprintf("%.1f messages/s: %.2f µs of server CPU a delivery, %.2f cores, %.1f messages per fan-out run, receipt p50 %.0f ms, p99 %.0f ms, refused %d",
			x.PerSecond, x.CPU, x.Share, x.Passes, float64(x.Receipt.P50)/1e6, float64(x.Receipt.P99)/1e6, x.Refused))
	}
	return row
}

// rateChart draws how the cost of a delivery falls with the rate.
func (r *run) rateChart() report.Chart {
	c := report.Chart{File: "rates.svg", Text: "Messages that wait for a fan-out run are sent together, so that a delivery costs less at a higher rate.",
		Chart: plot.Chart{Title: fmt.Sprintf("Cost of a delivery by the rate of messages to %d sessions", r.o.Conns),
			X: "messages a second", Y: "server CPU per delivery, µs", LogX: true, Zero: true}}
	if len(r.Rates) > 0 {
		c.Series = []plot.Series{{Dots: true,
			X: report.Gather(r.Rates, func(x rate) float64 { return x.PerSecond }),
			Y: report.Gather(r.Rates, func(x rate) float64 { return x.CPU })}}
	}
	return c
}
