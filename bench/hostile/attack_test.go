package hostile

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"
)

// Every attack can be carried out: its name is unique, its numbers of attackers
// rise and fit into a process, and its plan does something.
func TestAttacks(t *testing.T) {
	names := Names()
	for i, a := range Attacks() {
		if slices.Contains(names[:i], a.Name) || a.Name == "" || a.What == "" || strings.ContainsAny(a.Name, ":, ") {
			t.Errorf("name %q, %q", a.Name, a.What)
		}
		if len(a.Counts) == 0 || !slices.IsSorted(a.Counts) {
			t.Errorf("%s: counts %v", a.Name, a.Counts)
		}
		for _, n := range a.Counts {
			if n < 1 || n > maxAttackers {
				t.Errorf("%s: %d attackers", a.Name, n)
			}
			p := a.Plan(n, Aim{UID: "u"})
			if p.Rate == 0 && p.Count != n {
				t.Errorf("%s: %d attackers planned as %d", a.Name, n, p.Count)
			}
			if p.Head == nil && p.Drip == nil {
				t.Errorf("%s: does nothing", a.Name)
			}
			if p.Upgrade && !bytes.HasPrefix(p.Head(n-1), []byte("GET /ws")) {
				t.Errorf("%s: no upgrade request: %.40q", a.Name, p.Head(n-1))
			}
			if (len(p.Drip) > 0) != (p.Every > 0) || p.Every > time.Second {
				t.Errorf("%s: drips every %v", a.Name, p.Every)
			}
		}
	}
}

// No user has more sessions than the default of session.max_per_user, so that
// the attack is measured and not this limit.
func TestAttackersOfOneUser(t *testing.T) {
	for _, n := range []int{1, 8, 500, 1000, 8000} {
		head := v1(n, Aim{UID: "hostile"})
		sessions := make(map[string]int)
		for i := range n {
			line, _, _ := bytes.Cut(head(i), []byte("\r\n"))
			sessions[string(line)]++
		}
		for uid, k := range sessions {
			if k > 64 {
				t.Errorf("%d attackers: %d sessions of %s", n, k, uid)
			}
		}
		if n <= 32 && len(sessions) != 1 {
			t.Errorf("%d attackers are %d users, so they may miss the witness's shard", n, len(sessions))
		}
	}
}

// No name occurs twice, so that each subscription is new.
func TestNewTopics(t *testing.T) {
	seen := make(map[string]bool)
	for n := range 3 {
		for round := range 3 {
			for name := range strings.SplitSeq(string(newTopics(n, round)), `"`) {
				if strings.HasPrefix(name, "public.") {
					seen[name] = true
				}
			}
		}
	}
	if want := 3 * 3 * 8 * 100; len(seen) != want {
		t.Errorf("%d names, not %d", len(seen), want)
	}
}

func TestFind(t *testing.T) {
	all, err := Find(nil)
	if err != nil || len(all) != len(Names()) {
		t.Errorf("%d attacks, %v", len(all), err)
	}
	chosen, err := Find([]string{"topics:4", "pings"})
	if err != nil || len(chosen) != 2 || !slices.Equal(chosen[0].Counts, []int{4}) || len(chosen[1].Counts) < 2 {
		t.Errorf("%+v, %v", chosen, err)
	}
	for _, bad := range []string{"nothing", "topics:0", "topics:x", "topics:4x", "topics:999999", ""} {
		if _, err := Find([]string{bad}); err == nil || !strings.Contains(err.Error(), "--only "+bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestCounts(t *testing.T) {
	a := Attack{Counts: []int{1, 8, 500}}
	for _, c := range []struct{ asked, want []int }{
		{nil, []int{1, 8, 500}},
		{[]int{2}, []int{2}},
		{[]int{2, 1000, 2000}, []int{2, 500}},
	} {
		if got := (&Options{Counts: c.asked}).counts(a); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v, not %v", c.asked, got, c.want)
		}
	}
}
