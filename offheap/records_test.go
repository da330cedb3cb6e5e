package offheap

import (
	"strings"
	"testing"
	"unsafe"
)

func TestRecordsRefusePointers(t *testing.T) {
	refused := func(name string, err error, field string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: error %v, want one that names %q", name, err, field)
		}
	}
	_, err := NewRecords[*int](new(Owner), 1)
	refused("*int", err, "pointer")
	_, err = NewRecords[string](new(Owner), 1)
	refused("string", err, "pointer")
	_, err = NewRecords[struct {
		A int
		B struct{ Name string }
	}](new(Owner), 1)
	refused("nested string", err, "it.B.Name")
	_, err = NewRecords[struct{ A [4]map[int]int }](new(Owner), 1)
	refused("map in an array", err, "it.A[0]")
	_, err = NewRecords[struct{ P unsafe.Pointer }](new(Owner), 1)
	refused("unsafe.Pointer", err, "it.P")
	_, err = NewRecords[struct{ F func() }](new(Owner), 1)
	refused("func", err, "it.F")
	_, err = NewRecords[struct{ B []byte }](new(Owner), 1)
	refused("slice", err, "it.B")
	_, err = NewRecords[struct{ E error }](new(Owner), 1)
	refused("interface", err, "it.E")
	_, err = NewRecords[struct{ C chan int }](new(Owner), 1)
	refused("chan", err, "it.C")
	if _, err := NewRecords[struct{}](new(Owner), 1); err == nil {
		t.Error("records of no bytes accepted")
	}
}

func TestRecordsAt(t *testing.T) {
	type record struct {
		id   uint64
		kind byte
		rest [2]uint16
		none [0]*int
	}
	r, err := NewRecords[record](new(Owner), 100)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for i := range uint64(100) {
		slot, ok := r.Alloc()
		if !ok {
			t.Fatal("full")
		}
		*r.At(slot) = record{id: i, kind: byte(i), rest: [2]uint16{1, 2}}
	}
	for slot := range uint32(100) {
		if got := r.At(slot); got.id != uint64(slot) || got.kind != byte(slot) || got.rest[1] != 2 {
			t.Fatalf("slot %d holds %+v", slot, *got)
		}
		if uintptr(unsafe.Pointer(r.At(slot)))%8 != 0 {
			t.Fatalf("slot %d is not aligned", slot)
		}
	}
}
