package million

import (
	"math"
	"net"
	"os"
	"path/filepath"
	"testing"

	"belfry/bench"
)

func TestReadFacts(t *testing.T) {
	f, err := ReadFacts()
	if err != nil {
		t.Fatal(err)
	}
	if f.OpenFiles < 64 || f.NrOpen < f.OpenFiles/2 || f.FileMax <= f.FilesUsed || f.Memory < 1<<20 || f.CPUs < 1 || f.PortLow < 1 || f.PortHigh <= f.PortLow {
		t.Errorf("%+v", f)
	}
}

func TestNumbers(t *testing.T) {
	var a, b int
	if err := numbers([]byte("1024\t0\t9223372036854775807\n"), []*int{&a, nil, &b}); err != nil || a != 1024 || b != math.MaxInt {
		t.Errorf("%d %d %v", a, b, err)
	}
	for _, bad := range []string{"", "1 2", "x 0 1"} {
		if err := numbers([]byte(bad), []*int{&a, nil, &b}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestGroupMemory(t *testing.T) {
	dir := t.TempDir()
	write := func(name, s string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(s), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := groupMemory(dir); ok {
		t.Error("a limit without files")
	}
	write("memory.max", "max\n")
	write("memory.current", "1000\n")
	if _, ok := groupMemory(dir); ok {
		t.Error("max is a limit")
	}
	write("memory.max", "5000\n")
	if left, ok := groupMemory(dir); !ok || left != 4000 {
		t.Errorf("%d %v", left, ok)
	}
}

func TestSchedstat(t *testing.T) {
	q, err := parseSchedstat("100 2000 30\n")
	if err != nil || q != (queueing{2000, 30}) {
		t.Errorf("%+v %v", q, err)
	}
	for _, bad := range []string{"", "1 2", "1 x 2", "1 2 x"} {
		if _, err := parseSchedstat(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if q, err := runQueue(os.Getpid()); err != nil || q.slices == 0 {
		t.Errorf("%+v %v", q, err)
	}
}

func TestPortsSkipsThoseInUse(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	used := l.Addr().(*net.TCPAddr).Port
	p := ports{next: used, end: used + 1}
	if addrs, err := p.take(1); err == nil {
		t.Errorf("%v was taken", addrs)
	}
}

func TestRampAdd(t *testing.T) {
	var r ramp
	r.add(nil)
	r.add([]bench.Dialed{{Opened: 20, Start: 2e9, End: 4e9}, {Opened: 10, Start: 1e9, End: 3e9}})
	r.add([]bench.Dialed{{Opened: 30, Start: 100e9, End: 101e9}}) // a pause between parts does not count
	want := []rampPoint{{0, 0}, {2, 10}, {3, 30}, {4, 60}}
	if len(r.Points) != len(want) || r.Opened != 60 || r.Took != 4 || r.perSecond() != 15 {
		t.Fatalf("%+v", r)
	}
	for i := range want {
		if r.Points[i] != want[i] {
			t.Errorf("point %d: %+v", i, r.Points[i])
		}
	}
}
