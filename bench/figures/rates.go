package figures

import (
	"context"
	"fmt"
	"time"

	"belfry/bench"
	"belfry/bench/plot"
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
// one takes o.rateLast.
func measureRates(ctx context.Context, o options, p *tool.Progress) (rates []rate, err error) {
	err = withSide(ctx, o, func() (side, error) { return startBelfry(ctx, o) }, func(pool *bench.Pool, s side) error {
		if _, err := connectAll(ctx, o, pool, s); err != nil {
			return err
		}
		for i, n := range o.rates {
			p.Step("a stream of %d messages a second", n)
			length := o.rateTime
			if i == len(o.rates)-1 {
				length = o.rateLast
			}
			r, err := measureRate(ctx, o, pool, s.(*belfrySide), n, length)
			if err != nil {
				return fmt.Errorf("%d messages a second: %w", n, err)
			}
			rates = append(rates, r)
		}
		return nil
	})
	return rates, err
}

func measureRate(ctx context.Context, o options, p *bench.Pool, s *belfrySide, perSecond int, length time.Duration) (r rate, err error) {
	if err := p.Mark(ctx); err != nil {
		return r, err
	}
	statsBefore, err := s.stats(ctx)
	if err != nil {
		return r, err
	}
	before, err := settledCPU(ctx, s.process().PID())
	if err != nil {
		return r, err
	}
	refused := s.conn.Refused
	n := int(length.Seconds() * float64(perSecond))
	begin, wait, last := time.Now(), (func(context.Context) (int64, error))(nil), int64(0)
	for i := range n {
		if err := bench.Sleep(ctx, time.Until(begin.Add(time.Duration(i)*time.Second/time.Duration(perSecond)))); err != nil {
			return r, err
		}
		var seq uint32
		seq, wait = p.Expect()
		if last, err = s.broadcast(ctx, seq, o.size); err != nil {
			return r, err
		}
	}
	took := time.Since(begin)
	end, err := wait(ctx)
	if err != nil {
		return r, err
	}
	after, err := settledCPU(ctx, s.process().PID())
	if err != nil {
		return r, err
	}
	stats, err := p.Stats(ctx)
	if err != nil {
		return r, err
	}
	statsAfter, err := s.stats(ctx)
	if err != nil {
		return r, err
	}
	cpu := (after - before).Seconds()
	return rate{
		PerSecond: float64(n) / took.Seconds(), Seconds: took.Seconds(),
		CPU: cpu * 1e6 / float64(n*p.Open()), Share: cpu / took.Seconds(),
		Passes:  float64(n*o.shards) / max(statsAfter.Passes-statsBefore.Passes, 1),
		Receipt: stats.Broadcasts.Quantiles(), Behind: float64(end-last) / 1e6, Refused: s.conn.Refused - refused,
	}, verify(ctx, p, s)
}

// maxBehind is the largest delay of a stream's last receipt with which no
// client has fallen behind: one or two fan-out runs.
const maxBehind = 1000

func (r *report) rateRow() bench.Row {
	rates := r.Measured.Rates
	if len(rates) == 0 {
		return bench.Row{What: "a stream of messages to all", Missing: "no rates"}
	}
	last := rates[len(rates)-1]
	row := bench.Row{
		What:  fmt.Sprintf("%.0f messages a second of %d bytes to %d for %.0f s: last publish → last receipt", last.PerSecond, r.opts.size, r.opts.conns, last.Seconds),
		Value: last.Behind, Format: "%.0f ms", Target: maxBehind, Bound: bench.AtMost,
	}
	for _, x := range rates {
		row.Notes = append(row.Notes, fmt.Sprintf("%.1f messages/s: %.2f µs of server CPU a delivery, %.2f cores, %.1f messages per fan-out run, receipt p50 %.0f ms, p99 %.0f ms, refused %d",
			x.PerSecond, x.CPU, x.Share, x.Passes, float64(x.Receipt.P50)/1e6, float64(x.Receipt.P99)/1e6, x.Refused))
	}
	return row
}

// rateChart draws how the cost of a delivery falls with the rate.
func (r *report) rateChart() *plot.Chart {
	var x, y []float64
	for _, v := range r.Measured.Rates {
		x, y = append(x, v.PerSecond), append(y, v.CPU)
	}
	return &plot.Chart{
		Title: fmt.Sprintf("Cost of a delivery by the rate of messages to %d sessions", r.opts.conns),
		X:     "messages a second", Y: "server CPU per delivery, µs", LogX: true, Zero: true,
		Series: []plot.Series{{X: x, Y: y, Dots: true}},
	}
}
