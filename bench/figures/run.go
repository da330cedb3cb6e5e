package figures

import (
	"context"
	"fmt"

	"belfry/bench/measure"
	"belfry/bench/report"
	"belfry/bench/target"
	"belfry/bench/tool"
)

// measured has all measured values.
type measured struct {
	Floor  []round      `json:"floor,omitempty"`
	Server []round      `json:"server,omitempty"`
	Memory []memory     `json:"memory,omitempty"`
	Rates  []rate       `json:"rates,omitempty"`
	Allocs *allocations `json:"allocs,omitempty"`

	Variants []variantRound `json:"variants,omitempty"` // one variant after the other
}

// round is the result of one server in one round.
type round struct {
	Connects float64          `json:"connects_per_second"`
	Fanout   []measure.Fanout `json:"fanout"` // belfry: one; floor: all threads, then one
	Push     *measure.Pushes  `json:"push,omitempty"`
}

// run is a measurement in progress.
type run struct {
	measured
	o         *Options
	p         *tool.Progress
	rep       *report.Report
	allocsErr error
}

// Run measures everything. Floor and server alternate, and in every other round
// the server goes first, so that a drift of the machine affects both.
func Run(ctx context.Context, o *Options, p *tool.Progress) (*report.Report, error) {
	rep, err := report.New("figures")
	if err != nil {
		return nil, err
	}
	r := &run{o: o, p: p, rep: rep}
	rounds, memoryRounds := o.Rounds, o.MemoryRounds
	if !o.measures("fanout") && !o.measures("push") {
		rounds = 0
	}
	if !o.measures("memory") {
		memoryRounds = 0
	}
	steps := 2*rounds + memoryRounds
	// The floor has neither streams nor variants.
	streams, variants := o.measures("rates") && o.Server != theFloor, o.measures("variants") && o.Server != theFloor
	if streams {
		steps += len(o.Rates)
	}
	if o.measures("allocs") {
		steps++
	}
	if variants {
		steps += variantSteps(o)
	}
	p.Begin(steps)
	for i := range rounds {
		if err := r.bothSides(ctx, i); err != nil {
			return nil, err
		}
	}
	for i := range memoryRounds {
		p.Step("memory, round %d of %d", i+1, memoryRounds)
		m, err := memoryRound(ctx, o, p)
		if err != nil {
			return nil, err
		}
		r.Memory = append(r.Memory, m)
	}
	if streams {
		if r.Rates, err = measureRates(ctx, o, p); err != nil {
			return nil, err
		}
	}
	if o.measures("allocs") {
		p.Step("allocations")
		a, err := measureAllocs(ctx)
		if r.Allocs = &a; err != nil {
			r.Allocs, r.allocsErr = nil, err // the other figures are valid without it
		}
	}
	if variants {
		if r.Variants, err = measureVariants(ctx, o, p); err != nil {
			return nil, err
		}
	}
	rep.Detail = &r.measured
	r.fill()
	return rep, nil
}

// bothSides does round i with floor and server, in the order of the round.
func (r *run) bothSides(ctx context.Context, i int) error {
	sides := []struct {
		name  string
		floor bool
		into  *[]round
	}{{"floor", true, &r.Floor}, {"server", false, &r.Server}}
	if i%2 == 1 {
		sides[0], sides[1] = sides[1], sides[0]
	}
	for _, s := range sides {
		r.p.Step("%s, round %d of %d", s.name, i+1, r.o.Rounds)
		x, err := oneSide(ctx, r.o, r.p, s.floor)
		if err != nil {
			return err
		}
		*s.into = append(*s.into, x)
	}
	return nil
}

// oneSide measures one server once.
func oneSide(ctx context.Context, o *Options, p *tool.Progress, floor bool) (r round, err error) {
	err = o.populate(ctx, p, floor, nil, func(pop *measure.Population) error {
		if err := pop.Connect(ctx, o.Conns); err != nil {
			return err
		}
		r.Connects = pop.Ramp.PerSecond()
		threads := []int{0} // belfry decides itself
		f, isFloor := pop.Target.(*target.Floor)
		if isFloor {
			threads[0] = o.Shards
		}
		if floor && o.Shards > 1 {
			threads = append(threads, 1)
		}
		for _, n := range threads {
			if !o.measures("fanout") {
				break
			}
			if isFloor {
				f.Threads = n
			}
			x, err := pop.Fanout(ctx, o.fanout())
			if err != nil {
				return err
			}
			x.Threads = n
			r.Fanout = append(r.Fanout, x)
		}
		if b, ok := pop.Target.(*target.Belfry); ok && o.measures("push") {
			p.Note("pushes to one user during a fan-out")
			r.Push, err = pop.Pushes(ctx, b, measure.ProbeOptions{Wire: o.wire(), Size: o.Size, Every: o.PushEvery, Lasting: o.Push})
			if err != nil {
				return fmt.Errorf("push: %w", err)
			}
		}
		return nil
	})
	return r, err
}

// fanout says how fan-outs are measured.
func (o *Options) fanout() measure.FanoutOptions {
	return measure.FanoutOptions{Warmups: 2, Count: o.Broadcasts, Size: o.Size}
}
