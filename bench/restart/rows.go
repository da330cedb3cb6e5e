package restart

import (
	"fmt"

	"belfry/bench"
	"belfry/bench/report"
)

// Targets.
const (
	silenceAtMost = 500 // ms
	memoryAtMost  = 1.3 // of both processes, against the old one before
	growthAtMost  = 1.1 // of the last successor, against the first
)

// fill makes the rows of the report.
func (r *run) fill(rep *report.Report) {
	if len(r.Restarts) == 0 {
		return
	}
	of := func(value func(*restarted) float64) report.Series {
		return report.Gather(r.Restarts, func(one restarted) float64 { return value(&one) })
	}
	silence := of(func(one *restarted) float64 { return float64(one.Silence) / 1e6 })
	longest := 0.0
	for _, ms := range silence {
		longest = max(longest, ms)
	}
	first, last := r.Restarts[0], r.Restarts[len(r.Restarts)-1]
	whole := of(func(one *restarted) float64 { return float64(one.Peak+r.Kernel) / float64(one.Before+r.Kernel) })
	both := of(func(one *restarted) float64 { return float64(one.Peak) / float64(max(one.Before, 1)) })
	rep.Rows = append(rep.Rows,
		bench.Row{What: fmt.Sprintf("sessions of %d that ended in %d restarts", r.o.sessions(), len(r.Restarts)), Value: float64(r.Ended), Format: "%.0f", Bound: bench.AtMost, Notes: r.Causes},
		bench.Row{What: "messages lost, doubled or out of order", Value: float64(r.Faults), Format: "%.0f", Bound: bench.AtMost,
			Notes: []string{fmt.Sprintf("%d sent, %d received; %d questions to the backend, %d answers", r.Sent, r.Received, r.Asked, r.Answered)}},
		bench.Row{What: fmt.Sprintf("connects of %d that failed meanwhile", r.Churned+r.Failed), Value: float64(r.Failed), Format: "%.0f", Bound: bench.AtMost},
		bench.Row{What: "longest time from a push to its receipt, for any client", Value: longest, Format: "%.0f ms", Target: silenceAtMost, Bound: bench.AtMost,
			Notes: []string{fmt.Sprintf("restarts: %v ms; pushes that were repeated: %v", silence, of(func(one *restarted) float64 { return float64(one.Refused) }))}},
		bench.Row{What: "memory of both processes and of their sockets in the kernel ÷ before", Value: whole.Median(), Format: "%.2f ×", Target: memoryAtMost, Bound: bench.AtMost,
			Notes: []string{fmt.Sprintf("sockets %.1f MiB", float64(r.Kernel)/(1<<20))}},
		bench.Row{What: "memory of both processes alone ÷ of the old one before", Value: both.Median(), Format: "%.2f ×",
			Notes: []string{fmt.Sprintf("restarts: %v ×; before %v MiB", both, of(func(one *restarted) float64 { return float64(one.Before) / (1 << 20) }))}},
		bench.Row{What: "memory after the last restart ÷ after the first", Value: float64(last.After) / float64(max(first.After, 1)), Format: "%.2f ×", Target: growthAtMost, Bound: bench.AtMost},
		bench.Row{What: "descriptors in the last half of the restarts − in the first half", Value: leastFiles(r.Restarts[len(r.Restarts)/2:]) - leastFiles(r.Restarts[:(len(r.Restarts)+1)/2]), Format: "%.0f", Target: float64(r.o.Churn), Bound: bench.AtMost, // clients come and go
			Notes: []string{fmt.Sprintf("restarts: %v", of(func(one *restarted) float64 { return float64(one.Files) }))}},
		bench.Row{What: "time of a restart", Value: of(func(one *restarted) float64 { return one.Took }).Median(), Format: "%.2f s",
			Notes: []string{"what belfry restart said: " + last.Output}},
	)
}

// leastFiles returns the fewest descriptors after one of the restarts: clients that come
// and go, and requests, have some now and then.
func leastFiles(all []restarted) float64 {
	least := all[0].Files
	for _, one := range all {
		least = min(least, one.Files)
	}
	return float64(least)
}
