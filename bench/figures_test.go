package bench

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestParseSmapsRollup(t *testing.T) {
	const fixture = `5563f90bc000-7ffdb8e9b000 ---p 00000000 00:00 0                          [rollup]
Rss:                1640 kB
Pss:                 375 kB
Pss_Anon:            112 kB
Anonymous:           112 kB
AnonHugePages:         0 kB
`
	m, err := parseSmapsRollup(strings.NewReader(fixture))
	if err != nil || m.RSS != 1640<<10 || m.Anonymous != 112<<10 {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := parseSmapsRollup(strings.NewReader("Rss: 1 kB\n")); err == nil || !strings.Contains(err.Error(), "Anonymous") {
		t.Errorf("a missing line: %v", err)
	}
	if _, err := parseSmapsRollup(strings.NewReader("Rss: many kB\nAnonymous: 1 kB\n")); err == nil {
		t.Error("a malformed line was taken")
	}
}

func TestReadersOnThisProcess(t *testing.T) {
	const size = 8 << 20
	held := bytes.Repeat([]byte{1}, size)
	m, err := ReadMemory(os.Getpid())
	if err != nil || m.Anonymous < size || m.RSS < m.Anonymous {
		t.Errorf("memory %+v, %v", m, err)
	}
	runtime.KeepAlive(held)
	before, err := ProcessCPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	after := before
	for after-before < 10*time.Millisecond && err == nil && time.Since(start) < 20*time.Second {
		after, err = ProcessCPU(os.Getpid())
	}
	if used, had := after-before, time.Since(start)*time.Duration(runtime.NumCPU()); err != nil || used < 10*time.Millisecond || used > had+time.Second {
		t.Errorf("%v of spinning cost %v, %v", time.Since(start), used, err)
	}
	if _, err := ProcessCPU(1 << 28); err == nil {
		t.Error("no error for a process that cannot exist")
	}
	if v, err := Meminfo("Slab", "MemAvailable"); err != nil || v[0] < 1<<20 || v[1] < 1<<20 {
		t.Errorf("slab and available: %d, %v", v, err)
	}
	if load, err := Load(); err != nil || load < 0 {
		t.Errorf("load %v, %v", load, err)
	}
	if s := Machine(); strings.Contains(s, "unknown kernel") || strings.Contains(s, "unknown memory") {
		t.Error(s)
	}
}

func TestParseModel(t *testing.T) {
	if got := parseModel("processor\t: 0\nmodel name\t: A B: C\nmodel name\t: D\n"); got != "A B: C" {
		t.Errorf("%q", got)
	}
	if got := parseModel("processor\t: 0\n"); got != "unknown processor" {
		t.Errorf("%q", got)
	}
}

// Two readings in one process cannot differ by more than the time between them,
// even with two clocks.
func TestClocksAgree(t *testing.T) {
	a, b := NewClock(), NewClock()
	for range 1000 {
		first, second, third := a.Now(), b.Now(), a.Now()
		if slack := int64(50 * time.Microsecond); second < first-slack || second > third+slack {
			t.Fatalf("%d, %d, %d", first, second, third)
		}
	}
}

func TestShares(t *testing.T) {
	for _, tt := range []struct{ conns, processes, files, targets, want, sources int }{
		{15000, 2, 20000, 1, 2, 1},
		{15000, 2, 5100, 1, 3, 1},
		{30000, 2, 20000, 1, 2, 2},          // 15,000 each, by ports
		{1_001_700, 2, 20000, 53, 51, 1},    // 53 nodes of 18,900
		{1_000_000, 2, 1 << 20, 20, 2, 2},   // 20 ports
		{1_000_000, 1, 1 << 21, 20, 1, 4},   // a single process
		{1_000_000, 2, 1 << 20, 1, 2, 36},   // a single port
		{2_000_000, 100, 20100, 20, 100, 1}, // 20,000 each
		{1, 2, 20000, 1, 1, 1},
		{7, 3, 20000, 1, 3, 1},
	} {
		shares, err := Spread{Connections: tt.conns, Processes: tt.processes, OpenFiles: tt.files, Targets: tt.targets}.Shares()
		if err != nil || len(shares) != tt.want {
			t.Fatalf("%+v: %d shares, %v", tt, len(shares), err)
		}
		next, seen := 0, make(map[netip.Addr]bool)
		for _, s := range shares {
			if s.First != next || s.Count < 1 || s.Count > tt.files-SpareFiles || s.Count > len(s.Sources)*tt.targets*perSource || len(s.Sources) != tt.sources {
				t.Errorf("%+v: %+v, expected to begin at %d", tt, s, next)
			}
			for _, a := range s.Sources {
				if seen[a] || !a.IsLoopback() || a == netip.MustParseAddr("127.0.0.1") {
					t.Errorf("%+v: source %v", tt, a)
				}
				seen[a] = true
			}
			next += s.Count
		}
		if next != tt.conns {
			t.Errorf("%+v: %d planned", tt, next)
		}
		testParts(t, shares, tt.conns)
	}
	for _, bad := range [][4]int{{0, 2, 20000, 1}, {10, 0, 20000, 1}, {10, 2, 100, 1}, {100000, 2, 110, 1}, {10, 1, 20000, 0}} {
		if _, err := (Spread{Connections: bad[0], Processes: bad[1], OpenFiles: bad[2], Targets: bad[3]}).Shares(); err == nil {
			t.Errorf("%v was planned", bad)
		}
	}
}

func testParts(t *testing.T, shares []Share, conns int) {
	t.Helper()
	for _, cut := range []int{0, 1, conns / 3, conns} {
		low, all := 0, 0
		for _, s := range shares {
			a, b := s.Part(0, cut, conns), s.Part(cut, conns, conns)
			if a.First != s.First || b.First != a.First+a.Count || a.Count+b.Count != s.Count {
				t.Errorf("parts %+v and %+v of %+v", a, b, s)
			}
			low, all = low+a.Count, all+a.Count+b.Count
			if c, d := s.Cut(0, cut), s.Cut(cut, conns); c.Count+d.Count != s.Count || c.Count > 0 && (c.First != s.First || c.First+c.Count > cut) || d.Count > 0 && d.First < cut {
				t.Errorf("%+v and %+v of %+v, cut at %d", c, d, s, cut)
			}
		}
		if all != conns || low > cut || low < cut-len(shares) {
			t.Errorf("%d cut at %d: %d below", conns, cut, low)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		in   []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := Median(tt.in); got != tt.want {
			t.Errorf("Median(%v) = %v", tt.in, got)
		}
	}
}

func TestWriteTable(t *testing.T) {
	rows := []Row{
		{What: "memory", Value: 200.4, Format: "%.0f B", Target: 256, Bound: AtMost},
		{What: "speed × floor", Value: 0.5, Format: "%.2f ×", Target: 0.8, Bound: AtLeast, Notes: []string{"slow today"}},
		{What: "push", Target: 5, Format: "%.1f ms", Bound: AtMost, Missing: "no server"},
		{What: "slab", Value: 4200, Format: "%.0f B"},
	}
	var b strings.Builder
	if err := WriteTable(&b, rows); err != nil {
		t.Fatal(err)
	}
	const want = `| what          | reached |   target |              |
|---------------|--------:|---------:|--------------|
| memory        |   200 B |  ≤ 256 B | ok           |
| speed × floor |  0.50 × | ≥ 0.80 × | miss         |
| push          |       – | ≤ 5.0 ms | not measured |
| slab          |  4200 B |          |              |

speed × floor:
- slow today

push:
- not measured: no server
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	if Met(rows) || Met(rows[2:]) || !Met([]Row{rows[0], rows[3]}) {
		t.Error("Met is wrong")
	}
}

// The columns of targets are left out where no row has one.
func TestWriteTableWithoutTargets(t *testing.T) {
	var b strings.Builder
	if err := WriteTable(&b, []Row{{What: "count", Value: 3}}); err != nil {
		t.Fatal(err)
	}
	if want := "| what  | reached |\n|-------|--------:|\n| count |       3 |\n"; b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 15000: "15,000", 1234567.4: "1,234,567", -1234: "-1,234", 218.46: "218", 99.96: "100.0", 42.26: "42.3",
		6.6819: "6.68", 1.005: "1.00", 0.91234: "0.912", 0.5: "0.500", -0.5: "-0.500", 1e-9: "0.000000"} {
		if got := Number(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}

func TestSchedstat(t *testing.T) {
	q, err := parseSchedstat("100 2000 30\n")
	if err != nil || q != (RunQueue{2000, 30}) {
		t.Errorf("%+v %v", q, err)
	}
	for _, bad := range []string{"", "1 2", "1 x 2", "1 2 x"} {
		if _, err := parseSchedstat(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if q, err := ReadRunQueue(fmt.Sprintf("/proc/%d/task/*/schedstat", os.Getpid())); err != nil || q.Slices == 0 {
		t.Errorf("%+v %v", q, err)
	}
}
