package figures

import (
	"slices"
	"strings"
	"testing"

	"belfry/bench"
	"belfry/bench/measure"
)

func TestVariantsAgainstFake(t *testing.T) {
	out, err := smallOf(t, "variants", "--json")
	if err != nil {
		t.Fatal(err)
	}
	r := read(t, out)
	if len(r.Rows) != 6 {
		t.Errorf("%d rows", len(r.Rows))
	}
	for _, row := range r.Rows {
		if row.Missing != "" {
			t.Errorf("%s: %s", row.What, row.Missing)
		}
	}
	back := slices.Clone(fanoutVariants)
	slices.Reverse(back)
	want := slices.Concat(fanoutVariants, back, memoryVariants) // two rounds, and one of memory
	if len(r.Measured.Variants) != len(want) {
		t.Fatalf("%d measurements, want %d", len(r.Measured.Variants), len(want))
	}
	for i, x := range r.Measured.Variants {
		if x.Variant != want[i] {
			t.Errorf("measurement %d: %+v, want %+v", i, x.Variant, want[i])
		}
		if f := x.Fanout; (f == nil) != (i >= 2*len(fanoutVariants)) || f != nil && (f.CPU <= 0 || f.Wall <= 0 || len(f.Walls) != 5) {
			t.Errorf("measurement %d: %+v", i, f)
		}
	}
}

// A variant that costs more than its target is a miss, whichever round it was
// measured in.
func TestVariantRows(t *testing.T) {
	of := func(v variant, cpu, idle float64) variantRound {
		r := variantRound{Variant: v, Idle: idle, IdleAnon: idle}
		if cpu > 0 {
			r.Fanout = &measure.Fanout{CPU: cpu, Wall: 100}
		}
		return r
	}
	r := &run{o: &Options{Conns: 15000, Base: 5000, Size: 128}, measured: measured{Variants: []variantRound{
		of(events, 4.4, 0), of(plain, 4, 0), of(documents, 5, 0), of(deflateDocuments, 4, 0),
		of(events, 0, 216), of(plain, 0, 200), of(deflate, 0, 206),
	}}}
	verdicts := map[string]string{
		"JSON to 15000: server CPU":       "ok",   // 0.8 ×
		"fan-out of 128 bytes":            "miss", // 1.1 ×
		"WebSocket with deflate beyond":   "miss", // 6 B, where 5 are noise
		"SSE beyond WebSocket":            "ok",   // 16 B
		"the same: publish → last receip": "",
	}
	rows := r.variantRows()
	for what, want := range verdicts {
		i := slices.IndexFunc(rows, func(row bench.Row) bool { return strings.Contains(row.What, what) })
		if i < 0 || rows[i].Outcome() != want {
			t.Errorf("%s: row %d of %+v, want %q", what, i, rows, want)
		}
	}
	r.Variants = nil
	for _, row := range r.variantRows() {
		if row.Outcome() != "not measured" {
			t.Errorf("%s: %s of nothing", row.What, row.Outcome())
		}
	}
}
