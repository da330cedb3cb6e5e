package million

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"belfry/bench"
)

// Run makes a plan and prints it to out. If the host can hold it, Run starts
// everything, measures, and ends every process that it started. An error with a
// result means that the run did not complete; the result has the values
// measured before.
func Run(ctx context.Context, o *Options, out io.Writer) (*Result, error) {
	facts, err := ReadFacts()
	if err != nil {
		return nil, err
	}
	plan, err := MakePlan(facts, Wanted{Connections: o.Connections, PerNode: o.PerNode})
	if plan != nil {
		fmt.Fprint(out, plan.Text(facts))
	}
	if err != nil {
		return nil, err
	}
	if o.FirstPort >= facts.PortLow {
		return nil, fmt.Errorf("--first-port %d: must be below %d, where ephemeral ports begin", o.FirstPort, facts.PortLow)
	}
	r := &Result{Machine: bench.Machine(), Command: strings.Join(os.Args, " "), Began: time.Now().UTC(), Facts: facts, Plan: plan, opts: o}
	if r.LoadBefore, err = bench.Load(); err != nil {
		return nil, err
	}
	t := newProgress(out)
	err = r.rounds(ctx, t)
	t.end()
	if err != nil {
		r.Unfinished = err.Error()
	}
	r.Took = time.Since(r.Began).Seconds()
	r.fill()
	return r, err
}

// rounds runs the three parts of a run one after the other, because the memory
// of the host is enough for one population only.
func (r *Result) rounds(ctx context.Context, t *progress) error {
	o, plan := r.opts, r.Plan
	ports := &ports{next: o.FirstPort, end: r.Facts.PortLow}
	if !o.SkipFloor {
		r.Floor = &growth{}
		f := newFloors(o, plan, ports)
		err := populate(ctx, o, plan, f, t, func(c *clients) error { return grow(ctx, o, plan, f, c, t, r.Floor) })
		if err != nil {
			return err
		}
	}
	r.Belfry = &growth{}
	b := newBelfry(o, plan, ports, 0)
	err := populate(ctx, o, plan, b, t, func(c *clients) error {
		if err := grow(ctx, o, plan, b, c, t, r.Belfry); err != nil || o.Push == 0 {
			return err
		}
		t.phase(0, "belfry: pushes to one user during fan-outs to %d", o.Connections)
		var err error
		r.Push, err = measurePush(ctx, o, b, c)
		return err
	})
	if err != nil || o.Ping == 0 {
		return err
	}
	r.Idle = &idle{}
	b = newBelfry(o, plan, ports, o.Ping)
	return populate(ctx, o, plan, b, t, func(c *clients) error { return sit(ctx, o, plan, b, c, t, r.Idle) })
}

// populate runs f with servers and clients and ends both. The clients end
// first, because their resets leave no port in TIME_WAIT.
func populate(ctx context.Context, o *Options, p *Plan, s servers, t *progress, f func(*clients) error) error {
	c := newClients(o, p, s, t.add)
	err := f(c)
	during := t.phase(0, "%s: ending its processes", s.name())
	if err == nil {
		_, err = c.all(ctx, bench.Command{Op: bench.OpDrop})
	}
	switch {
	case err == nil:
	case ctx.Err() != nil: // the error has this cause
		err = fmt.Errorf("%w, in the stage %q", context.Cause(ctx), during)
	default:
		// The cause may be a process that ended a moment ago.
		_ = bench.Sleep(ctx, 500*time.Millisecond)
		err = errors.Join(fmt.Errorf("in the stage %q: %w", during, err), alive(append(s.processes(), c.processes()...)))
	}
	c.stop()
	s.stop()
	return err
}
