package million

import (
	"cmp"
	"slices"

	"belfry/bench"
)

// ramp is the progress of connecting.
type ramp struct {
	Opened int            `json:"opened"`
	Failed map[string]int `json:"failed,omitempty"` // by cause
	Took   float64        `json:"took_seconds"`     // first connect(2) → last 101, without the pauses between parts
	Points []rampPoint    `json:"points"`
}

type rampPoint struct {
	Seconds float64 `json:"s"`
	Open    int     `json:"open"`
}

func (r *ramp) perSecond() float64 { return float64(r.Opened) / r.Took }

func (r *ramp) failed() int {
	n := 0
	for _, v := range r.Failed {
		n += v
	}
	return n
}

// add appends one part to the ramp.
func (r *ramp) add(dialed []bench.Dialed) {
	if len(dialed) == 0 {
		return
	}
	slices.SortFunc(dialed, func(a, b bench.Dialed) int { return cmp.Compare(a.End, b.End) })
	start := dialed[0].Start
	for _, d := range dialed {
		start = min(start, d.Start)
	}
	before := r.Took
	if len(r.Points) == 0 {
		r.Points = append(r.Points, rampPoint{})
	}
	for _, d := range dialed {
		r.Opened += d.Opened
		r.Took = before + float64(d.End-start)/1e9
		r.Points = append(r.Points, rampPoint{r.Took, r.Opened})
	}
}
