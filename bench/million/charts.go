package million

import (
	"fmt"

	"belfry/bench/measure"
	"belfry/bench/plot"
	"belfry/bench/report"
)

func (r *run) rampChart() report.Chart {
	c := report.Chart{File: "connections.svg", Text: "Time spent connecting; the pauses for fan-outs and memory readings are left out.",
		Chart: plot.Chart{Title: "Connections against time", X: "connecting, s", Y: "open connections", Zero: true}}
	names, ramps := r.ramps()
	for i, ramp := range ramps {
		s := plot.Series{Name: names[i]}
		for _, p := range ramp.Points {
			s.X, s.Y = append(s.X, p.Seconds), append(s.Y, float64(p.Open))
		}
		c.Series = append(c.Series, s)
	}
	return c
}

func (r *run) memoryChart() report.Chart {
	c := report.Chart{File: "memory.svg", Text: "Memory above that of empty nodes, all nodes together. The slab contains both ends of every connection, the server's and the client's.",
		Chart: plot.Chart{Title: "Memory against connections", X: "open connections", Y: "MB above empty nodes", Zero: true}}
	if r.Idle == nil || len(r.Idle.Readings) < 2 {
		return c
	}
	for _, line := range []struct {
		name  string
		value func(measure.Reading) int64
	}{{"RSS of the nodes", measure.RSS}, {"kernel slab", measure.Slab}} {
		s := plot.Series{Name: line.name, Dots: true}
		for _, m := range r.Idle.Readings {
			s.X = append(s.X, float64(m.Connections))
			s.Y = append(s.Y, float64(line.value(m)-line.value(r.Idle.Readings[0]))/1e6)
		}
		c.Series = append(c.Series, s)
	}
	return c
}

func (r *run) receiptChart() report.Chart {
	c := report.Chart{File: "receipt.svg", Text: "The share of the clients that have a message, against the time since the publish, over all broadcasts to all.",
		Chart: plot.Chart{Title: fmt.Sprintf("Receipt of one message by %d clients", r.o.Connections), X: "since the publish, s", Y: "reached, %", Zero: true}}
	names, sides := r.sides()
	for i, g := range sides {
		last := g.last(r.o.Connections)
		if last == nil || last.Receipts == nil {
			continue
		}
		s := plot.Series{Name: names[i], X: []float64{0}, Y: []float64{0}}
		ns, percent := last.Receipts.Curve()
		for i := range ns {
			s.X, s.Y = append(s.X, ns[i]/1e9), append(s.Y, percent[i])
		}
		c.Series = append(c.Series, s)
	}
	return c
}

func (r *run) growthChart() report.Chart {
	c := report.Chart{File: "cost.svg", Text: "Processor time of all servers for one delivery. Nodes are started when connections need them, so each point has as many nodes as the plan has for that number.",
		Chart: plot.Chart{Title: "Cost of a delivery against connections", X: "connections", Y: "server CPU per delivery, µs", LogX: true, Zero: true}}
	names, sides := r.sides()
	for i, g := range sides {
		if len(g.Fanouts) == 0 {
			continue
		}
		s := plot.Series{Name: names[i], Dots: true}
		for _, f := range g.Fanouts {
			s.X, s.Y = append(s.X, float64(f.Connections)), append(s.Y, f.CPU)
		}
		c.Series = append(c.Series, s)
	}
	return c
}
