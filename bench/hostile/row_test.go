package hostile

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"belfry/bench"
)

func TestOutcome(t *testing.T) {
	good := Row{Attack: "a", What: "what", Attackers: 8, Ratio: 4, Target: 4, Innocents: 2}
	if got := good.verdict(); got != "ok" || len(good.Misses()) != 0 {
		t.Errorf("%s: %q", got, good.Misses())
	}
	for name, c := range map[string]struct {
		change  func(*Row)
		verdict string
		miss    string
	}{
		"slow":      {func(r *Row) { r.Ratio = 4.1 }, "slow", "4.1 × of the control"},
		"closed":    {func(r *Row) { r.InnocentsClosed = map[string]int{"close 4005": 1} }, "fault", "innocents closed: 1 × close 4005"},
		"lost":      {func(r *Row) { r.Attacked.Lost = 3 }, "fault", "pushes lost: 3"},
		"refused":   {func(r *Row) { r.After.Refused, r.After.Causes = 2, map[string]int{"status 503": 2} }, "fault", "pushes refused: 2, 2 × status 503"},
		"twice":     {func(r *Row) { r.Twice = 1 }, "fault", "delivered twice: 1"},
		"newcomers": {func(r *Row) { r.NewAttacked.Failed = map[string]int{"status 503": 9} }, "fault", "newcomers not let in: 9 × status 503"},
		"unhealthy": {func(r *Row) {
			r.NewAttacked.Unhealthy, r.NewAttacked.Asked = map[string]int{"timeout": 2}, 12
		}, "fault", "/healthz: 2 × timeout of 12"},
		"died": {func(r *Row) { r.Died = "killed" }, "fault", "the node died: killed"},
	} {
		r := good
		c.change(&r)
		if r.verdict() != c.verdict || !slices.ContainsFunc(r.Misses(), func(m string) bool { return strings.Contains(m, c.miss) }) {
			t.Errorf("%s: %s, %q", name, r.verdict(), r.Misses())
		}
		if result := (&Result{Rows: []Row{good, r}}); result.Met() {
			t.Errorf("%s: counts as met", name)
		}
	}
	if !(&Result{Rows: []Row{good}}).Met() {
		t.Error("a good row is not met")
	}
}

func TestMemoryMisses(t *testing.T) {
	back := Memory{Before: 40 << 20, Peak: 60 << 20, After: 47 << 20}
	for name, c := range map[string]struct {
		row  Row
		miss string
	}{
		"not back":        {Row{AfterTime: 10 * time.Second, Memory: Memory{Before: 40 << 20, Peak: 60 << 20, After: 49 << 20}}, "memory is not back 10s after"},
		"no time":         {Row{AfterTime: time.Second, Memory: Memory{Before: 40 << 20, Peak: 60 << 20, After: 49 << 20}}, ""},
		"back":            {Row{AfterTime: 10 * time.Second, Memory: back}, ""},
		"above its bound": {Row{Memory: back, Bound: [2]int64{10 << 20, 0}}, "grew by 20 MB, to reach ≤ 10"},
		"joined":          {Row{Joined: &back, Bound: [2]int64{0, 10 << 20}}, "the joined node grew by 20 MB"},
		"below":           {Row{Memory: back, Joined: &back, Bound: [2]int64{20 << 20, 20 << 20}}, ""},
	} {
		misses := c.row.Misses()
		if (c.miss == "") != (len(misses) == 0) || c.miss != "" && !strings.Contains(misses[0], c.miss) {
			t.Errorf("%s: %q", name, misses)
		}
		if len(c.row.Faults()) != 0 {
			t.Errorf("%s: a fault: %q", name, c.row.Faults())
		}
	}
}

// The middle round is shown, with the faults of the others.
func TestMedian(t *testing.T) {
	row := median([]Row{{Ratio: 9}, {Ratio: 1, Attacked: Pushed{Lost: 2}}, {Ratio: 3}})
	if row.Ratio != 3 || !slices.Equal(row.Faults(), []string{"in another round: pushes lost: 2"}) {
		t.Errorf("%v, %q", row.Ratio, row.Faults())
	}
	if row := median([]Row{{Ratio: 5}}); row.Ratio != 5 || len(row.Faults()) != 0 {
		t.Errorf("one round: %+v", row)
	}
}

