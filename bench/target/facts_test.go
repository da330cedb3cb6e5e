package target

import (
	"math"
	"os"
	"path/filepath"
	"testing"
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

func TestReserved(t *testing.T) {
	for list, want := range map[string]int{"\n": 0, "8080\n": 1, "8080,9148-9150\n": 4, "1-1023,2000\n": 1, "60000-65535": 1000} {
		if n, err := reserved(list, 1024, 60999); n != want || err != nil {
			t.Errorf("%q: %d, %v", list, n, err)
		}
	}
	for _, bad := range []string{"x", "1-y"} {
		if n, err := reserved(bad, 1, 2); err == nil {
			t.Errorf("%q: %d", bad, n)
		}
	}
}
