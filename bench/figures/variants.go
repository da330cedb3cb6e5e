package figures

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"belfry/bench"
	"belfry/bench/measure"
	"belfry/bench/report"
	"belfry/bench/tool"
)

// variant is what the clients of one measurement speak and are sent. The zero
// value is WebSocket and --size.
type variant struct {
	Deflate  bool `json:"deflate,omitempty"`  // permessage-deflate
	Events   bool `json:"events,omitempty"`   // Server-Sent Events
	Document bool `json:"document,omitempty"` // 4 KiB of JSON
}

// documentSize is the size of a JSON document, in bytes.
const documentSize = 4 << 10

// The variants in the order of a round: what is compared stands side by side.
var (
	plain            = variant{}
	events           = variant{Events: true}
	documents        = variant{Document: true}
	deflateDocuments = variant{Document: true, Deflate: true}

	fanoutVariants = []variant{events, plain, documents, deflateDocuments}

	deflate        = variant{Deflate: true}
	memoryVariants = []variant{events, plain, deflate}
)

func (v variant) String() string {
	switch {
	case v.Events:
		return "SSE"
	case v.Deflate:
		return "WebSocket with deflate"
	}
	return "WebSocket"
}

// with returns the options for clients of variant v.
func (o Options) with(v variant) *Options {
	if o.variant = v; v.Document {
		o.Size = documentSize
	}
	return &o
}

// wire is how the clients talk to the server. Both servers take WebSockets at the
// same path.
func (o *Options) wire() bench.Wire {
	v := o.variant
	w := bench.Wire{Path: bench.DevPath(o.Topics), Topics: o.Topics, Deflate: v.Deflate, Events: v.Events, Wrapped: v.Document}
	if v.Events {
		w.Path = bench.DevEventsPath(o.Topics)
	}
	return w
}

// variantRound is one measurement of one variant: of a fan-out, or of memory.
type variantRound struct {
	Variant  variant         `json:"variant"`
	Connects float64         `json:"connects_per_second,omitempty"`
	Fanout   *measure.Fanout `json:"fanout,omitempty"`
	// Idle and IdleAnon are bytes a session; see memory.
	Idle     float64 `json:"idle,omitempty"`
	IdleAnon float64 `json:"idle_anonymous,omitempty"`
}

func variantSteps(o *Options) int {
	return o.Rounds*len(fanoutVariants) + o.MemoryRounds*len(memoryVariants)
}

// measureVariants measures the variants in turns, each with a server of its own.
// Every other round takes them in the opposite order.
func measureVariants(ctx context.Context, o *Options, p *tool.Progress) (all []variantRound, err error) {
	turns := func(what string, rounds int, variants []variant, f func(context.Context, *Options, *tool.Progress) (variantRound, error)) error {
		for i := range rounds {
			order := slices.Clone(variants)
			if i%2 == 1 {
				slices.Reverse(order)
			}
			for _, v := range order {
				p.Step("%s of %v, round %d of %d", what, v, i+1, rounds)
				r, err := f(ctx, o.with(v), p)
				if err != nil {
					return err
				}
				r.Variant = v
				all = append(all, r)
			}
		}
		return nil
	}
	if err = turns("fan-out", o.Rounds, fanoutVariants, variantFanout); err == nil {
		err = turns("memory", o.MemoryRounds, memoryVariants, variantMemory)
	}
	return all, err
}

func variantFanout(ctx context.Context, o *Options, p *tool.Progress) (r variantRound, err error) {
	err = o.populate(ctx, p, false, nil, func(pop *measure.Population) error {
		if err := pop.Connect(ctx, o.Conns); err != nil {
			return err
		}
		r.Connects = pop.Ramp.PerSecond()
		f, err := pop.Fanout(ctx, o.fanout())
		r.Fanout = &f
		return err
	})
	return r, err
}

// Go's collector leaves garbage of connecting behind, which moves the memory of a
// session by 50 bytes from one run to the next and hides what the variants differ
// by. So the server collects whenever its heap has grown by 5 %, and gives what is
// free back to the kernel at once. What noise is left is allowed for.
var eagerGC = []string{"GOGC=5", "GOMEMLIMIT=1MiB"}

// memoryNoise is by how many bytes a session two runs of one variant differ.
const memoryNoise = 5

func variantMemory(ctx context.Context, o *Options, p *tool.Progress) (r variantRound, err error) {
	low, high, err := idleReadings(ctx, o, p, eagerGC...)
	if err != nil {
		return r, err
	}
	r.Idle, r.IdleAnon = measure.Slope(low, high, measure.RSS), measure.Slope(low, high, measure.Anonymous)
	return r, nil
}

// variantRows compare the variants.
func (r *run) variantRows() []bench.Row {
	fanouts := func(v variant, value func(variantRound) float64) (s report.Series) {
		for _, x := range r.Variants {
			if x.Variant == v && x.Fanout != nil {
				s = append(s, value(x))
			}
		}
		return s
	}
	cpu := func(x variantRound) float64 { return x.Fanout.CPU }
	wall := func(x variantRound) float64 { return x.Fanout.Wall }
	compare := func(what string, a, b variant) []bench.Row {
		note := func(unit string, value func(variantRound) float64) string {
			return fmt.Sprintf("%s: %v %v, %v %v", unit, a, fanouts(a, value), b, fanouts(b, value))
		}
		row := report.Ratio(bench.Row{What: fmt.Sprintf("%s to %d: server CPU per delivery, %v / %v", what, r.o.Conns, a, b),
			Format: "%.2f ×", Target: 1.05, Bound: bench.AtMost, Notes: []string{note("µs", cpu)}}, fanouts(a, cpu), fanouts(b, cpu))
		return []bench.Row{row, report.Ratio(bench.Row{What: "the same: publish → last receipt", Format: "%.2f ×",
			Notes: []string{note("ms, medians of each round's broadcasts", wall)}}, fanouts(a, wall), fanouts(b, wall))}
	}
	rows := compare(fmt.Sprintf("fan-out of %d bytes of JSON", documentSize), deflateDocuments, documents)
	rows = append(rows, compare(fmt.Sprintf("fan-out of %d bytes", r.o.Size), events, plain)...)
	return append(rows, r.idleRow(deflate, 0), r.idleRow(events, 16))
}

// idleRow compares the memory of idle sessions with that of a plain one.
func (r *run) idleRow(v variant, target float64) bench.Row {
	idle := func(v variant, value func(variantRound) float64) (s report.Series) {
		for _, x := range r.Variants {
			if x.Variant == v && x.Fanout == nil {
				s = append(s, value(x))
			}
		}
		return s
	}
	rss := func(x variantRound) float64 { return x.Idle }
	anon := func(x variantRound) float64 { return x.IdleAnon }
	row := bench.Row{What: fmt.Sprintf("anonymous memory of an idle session, slope %d → %d: %v beyond %v", r.o.Base, r.o.Conns, v, plain),
		Format: "%.1f B", Target: target + memoryNoise, Bound: bench.AtMost}
	mine, others := idle(v, anon), idle(plain, anon)
	if len(mine) == 0 || len(others) == 0 {
		row.Missing = "no rounds of both"
		return row
	}
	row.Value = mine.Median() - others.Median()
	row.Notes = []string{
		fmt.Sprintf("bytes a session: %v %v, %v %v; all of RSS: %v and %v", v, mine, plain, others, idle(v, rss), idle(plain, rss)),
		fmt.Sprintf("the target is %.0f B and %d B of noise; the server ran with %s", target, memoryNoise, strings.Join(eagerGC, " ")),
	}
	return row
}
