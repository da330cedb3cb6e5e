package bench

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Quantiles is a latency distribution, in nanoseconds.
type Quantiles struct {
	Count int64 `json:"count"`
	P50   int64 `json:"p50"`
	P99   int64 `json:"p99"`
	P999  int64 `json:"p999"`
	Max   int64 `json:"max"`
}

// latency collects one; two significant digits are more than two runs agree in.
type latency struct{ h *hdrhistogram.Histogram }

func newLatency() *latency {
	return &latency{hdrhistogram.New(1, int64(time.Minute), 2)}
}

func (l *latency) record(ns int64) {
	_ = l.h.RecordValue(min(max(ns, 1), int64(time.Minute))) // fails only outside these bounds
}

func (l *latency) quantiles() Quantiles {
	return Quantiles{
		Count: l.h.TotalCount(),
		P50:   l.h.ValueAtQuantile(50),
		P99:   l.h.ValueAtQuantile(99),
		P999:  l.h.ValueAtQuantile(99.9),
		Max:   l.h.Max(),
	}
}
