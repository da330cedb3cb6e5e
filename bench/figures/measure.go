package figures

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"belfry/bench"
	"belfry/bench/tool"
)

// measured has all measured values.
type measured struct {
	Floor  []sideRound  `json:"floor,omitempty"`
	Server []sideRound  `json:"server,omitempty"`
	Memory []memory     `json:"memory,omitempty"`
	Rates  []rate       `json:"rates,omitempty"`
	Allocs *allocations `json:"allocs,omitempty"`

	Variants []variantRound `json:"variants,omitempty"` // one variant after the other
}

// measure measures everything. Floor and server alternate, and in every other
// round the server goes first, so that a drift of the machine affects both.
func measure(ctx context.Context, o options, p *tool.Progress) (*report, error) {
	r := &report{Command: strings.Join(os.Args, " "), Machine: bench.Machine(), Began: time.Now().UTC(), opts: o}
	var err error
	if r.LoadBefore, err = bench.Load(); err != nil {
		return nil, err
	}
	rounds, memoryRounds := o.rounds, o.memoryRounds
	if !o.measures("fanout") && !o.measures("push") {
		rounds = 0
	}
	if !o.measures("memory") {
		memoryRounds = 0
	}
	steps := 2*rounds + memoryRounds
	if streams(o) {
		steps += len(o.rates)
	}
	if o.measures("allocs") {
		steps++
	}
	if variants(o) {
		steps += variantSteps(o)
	}
	p.Begin(steps)
	defer p.End()

	for i := range rounds {
		if err := bothSides(ctx, o, p, i, &r.Measured); err != nil {
			return nil, err
		}
	}
	for i := range memoryRounds {
		p.Step("memory, round %d of %d", i+1, memoryRounds)
		m, err := memoryRound(ctx, o)
		if err != nil {
			return nil, fmt.Errorf("memory, round %d: %w", i+1, err)
		}
		r.Measured.Memory = append(r.Measured.Memory, m)
	}
	if err := r.measureServer(ctx, o, p); err != nil {
		return nil, err
	}
	r.Took = time.Since(r.Began).Seconds()
	r.fill()
	return r, nil
}

// The floor has neither streams nor variants.
func streams(o options) bool  { return o.measures("rates") && o.server != "floor" }
func variants(o options) bool { return o.measures("variants") && o.server != "floor" }

// measureServer measures what is measured without the floor.
func (r *report) measureServer(ctx context.Context, o options, p *tool.Progress) (err error) {
	if streams(o) {
		if r.Measured.Rates, err = measureRates(ctx, o, p); err != nil {
			return fmt.Errorf("rates: %w", err)
		}
	}
	if o.measures("allocs") {
		p.Step("allocations")
		a, err := measureAllocs(ctx)
		if err != nil {
			r.allocsErr = err // the other figures are valid without it
		} else {
			r.Measured.Allocs = &a
		}
	}
	if variants(o) {
		if r.Measured.Variants, err = measureVariants(ctx, o, p); err != nil {
			return fmt.Errorf("variants: %w", err)
		}
	}
	return nil
}

// bothSides does round i with floor and server, in the order of the round.
func bothSides(ctx context.Context, o options, p *tool.Progress, i int, m *measured) error {
	runs := []func() error{
		func() error {
			p.Step("floor, round %d of %d", i+1, o.rounds)
			r, err := floorRound(ctx, o)
			m.Floor = append(m.Floor, r)
			return err
		},
		func() error {
			p.Step("server, round %d of %d", i+1, o.rounds)
			r, err := serverRound(ctx, o, func(what string) { p.Note("server, round %d of %d: %s", i+1, o.rounds, what) })
			m.Server = append(m.Server, r)
			return err
		},
	}
	if i%2 == 1 {
		runs[0], runs[1] = runs[1], runs[0]
	}
	for _, run := range runs {
		if err := run(); err != nil {
			return fmt.Errorf("round %d: %w", i+1, err)
		}
	}
	return nil
}
