package pace

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// window returns the most events of any second; at has their times in order.
func window(at []time.Duration) (most int) {
	from := 0
	for i := range at {
		for at[i]-at[from] >= time.Second {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}

// No second has more than the ceiling, whatever the rate, the number of buckets and how
// late they are asked; asked in time, they give the rate.
func TestBucketCeiling(t *testing.T) {
	for _, rate := range []float64{0.3, 1, 7, 50, 333.3, 20_000} {
		for _, parts := range []int{1, 3, 16} {
			for _, late := range []time.Duration{0, time.Millisecond, 3 * Step, time.Second} {
				t.Run(fmt.Sprint(rate, " by ", parts, " late ", late), func(t *testing.T) {
					const long = 20 * time.Second
					rng := rand.New(rand.NewPCG(1, uint64(parts)))
					buckets := make([]Bucket, parts)
					next := make([]time.Duration, parts)
					for i := range buckets {
						buckets[i] = NewBucket(rate/float64(parts), float64(parts-i-1)/float64(parts), 0)
						next[i] = Step
					}
					var at []time.Duration
					for now := time.Duration(0); now < long; now += time.Millisecond {
						for i := range buckets {
							if now < next[i] {
								continue
							}
							for range buckets[i].Take(now) {
								at = append(at, now)
							}
							next[i] = now + Step
							if late > 0 {
								next[i] += time.Duration(rng.Int64N(int64(late)))
							}
						}
					}
					if most, allowed := window(at), Ceiling(rate, parts); most > allowed {
						t.Errorf("%d in a second; the ceiling is %d", most, allowed)
					}
					if want := rate * long.Seconds(); late <= time.Millisecond && math.Abs(float64(len(at))-want) > 0.01*want+1 {
						t.Errorf("%d in %v, want %.0f", len(at), long, want)
					}
				})
			}
		}
	}
}

func TestBucketGive(t *testing.T) {
	b := NewBucket(100, 0, 0)
	n := b.Take(Step)
	if b.Give(n); n != 2 || b.Take(Step) != 2 {
		t.Errorf("%d were due at first; what was given back is not due", n)
	}
	if b.Give(1000); b.Take(Step) > 5 {
		t.Error("holds more than two steps")
	}
	if n := new(Bucket).Take(time.Hour); n != 0 {
		t.Errorf("the zero value has %d", n)
	}
}

func TestRates(t *testing.T) {
	if r := Rate(200_000, 10*time.Minute); math.Abs(r-333.3) > 0.1 {
		t.Error(r)
	}
	if r := Rate(0, 0); r <= 0 || math.IsInf(r, 0) {
		t.Error(r)
	}
	for _, most := range []int{1, 10, 100, 5000} {
		for _, parts := range []int{1, 4, 64} {
			if r := Under(most, parts); most > parts+1 && Ceiling(r, parts) > most || r <= 0 {
				t.Errorf("under %d by %d: %v, whose ceiling is %d", most, parts, r, Ceiling(r, parts))
			}
		}
	}
}

// Whatever run of delays is looked at, each part of the spread has its share.
func TestDelaysAreEven(t *testing.T) {
	const after, spread, parts = time.Second, 10 * time.Second, 10
	d := NewDelays(after, spread, 12345)
	var counts [parts]int
	for n := 1; n <= 5000; n++ {
		delay := d.Next()
		if delay < after || delay > after+spread {
			t.Fatal(delay)
		}
		counts[min(int((delay-after)*parts/spread), parts-1)]++
		for part, got := range counts {
			if want := float64(n) / parts; math.Abs(float64(got)-want) > 3 {
				t.Fatalf("of %d delays %d in part %d, want %.1f", n, got, part, want)
			}
		}
	}
	if d := NewDelays(0, 0, 1); d.Next() != 0 {
		t.Error("a delay although there is none")
	}
}

// balanced runs some nodes with a balance each for a time. back says to which node the
// client of a session comes that node from has shed. It returns how many were shed.
func balanced(loads []int, long time.Duration, back func(from int) int) (shed int, quiet time.Duration) {
	nodes := make([]*Balance, len(loads))
	for i := range nodes {
		nodes[i] = &Balance{Tolerance: 0.05, Settle: 10 * time.Second, Pause: time.Minute, MaxPause: time.Hour}
	}
	type arrival struct {
		at time.Duration
		to int
	}
	var coming []arrival
	own := make([]int, len(loads)) // what each has shed
	for now := time.Duration(0); now < long; now += time.Second {
		for len(coming) > 0 && coming[0].at <= now {
			loads[coming[0].to]++
			coming = coming[1:]
		}
		seen := append([]int(nil), loads...)
		for i, b := range nodes {
			var others []uint64
			for j, n := range seen {
				if j != i {
					others = append(others, uint64(n))
				}
			}
			for range b.Next(now, loads[i], own[i], others, 100) {
				loads[i]--
				own[i]++
				shed++
				quiet = now
				coming = append(coming, arrival{now + 10*time.Second, back(i)})
			}
		}
	}
	for _, a := range coming {
		loads[a.to]++
	}
	return shed, quiet
}

// After scaling out, the nodes shed about what the new node is to have, and stop.
func TestBalance(t *testing.T) {
	loads := []int{20_000, 20_000, 20_000, 0}
	shed, quiet := balanced(loads, 4*time.Hour, func(int) int {
		least := 0
		for i, n := range loads {
			if n < loads[least] {
				least = i
			}
		}
		return least
	})
	for i, n := range loads {
		if n < 14_000 || n > 15_800 {
			t.Errorf("node %d has %d sessions", i, n)
		}
	}
	if shed > 16_500 || quiet > time.Hour {
		t.Errorf("%d were shed, the last after %v", shed, quiet)
	}
}

// Where each client comes back to the node that has shed it, the runs become rare.
func TestBalanceInVain(t *testing.T) {
	loads := []int{1000, 0}
	shed, _ := balanced(loads, 24*time.Hour, func(from int) int { return from })
	if loads[0] != 1000 || shed == 0 || shed > 15*1000 {
		t.Errorf("%d were shed in a day of a node with %d sessions; want a run now and then", shed, loads[0])
	}
}

// A node alone, one within the tolerance, and one that has just too many shed nothing.
func TestBalanceKeeps(t *testing.T) {
	for name, loads := range map[string][]int{"alone": {1000}, "tolerated": {1040, 1000, 1000}, "empty": {0, 0}} {
		if shed, _ := balanced(loads, time.Hour, func(int) int { return 0 }); shed != 0 {
			t.Errorf("%s: %d were shed", name, shed)
		}
	}
	b := &Balance{Tolerance: 0.05, Settle: 10 * time.Second, Pause: time.Minute, MaxPause: time.Hour}
	if n := b.Next(0, 1000, 0, []uint64{0}, 100); n != 0 || b.Running() {
		t.Errorf("%d at once, without having settled", n)
	}
	if n := b.Next(10*time.Second, 1000, 0, []uint64{0}, 100); n != 100 || !b.Running() {
		t.Errorf("%d when it has settled", n)
	}
	b.Stop(11 * time.Second)
	if n := b.Next(12*time.Second, 1000, 0, []uint64{0}, 100); n != 0 || b.Running() {
		t.Errorf("%d in the pause", n)
	}
}
