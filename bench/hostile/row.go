package hostile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// phase is a part of the time of a row.
type phase uint8

const (
	phBetween  phase = iota // not counted
	phIdle                  // no attack
	phControl               // the attack is on the other node
	phAttacked              // the attack is on the witness's node
	phAfter                 // the attackers have left
	phases
)

// Memory is VmRSS of a node, in bytes.
type Memory struct {
	Before int64 `json:"before"`
	Peak   int64 `json:"peak"` // while it was attacked
	After  int64 `json:"after"`
}

// Growth returns how many bytes the attack added at its peak.
func (m Memory) Growth() int64 { return max(m.Peak-m.Before, 0) }

// kept says whether memory has not come back to within a tenth plus a few MiB,
// by which a heap of this size varies.
func (m Memory) kept() bool { return m.After > m.Before+m.Before/10+4<<20 }

// Row is one attack by a number of attackers.
type Row struct {
	Attack    string `json:"attack"`
	What      string `json:"what"`
	Attackers int    `json:"attackers"`

	Idle     Pushed  `json:"idle"`
	Control  Pushed  `json:"control"`
	Attacked Pushed  `json:"attacked"`
	After    Pushed  `json:"after"`
	Ratio    float64 `json:"ratio"`  // p99 attacked / p99 control
	Target   float64 `json:"target"` // limit of the ratio

	NewIdle     Newcomers `json:"newcomers_idle"`
	NewControl  Newcomers `json:"newcomers_control"`
	NewAttacked Newcomers `json:"newcomers_attacked"`

	Innocents       int            `json:"innocents"` // witnesses and slow readers
	InnocentsClosed map[string]int `json:"innocents_closed,omitempty"`
	Twice           int            `json:"delivered_twice"`

	OnControl Report `json:"attackers_on_control"`
	OnNode    Report `json:"attackers_on_node"`

	Memory    Memory             `json:"memory"`
	AfterTime time.Duration      `json:"memory_after_ns"` // from the end of the attack
	Joined    *Memory            `json:"memory_joined,omitempty"`
	Gauges    map[string]float64 `json:"gauges"`                 // highest values while it was attacked
	Limits    map[string]int     `json:"limits_hit"`             // belfry_limits_hit_total
	Reasons   map[string]int     `json:"closed_by_reason"`       // belfry_closed_total
	LeftOut   []string           `json:"left_out,omitempty"`     // settings that the binary does not know
	Bound     [2]int64           `json:"memory_bounds"`          // see Attack.Grow
	Others    []string           `json:"other_rounds,omitempty"` // faults of the rounds that are not shown
	Shut      string             `json:"shut,omitempty"`         // see Attack.Shut
	Died      string             `json:"died,omitempty"`         // how the node ended, if it did
}

// Faults returns everything that must not happen on a machine of any speed.
func (r *Row) Faults() []string {
	var f []string
	add := func(n int, format string, args ...any) {
		if n > 0 {
			f = append(f, fmt.Sprintf(format, args...))
		}
	}
	if r.Died != "" {
		f = append(f, "the node died: "+r.Died)
	}
	add(sum(r.InnocentsClosed), "innocents closed: %s", counts(r.InnocentsClosed))
	add(r.Attacked.Lost+r.After.Lost, "pushes lost: %d", r.Attacked.Lost+r.After.Lost)
	add(r.Attacked.Refused+r.After.Refused, "pushes refused: %d, %s", r.Attacked.Refused+r.After.Refused, counts(merged(r.Attacked.Causes, r.After.Causes)))
	add(r.Twice, "pushes delivered twice: %d", r.Twice)
	if r.Shut == "" {
		add(sum(r.NewAttacked.Failed), "newcomers not let in: %s", counts(r.NewAttacked.Failed))
	}
	add(sum(r.NewAttacked.Unhealthy), "/healthz: %s of %d", counts(r.NewAttacked.Unhealthy), r.NewAttacked.Asked)
	for _, other := range r.Others {
		f = append(f, "in another round: "+other)
	}
	return f
}

// Misses returns the missed targets: the faults and the ratio.
func (r *Row) Misses() []string {
	f := r.Faults()
	if r.Ratio > r.Target {
		f = append(f, fmt.Sprintf("p99 of the witness %.1f × of the control, to reach ≤ %g ×", r.Ratio, r.Target))
	}
	f = append(f, r.memoryMisses()...)
	return f
}

// memoryMisses returns the missed targets for memory.
func (r *Row) memoryMisses() (f []string) {
	if r.AfterTime >= memoryTime && r.Memory.kept() {
		f = append(f, fmt.Sprintf("memory is not back %v after: %s MB", r.AfterTime, mb(r.Memory)))
	}
	if b := r.Bound[0]; b > 0 && r.Memory.Growth() > b {
		f = append(f, fmt.Sprintf("grew by %d MB, to reach ≤ %d", r.Memory.Growth()/1e6, b/1e6))
	}
	if b := r.Bound[1]; b > 0 && r.Joined != nil && r.Joined.Growth() > b {
		f = append(f, fmt.Sprintf("the joined node grew by %d MB, to reach ≤ %d", r.Joined.Growth()/1e6, b/1e6))
	}
	return f
}

// memoryTime is the least time after which memory must be back.
const memoryTime = 5 * time.Second

// median returns the row with the middle ratio, with the faults of the others:
// times vary between rounds, but no round may have faults.
func median(rows []Row) Row {
	slices.SortStableFunc(rows, func(a, b Row) int { return cmp.Compare(a.Ratio, b.Ratio) })
	mid := len(rows) / 2
	row := rows[mid]
	for i := range rows {
		if i != mid {
			row.Others = append(row.Others, rows[i].Faults()...)
		}
	}
	return row
}

// target returns the limit of a row's ratio.
func target(attackers int) float64 {
	if attackers == 1 {
		return 2
	}
	return 4
}

// Result is the result of a run.
type Result struct {
	Machine string        `json:"machine"`
	Server  string        `json:"server"` // its version
	Load    float64       `json:"load"`   // load average before
	Attack  time.Duration `json:"attack_ns"`
	Rows    []Row         `json:"rows"`
}

// Met says whether no row missed anything.
func (r *Result) Met() bool {
	return !slices.ContainsFunc(r.Rows, func(row Row) bool { return len(row.Misses()) > 0 })
}

// merged adds up counts.
func merged(a, b map[string]int) map[string]int {
	m := maps.Clone(a)
	if m == nil {
		m = make(map[string]int)
	}
	for k, n := range b {
		m[k] += n
	}
	return m
}

func sum(m map[string]int) (n int) {
	for _, k := range m {
		n += k
	}
	return n
}

// counts is "3 × close 1008, 1 × EOF", the most frequent first.
func counts(m map[string]int) string {
	keys := slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		if m[a] != m[b] {
			return m[b] - m[a]
		}
		return strings.Compare(a, b)
	})
	var parts []string
	for _, k := range keys {
		if m[k] > 0 {
			parts = append(parts, fmt.Sprintf("%d × %s", m[k], k))
		}
	}
	return strings.Join(parts, ", ")
}
