package bench

import (
	"encoding/json"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// maxLatency is the longest time that a Histogram can distinguish.
const maxLatency = 10 * time.Minute

// Quantiles is a latency distribution, in nanoseconds.
type Quantiles struct {
	Count int64 `json:"count"`
	P50   int64 `json:"p50"`
	P99   int64 `json:"p99"`
	P999  int64 `json:"p999"`
	Max   int64 `json:"max"`
}

// Histogram collects latencies from 1 ns to 10 minutes with an error of at
// most 1 %, which is less than two runs differ by. Create it by NewHistogram.
type Histogram struct{ h *hdrhistogram.Histogram }

// NewHistogram returns an empty histogram; it takes about 60 KB.
func NewHistogram() *Histogram {
	return &Histogram{hdrhistogram.New(1, int64(maxLatency), 2)}
}

// Record counts one latency in nanoseconds. A value out of range counts at the
// end of the range.
func (l *Histogram) Record(ns int64) {
	_ = l.h.RecordValue(min(max(ns, 1), int64(maxLatency))) // fails only outside these bounds
}

// Reset empties the histogram.
func (l *Histogram) Reset() { l.h.Reset() }

// Merge adds the latencies of o.
func (l *Histogram) Merge(o *Histogram) {
	if o != nil {
		l.h.Merge(o.h)
	}
}

// Count is the number of latencies recorded.
func (l *Histogram) Count() int64 { return l.h.TotalCount() }

// At returns the latency, in nanoseconds, that the given percentage of all
// latencies do not exceed.
func (l *Histogram) At(percent float64) int64 { return l.h.ValueAtQuantile(percent) }

// Quantiles returns those that are reported.
func (l *Histogram) Quantiles() Quantiles {
	return Quantiles{Count: l.Count(), P50: l.At(50), P99: l.At(99), P999: l.At(99.9), Max: l.h.Max()}
}

// Curve returns for each of ns the share, in percent, of latencies that do not
// exceed it. For receipts of a broadcast this is the share of clients reached
// after that time.
func (l *Histogram) Curve() (ns, percent []float64) {
	total, reached := float64(l.Count()), 0.0
	for _, bar := range l.h.Distribution() {
		if bar.Count == 0 {
			continue
		}
		reached += float64(bar.Count)
		ns = append(ns, float64(bar.To))
		percent = append(percent, 100*reached/total)
	}
	return ns, percent
}

// MarshalJSON writes pairs of a latency and its count, without the empty ones.
func (l *Histogram) MarshalJSON() ([]byte, error) {
	pairs := [][2]int64{}
	for _, bar := range l.h.Distribution() {
		if bar.Count > 0 {
			pairs = append(pairs, [2]int64{bar.From, bar.Count})
		}
	}
	return json.Marshal(pairs)
}

// UnmarshalJSON reads what MarshalJSON wrote; the counts are the same.
func (l *Histogram) UnmarshalJSON(p []byte) error {
	var pairs [][2]int64
	if err := json.Unmarshal(p, &pairs); err != nil {
		return err
	}
	*l = *NewHistogram()
	for _, pair := range pairs {
		if err := l.h.RecordValues(pair[0], pair[1]); err != nil {
			return err
		}
	}
	return nil
}
