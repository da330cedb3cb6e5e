package load

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"belfry/bench/plot"
)

// drawing is a chart of the report folder and its file.
type drawing struct {
	file    string
	caption string
	chart   *plot.Chart
}

// WriteFolder writes report.md, report.json and the charts into dir. It makes
// dir if needed and keeps other files in it.
func (r *Report) WriteFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# belfry bench %s\n\n%s, %s\n\n```sh\n%s\n```\n\n", r.Mode, r.Began.UTC().Format("2006-01-02 15:04 UTC"), r.Machine, r.Command)
	if err := r.WriteTable(&b); err != nil {
		return err
	}
	var errs []error
	for _, d := range r.drawings() {
		if d.chart == nil {
			continue
		}
		if err := d.chart.Write(filepath.Join(dir, d.file)); err != nil {
			errs = append(errs, err)
			continue
		}
		fmt.Fprintf(&b, "\n![%s](%s)\n\n%s\n", d.chart.Title, d.file, d.caption)
	}
	errs = append(errs, os.WriteFile(filepath.Join(dir, "report.md"), []byte(b.String()), 0o644))
	p, err := json.MarshalIndent(r, "", " ")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "report.json"), append(p, '\n'), 0o644)
	}
	return errors.Join(append(errs, err)...)
}

// drawings returns the charts; a chart without data is nil.
func (r *Report) drawings() []drawing {
	return []drawing{
		{"memory.svg", "RSS is the server's. Slab is the kernel memory of all sockets of this machine, including those of clients that run on it, above its value before the first connection.", r.memoryChart()},
		{"handshakes.svg", "Upgraded connections a second, between samples.", r.handshakeChart()},
		{"receipts.svg", "Share of the clients that have a message against the time since it was published, over all messages.", r.receiptChart()},
		{"messages.svg", "Time from the publish to the last receipt, message by message.", r.messageChart()},
		{"latency.svg", "Latency that a share of the messages does not exceed. The axis is stretched towards 100 %.", r.latencyChart()},
		{"cpu.svg", "Processor time of the server between samples.", r.cpuChart()},
		{"connections.svg", "Connections that are open.", r.openChart()},
	}
}

// memoryChart draws memory against connections while they were made.
func (r *Report) memoryChart() *plot.Chart {
	rss := plot.Series{Name: "server RSS", Dots: true}
	slab := plot.Series{Name: "kernel slab", Dots: true}
	most := -1
	for _, s := range r.Samples {
		if s.RSS == 0 || s.Open <= most {
			continue
		}
		most = s.Open
		rss.X, rss.Y = append(rss.X, float64(s.Open)), append(rss.Y, float64(s.RSS)/(1<<20))
		if s.Slab > 0 {
			slab.X, slab.Y = append(slab.X, float64(s.Open)), append(slab.Y, float64(s.Slab-r.Samples[0].Slab)/(1<<20))
		}
	}
	if len(rss.X) < 3 {
		return nil
	}
	return &plot.Chart{Title: "Memory against connections", X: "connections", Y: "MiB", Zero: true, Series: []plot.Series{rss, slab}}
}

// pairs returns successive samples that are far enough apart for a rate, at
// most 120 so that the chart is readable.
func (r *Report) pairs() (pairs [][2]Sample) {
	if len(r.Samples) == 0 {
		return nil
	}
	last := r.Samples[0]
	apart := max((r.Samples[len(r.Samples)-1].At-last.At)/120, 0.04)
	for _, s := range r.Samples[1:] {
		if s.At-last.At >= apart {
			pairs = append(pairs, [2]Sample{last, s})
			last = s
		}
	}
	return pairs
}