// Faults of the control are not faults of the node.
func TestControlIsNoFault(t *testing.T) {
	r := Row{Ratio: 1, Target: 2, NewControl: Newcomers{Failed: map[string]int{"timeout": 1}}, Control: Pushed{Refused: 1}}
	if m := r.Misses(); len(m) != 0 {
		t.Errorf("%q", m)
	}
}

func TestWitness(t *testing.T) {
	w := newWitness(nil, "u")
	at := func(ph phase, due int64) uint32 { return w.offer(due, ph) }
	one, two, three, four := at(phControl, 0), at(phAttacked, 0), at(phAttacked, 0), at(phAttacked, 0)
	w.answered(one, accepted, "")
	w.take(bench.Message{Seq: one}, 2e6)
	w.answered(two, accepted, "")
	w.take(bench.Message{Seq: two}, 40e6)
	w.take(bench.Message{Seq: two}, 50e6)
	w.take(bench.Message{Seq: 99}, 50e6)
	w.answered(three, refused, "status 503")
	w.answered(four, accepted, "")
	if n := w.waiting(); n != 1 {
		t.Errorf("%d wait", n)
	}
	if got := w.tally(phControl); got.Due != 1 || got.Lost+got.Refused != 0 || got.P99 < 1.9 || got.P99 > 2.1 {
		t.Errorf("control: %+v", got)
	}
	got := w.tally(phAttacked)
	if got.Due != 3 || got.Lost != 1 || got.Refused != 1 || got.Causes["status 503"] != 1 || got.P99 < 39 || got.P99 > 41 || w.twice != 1 {
		t.Errorf("attacked: %+v, %d twice", got, w.twice)
	}
	w.answered(four, unanswered, "")
	if got := w.tally(phAttacked); got.Refused != 2 || got.Lost != 0 {
		t.Errorf("without an answer: %+v", got)
	}
}

func TestWorse(t *testing.T) {
	got := worse(Pushed{Due: 1, Refused: 2, Lost: 3, P50: 9, P99: 10, Causes: map[string]int{"EOF": 2}}, Pushed{Due: 10, Refused: 20, Lost: 30, P50: 1, P99: 11, Causes: map[string]int{"EOF": 20}})
	if want := (Pushed{Due: 11, Refused: 22, Lost: 33, P50: 1, P99: 11, Causes: map[string]int{"EOF": 22}}); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}

func TestWrite(t *testing.T) {
	r := &Result{Machine: "a machine", Server: "v1", Attack: 3 * time.Second, Rows: []Row{{
		Attack: "pings", What: "flood", Attackers: 8, Ratio: 5, Target: 4, Innocents: 22,
		Idle: Pushed{P99: 0.5}, Control: Pushed{P99: 2.04}, Attacked: Pushed{P99: 10.2, Lost: 1},
		InnocentsClosed: map[string]int{"close 4005": 6, "EOF": 7},
		OnNode:          Report{Closed: map[string]int{"close 1008": 8}, First: 2, Last: 2.5, Limited: 3, Peak: 8e6, End: 1e5},
		Memory:          Memory{Before: 30e6, Peak: 60e6, After: 31e6}, AfterTime: 10 * time.Second, Joined: &Memory{Before: 1e6, Peak: 2e6, After: 3e6},
		Limits: map[string]int{"session.message_rate": 4}, LeftOut: []string{"a.b=1"},
	}}}
	var with, without strings.Builder
	r.Load = 1.5
	if err := r.Write(&with, true); err != nil {
		t.Fatal(err)
	}
	if err := r.Write(&without, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"a machine; belfry v1; 3s an attack", "0.50, 2.0, 10", "5.0 ×", "13 of 22", "0, 1", "8 × close 1008; 3 err rate_limited", "2.0–2.5",
		"8.0, 0.10", "30, 60, 31 after 10 s", "1, 2, 3", "4 × session.message_rate", "fault", "on a quiet machine"} {
		if !strings.Contains(without.String(), want) {
			t.Errorf("tables without %q:\n%s", want, without.String())
		}
	}
	notes, ok := strings.CutPrefix(with.String(), without.String())
	if !ok {
		t.Fatalf("the tables differ with notes:\n%s", with.String())
	}
	for _, want := range []string{"pings, 8:", "innocents closed: 7 × EOF, 6 × close 4005", "pushes lost: 1", "does not know: a.b=1"} {
		if !strings.Contains(notes, want) {
			t.Errorf("notes without %q:\n%s", want, notes)
		}
	}
	if strings.Contains(notes, "all reached") {
		t.Error("says that all was reached")
	}
}
