package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"belfry/bench"
)

// histogram is a Prometheus histogram: cumulative counts by upper bound in
// seconds, in rising order.
type histogram struct {
	bounds []float64
	counts []float64
}

// parseHistogram finds the buckets of a metric in the text exposition format
// and adds up its series. A metric that is not there has no buckets.
func parseHistogram(text, metric string) (histogram, error) {
	sums := make(map[float64]float64)
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), metric+"_bucket{")
		if !ok {
			continue
		}
		labels, value, ok1 := strings.Cut(rest, "}")
		_, le, ok2 := strings.Cut(labels, `le="`)
		le, _, ok3 := strings.Cut(le, `"`)
		bound, err1 := strconv.ParseFloat(le, 64)
		count, err2 := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if !ok1 || !ok2 || !ok3 || err1 != nil || err2 != nil {
			return histogram{}, fmt.Errorf("metrics: malformed line %q", line)
		}
		sums[bound] += count
	}
	var h histogram
	for bound := range sums {
		h.bounds = append(h.bounds, bound)
	}
	slices.Sort(h.bounds)
	for _, bound := range h.bounds {
		h.counts = append(h.counts, sums[bound])
	}
	return h, nil
}

// since returns what was added to old to give h.
func (h histogram) since(old histogram) histogram {
	d := histogram{bounds: h.bounds, counts: slices.Clone(h.counts)}
	for i, bound := range old.bounds {
		if at, ok := slices.BinarySearch(d.bounds, bound); ok {
			d.counts[at] -= old.counts[i]
		}
	}
	return d
}

// quantile returns the upper bound of the bucket that holds the q-quantile,
// in seconds: never less than the true value. Beyond the last finite bound it
// is infinite.
func (h histogram) quantile(q float64) float64 {
	for i, n := range h.counts {
		if n >= q*h.total() && n > 0 {
			return h.bounds[i]
		}
	}
	return 0
}

func (h histogram) total() float64 {
	if len(h.counts) == 0 {
		return 0
	}
	return h.counts[len(h.counts)-1]
}

func (h histogram) quantiles() bench.Quantiles {
	ns := func(q float64) int64 { return int64(min(h.quantile(q)*1e9, 1<<62)) }
	return bench.Quantiles{Count: int64(h.total()), P50: ns(0.5), P99: ns(0.99), P999: ns(0.999), Max: ns(1)}
}