// handshakeChart draws the connections made a second.
func (r *Report) handshakeChart() *plot.Chart {
	rate := plot.Series{Steps: true}
	if r.Mode == Storm {
		return nil // too few samples; the latencies show more
	}
	for _, pair := range r.pairs() {
		a, b := pair[0], pair[1]
		made := max(b.Open-a.Open, 0)
		if made == 0 && b.Open >= r.Opened {
			rate.X, rate.Y = append(rate.X, a.At), append(rate.Y, 0)
			break // all are there
		}
		rate.X, rate.Y = append(rate.X, a.At), append(rate.Y, float64(made)/(b.At-a.At))
	}
	if len(rate.X) < 3 {
		return nil
	}
	return &plot.Chart{Title: "Handshake rate", X: "seconds", Y: "connections per second", Zero: true, Series: []plot.Series{rate}}
}

// find returns a latency by name.
func (r *Report) find(name string) *Latency {
	for i := range r.Latencies {
		if r.Latencies[i].Name == name {
			return &r.Latencies[i]
		}
	}
	return nil
}

// receiptChart draws the share of clients reached.
func (r *Report) receiptChart() *plot.Chart {
	l := r.find(receiptLatency)
	if l == nil {
		return nil
	}
	ns, percent := l.Histogram.Curve()
	s := plot.Series{X: []float64{0}, Y: []float64{0}}
	for i := range ns {
		s.X, s.Y = append(s.X, ns[i]/1e6), append(s.Y, percent[i])
	}
	return &plot.Chart{Title: fmt.Sprintf("Fan-out to %s connections", group(float64(r.Open))), X: "ms since the message was published", Y: "% of the clients reached",
		Zero: true, Series: []plot.Series{s}}
}

// messageChart draws every broadcast's time to the last receipt.
func (r *Report) messageChart() *plot.Chart {
	if len(r.Receipts) < 3 {
		return nil
	}
	s := plot.Series{Y: r.Receipts, Dots: len(r.Receipts) < 100}
	for i := range r.Receipts {
		s.X = append(s.X, float64(i+1))
	}
	return &plot.Chart{Title: "Publish → last receipt", X: "message", Y: "ms", Zero: true, Series: []plot.Series{s}}
}

// latencyChart draws latencies by percentile.
func (r *Report) latencyChart() *plot.Chart {
	c := &plot.Chart{Title: "Latency by percentile", X: "percent of the messages", Y: "ms", Percentiles: true, LogY: true}
	for _, l := range r.Latencies {
		if l.Name == connectLatency && r.Mode != Connect && r.Mode != Storm && r.Mode != Heartbeat {
			continue // hidden by the main figures of the mode
		}
		ns, percent := l.Histogram.Curve()
		s := plot.Series{Name: l.Name}
		for i := range ns {
			// The last point, 100 %, is drawn where one message of all would
			// be.
			s.X, s.Y = append(s.X, min(percent[i], 100-100/float64(l.Count+1))), append(s.Y, ns[i]/1e6)
		}
		c.Series = append(c.Series, s)
	}
	if len(c.Series) == 0 {
		return nil
	}
	return c
}

// cpuChart draws the server's processor use.
func (r *Report) cpuChart() *plot.Chart {
	s := plot.Series{Steps: true}
	for _, pair := range r.pairs() {
		a, b := pair[0], pair[1]
		if a.CPU > 0 && b.CPU > 0 {
			s.X, s.Y = append(s.X, a.At), append(s.Y, 100*(b.CPU-a.CPU)/(b.At-a.At))
		}
	}
	if len(s.X) < 3 {
		return nil
	}
	return &plot.Chart{Title: "Server CPU", X: "seconds", Y: "% of a core", Zero: true, Series: []plot.Series{s}}
}

// openChart draws the connections that are open.
func (r *Report) openChart() *plot.Chart {
	s := plot.Series{}
	for _, x := range r.Samples {
		s.X, s.Y = append(s.X, x.At), append(s.Y, float64(x.Open))
	}
	if len(s.X) < 3 {
		return nil
	}
	return &plot.Chart{Title: "Open connections", X: "seconds", Y: "connections", Zero: true, Series: []plot.Series{s}}
}
