package load

import (
	"fmt"

	"belfry/bench"
	"belfry/bench/plot"
	"belfry/bench/report"
)

// draw adds the charts that have data.
func (r *run) draw() {
	rss, slab := r.memory()
	r.chart("memory.svg", "RSS is the server's. Slab is the kernel memory of all sockets of this machine, including those of clients that run on it, above its value before the first connection.",
		plot.Chart{Title: "Memory against connections", X: "connections", Y: "MiB"}, rss, slab)
	r.chart("handshakes.svg", "Upgraded connections a second, between samples.",
		plot.Chart{Title: "Handshake rate", X: "seconds", Y: "connections per second"}, r.handshakeRate())
	if l := r.rep.Find(receiptLatency); l != nil {
		s := plot.Series{X: []float64{0}, Y: []float64{0}}
		ns, percent := l.Histogram.Curve()
		for i := range ns {
			s.X, s.Y = append(s.X, ns[i]/1e6), append(s.Y, percent[i])
		}
		r.chart("receipts.svg", "Share of the clients that have a message against the time since it was published, over all messages.",
			plot.Chart{Title: fmt.Sprintf("Fan-out to %s connections", bench.Number(float64(r.detail.Open))), X: "ms since the message was published", Y: "% of the clients reached"}, s)
	}
	receipts := plot.Series{Y: r.detail.Receipts, Dots: len(r.detail.Receipts) < 100}
	for i := range receipts.Y {
		receipts.X = append(receipts.X, float64(i+1))
	}
	r.chart("messages.svg", "Time from the publish to the last receipt, message by message.",
		plot.Chart{Title: "Publish → last receipt", X: "message", Y: "ms"}, receipts)
	r.drawLatencies()
	cpu, open := plot.Series{Steps: true}, plot.Series{}
	for _, pair := range r.pairs() {
		if a, b := pair[0], pair[1]; a.CPU > 0 && b.CPU > 0 {
			cpu.X, cpu.Y = append(cpu.X, a.At), append(cpu.Y, 100*(b.CPU-a.CPU)/(b.At-a.At))
		}
	}
	for _, s := range r.detail.Samples {
		open.X, open.Y = append(open.X, s.At), append(open.Y, float64(s.Open))
	}
	r.chart("cpu.svg", "Processor time of the server between samples.", plot.Chart{Title: "Server CPU", X: "seconds", Y: "% of a core"}, cpu)
	r.chart("connections.svg", "Connections that are open.", plot.Chart{Title: "Open connections", X: "seconds", Y: "connections"}, open)
}

// chart adds a chart with the series that have three points or more.
func (r *run) chart(file, text string, c plot.Chart, series ...plot.Series) {
	c.Zero = true
	for _, s := range series {
		if len(s.X) >= 3 {
			c.Series = append(c.Series, s)
		}
	}
	r.rep.Draw(report.Chart{File: file, Text: text, Chart: c})
}

// memory is that of the server and of the kernel against connections while they
// were made, in MiB.
func (r *run) memory() (rss, slab plot.Series) {
	rss, slab = plot.Series{Name: "server RSS", Dots: true}, plot.Series{Name: "kernel slab", Dots: true}
	most := -1
	for _, s := range r.detail.Samples {
		if s.RSS == 0 || s.Open <= most {
			continue
		}
		most = s.Open
		rss.X, rss.Y = append(rss.X, float64(s.Open)), append(rss.Y, float64(s.RSS)/(1<<20))
		if s.Slab > 0 {
			slab.X, slab.Y = append(slab.X, float64(s.Open)), append(slab.Y, float64(s.Slab-r.detail.Samples[0].Slab)/(1<<20))
		}
	}
	return rss, slab
}

// pairs returns successive samples that are far enough apart for a rate, at
// most 120 so that the chart is readable.
func (r *run) pairs() (pairs [][2]Sample) {
	if len(r.detail.Samples) == 0 {
		return nil
	}
	last := r.detail.Samples[0]
	apart := max((r.detail.Samples[len(r.detail.Samples)-1].At-last.At)/120, 0.04)
	for _, s := range r.detail.Samples[1:] {
		if s.At-last.At >= apart {
			pairs = append(pairs, [2]Sample{last, s})
			last = s
		}
	}
	return pairs
}

// handshakeRate is the connections made a second.
func (r *run) handshakeRate() plot.Series {
	rate := plot.Series{Steps: true}
	if r.o.Mode == Storm {
		return rate // too few samples; the latencies show more
	}
	for _, pair := range r.pairs() {
		a, b := pair[0], pair[1]
		made := max(b.Open-a.Open, 0)
		if made == 0 && b.Open >= r.detail.Opened {
			rate.X, rate.Y = append(rate.X, a.At), append(rate.Y, 0)
			break // all are there
		}
		rate.X, rate.Y = append(rate.X, a.At), append(rate.Y, float64(made)/(b.At-a.At))
	}
	return rate
}

// drawLatencies draws latencies by percentile.
func (r *run) drawLatencies() {
	c := report.Chart{File: "latency.svg", Text: "Latency that a share of the messages does not exceed. The axis is stretched towards 100 %.",
		Chart: plot.Chart{Title: "Latency by percentile", X: "percent of the messages", Y: "ms", Percentiles: true, LogY: true}}
	for _, l := range r.rep.Latencies {
		if l.Name == connectLatency && r.o.Mode != Connect && r.o.Mode != Storm && r.o.Mode != Heartbeat {
			continue // hidden by the main figures of the mode
		}
		ns, percent := l.Histogram.Curve()
		s := plot.Series{Name: l.Name}
		for i := range ns {
			// The last point, 100 %, is drawn where one message of all would be.
			s.X, s.Y = append(s.X, min(percent[i], 100-100/float64(l.Count+1))), append(s.Y, ns[i]/1e6)
		}
		c.Series = append(c.Series, s)
	}
	r.rep.Draw(c)
}
