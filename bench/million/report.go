package million

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"belfry/bench"
	"belfry/bench/plot"
)

// figure is a chart of the report.
type figure struct {
	file string
	text string // under it
	plot.Chart
}

// WriteReport writes report.md, its charts as SVG and report.json into a
// folder, which it makes if needed.
func (r *Result) WriteReport(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	figures := r.figures()
	for i := range figures {
		if err := figures[i].Write(filepath.Join(dir, figures[i].file)); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "report.json"), append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "report.md"), r.markdown(figures), 0o644); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

func (r *Result) markdown(figures []figure) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %d connections on one host\n\n", r.opts.Connections)
	if r.Unfinished != "" {
		fmt.Fprintf(&b, "**Not finished:** %s\n\n", r.Unfinished)
	}
	fmt.Fprintf(&b, "- machine: %s\n- command: `%s`\n- began %s, took %.0f s, load average before %.2f\n\n```\n%s```\n\n",
		r.Machine, r.Command, r.Began.Format("2006-01-02 15:04:05 MST"), r.Took, r.LoadBefore, r.Plan.Text(r.Facts))
	b.WriteString("Ratios are belfry / floor, in the same run and with the same number of processes. The floor does the least that a server can do: accept, answer 101, and `write(2)` to each socket.\n\n")
	_ = bench.WriteTable(&b, r.Rows) // writing to a buffer cannot fail
	for _, f := range figures {
		fmt.Fprintf(&b, "\n## %s\n\n![%s](%s)\n\n%s\n", f.Title, f.Title, f.file, f.text)
	}
	return b.Bytes()
}

// figures returns the charts that have data.
func (r *Result) figures() []figure {
	var figures []figure
	for _, f := range []figure{r.rampFigure(), r.memoryFigure(), r.receiptFigure(), r.growthFigure()} {
		if len(f.Series) > 0 {
			figures = append(figures, f)
		}
	}
	return figures
}

func (r *Result) rampFigure() figure {
	f := figure{file: "connections.svg", text: "Time spent connecting; the pauses for fan-outs and memory readings are left out.",
		Chart: plot.Chart{Title: "Connections against time", X: "connecting, s", Y: "open connections", Zero: true}}
	names, ramps := r.ramps()
	for i, ramp := range ramps {
		s := plot.Series{Name: names[i]}
		for _, p := range ramp.Points {
			s.X, s.Y = append(s.X, p.Seconds), append(s.Y, float64(p.Open))
		}
		f.Series = append(f.Series, s)
	}
	return f
}

func (r *Result) memoryFigure() figure {
	f := figure{file: "memory.svg", text: "Memory above that of empty nodes, all nodes together. The slab contains both ends of every connection, the server's and the client's.",
		Chart: plot.Chart{Title: "Memory against connections", X: "open connections", Y: "MB above empty nodes", Zero: true}}
	if r.Idle == nil || len(r.Idle.Readings) < 2 {
		return f
	}
	for _, line := range []struct {
		name  string
		value func(reading) int64
	}{{"RSS of the nodes", rss}, {"kernel slab", slab}} {
		s := plot.Series{Name: line.name, Dots: true}
		for _, m := range r.Idle.Readings {
			s.X = append(s.X, float64(m.Connections))
			s.Y = append(s.Y, float64(line.value(m)-line.value(r.Idle.Readings[0]))/1e6)
		}
		f.Series = append(f.Series, s)
	}
	return f
}

func (r *Result) receiptFigure() figure {
	f := figure{file: "receipt.svg", text: "The broadcast to all with the median time: the share of the clients that have it, against the time since the publish.",
		Chart: plot.Chart{Title: fmt.Sprintf("Receipt of one message by %d clients", r.opts.Connections), X: "since the publish, s", Y: "reached, %", Zero: true}}
	for _, side := range []struct {
		name string
		g    *growth
	}{{"floor", r.Floor}, {"belfry", r.Belfry}} {
		last := side.g.last(r.opts.Connections)
		if last == nil {
			continue
		}
		s := plot.Series{Name: side.name, X: []float64{0}, Y: []float64{0}}
		for _, p := range last.Curve {
			s.X, s.Y = append(s.X, p.Seconds), append(s.Y, 100*p.Share)
		}
		f.Series = append(f.Series, s)
	}
	return f
}

func (r *Result) growthFigure() figure {
	f := figure{file: "cost.svg", text: "Processor time of all servers for one delivery. Nodes are started when connections need them, so each point has as many nodes as the plan has for that number.",
		Chart: plot.Chart{Title: "Cost of a delivery against connections", X: "connections", Y: "server CPU per delivery, µs", LogX: true, Zero: true}}
	for _, side := range []struct {
		name string
		g    *growth
	}{{"floor", r.Floor}, {"belfry", r.Belfry}} {
		if side.g == nil || len(side.g.Fanouts) == 0 {
			continue
		}
		s := plot.Series{Name: side.name, Dots: true}
		for _, p := range side.g.Fanouts {
			s.X, s.Y = append(s.X, float64(p.Connections)), append(s.Y, p.CPU)
		}
		f.Series = append(f.Series, s)
	}
	return f
}
