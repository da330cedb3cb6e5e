package plot

import (
	"math"
	"strconv"

	"gonum.org/v1/plot"
)

// aboutTicks is roughly the number of labels of an axis.
const aboutTicks = 6

// linearTicks puts labels at multiples of 1, 2 or 5 times a power of ten.
func linearTicks(low, high float64) []plot.Tick {
	step := niceStep((high - low) / aboutTicks)
	var ticks []plot.Tick
	for i := math.Ceil(low/step - 1e-9); i*step <= high+step*1e-9; i++ {
		v := i*step + 0 // 0, not -0
		ticks = append(ticks, plot.Tick{Value: v, Label: label(v, step)})
	}
	return ticks
}

// niceStep is the smallest of 1, 2, 5, 10, … × 10ⁿ that is not below v.
func niceStep(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if m*power >= v*(1-1e-9) {
			return m * power
		}
	}
	return 10 * power
}

// logTicks puts labels at powers of ten, and also at 2 and 5 times these if the
// axis has few, with marks without labels between them.
func logTicks(low, high float64) []plot.Tick {
	decades := math.Log10(high / low)
	var ticks []plot.Tick
	for power := math.Pow(10, math.Floor(math.Log10(low))); power <= high; power *= 10 {
		for m := 1.0; m < 10; m++ {
			v := m * power
			if v < low*(1-1e-9) || v > high*(1+1e-9) {
				continue
			}
			t := plot.Tick{Value: v}
			if m == 1 || decades < 2.5 && (m == 2 || m == 5) || decades < 0.8 {
				t.Label = label(v, v)
			}
			ticks = append(ticks, t)
		}
	}
	return ticks
}

// mostPercent is the end of a stretched axis of percentiles.
const mostPercent = 99.9999

// percentTicks labels an axis whose values are 100/(100-percent).
func percentTicks(low, high float64) []plot.Tick {
	var ticks []plot.Tick
	for _, t := range []plot.Tick{{Value: 1, Label: "0"}, {Value: 2, Label: "50"}, {Value: 4, Label: "75"}, {Value: 10, Label: "90"}, {Value: 100, Label: "99"},
		{Value: 1e3, Label: "99.9"}, {Value: 1e4, Label: "99.99"}, {Value: 1e5, Label: "99.999"}, {Value: 1e6, Label: "99.9999"}} {
		if t.Value >= low*(1-1e-9) && t.Value <= high*(1+1e-9) {
			ticks = append(ticks, t)
		}
	}
	return ticks
}

// label writes v with as many digits as step asks for, large ones with the
// prefixes of the SI: 15k, 2.5M.
func label(v, step float64) string {
	prefix := ""
	for _, p := range []struct {
		sign string
		unit float64
	}{{"G", 1e9}, {"M", 1e6}, {"k", 1e3}} {
		if math.Abs(v) >= p.unit*(1-1e-9) {
			v, step, prefix = v/p.unit, step/p.unit, p.sign
			break
		}
	}
	digits := max(0, int(math.Ceil(-math.Log10(step)-1e-9)))
	if v == 0 {
		digits = 0
	}
	return strconv.FormatFloat(v, 'f', digits, 64) + prefix
}
