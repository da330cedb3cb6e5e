package poller

import (
	"maps"
	"slices"
	"testing"
	"unsafe"

	"pgregory.net/rapid"

	"belfry/offheap"
)

type timed struct {
	canary uint32
	timer  wheelLink
	after  uint32
}

func testWheel(t testing.TB, max int, now uint32) (*wheel, *offheap.Records[timed]) {
	t.Helper()
	r, err := offheap.NewRecords[timed](new(offheap.Owner), max)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	w, err := newWheel(&r.Slab, unsafe.Offsetof(timed{}.timer), now)
	if err != nil {
		t.Fatal(err)
	}
	return w, r
}

// drain takes all timers that are due.
func drain(w *wheel) []uint32 {
	var due []uint32
	for slot, ok := w.nextDue(); ok; slot, ok = w.nextDue() {
		due = append(due, slot)
	}
	slices.Sort(due)
	return due
}

func wantDue(t *testing.T, w *wheel, want ...uint32) {
	t.Helper()
	if got := drain(w); !slices.Equal(got, want) {
		t.Fatalf("at %d: due %v, want %v", w.now, got, want)
	}
}

// wheelModel keeps each slot's tick in a map. The order within a tick is free. So
// the model only checks that timers from nextDue are due, and that none is due
// afterwards.
type wheelModel struct {
	w    *wheel
	now  uint32
	when map[uint32]uint32
}

func (m *wheelModel) set(slot, deadline uint32) {
	m.w.set(slot, deadline)
	if int32(deadline-m.now) <= 0 {
		deadline = m.now + 1
	}
	m.when[slot] = deadline
}

func (m *wheelModel) pop(t *rapid.T) bool {
	slot, ok := m.w.nextDue()
	if !ok {
		for slot, tick := range m.when {
			if int32(tick-m.now) <= 0 {
				t.Fatalf("slot %d was due at %d, now %d, and did not come", slot, tick, m.now)
			}
		}
		if m.w.heads[dueList] != 0 || m.w.tick != m.w.now {
			t.Fatal("timers are due after the last one")
		}
		return false
	}
	tick, set := m.when[slot]
	if !set || int32(tick-m.now) > 0 {
		t.Fatalf("slot %d came at %d: set %v for %d", slot, m.now, set, tick)
	}
	delete(m.when, slot)
	return true
}

// check compares the wheel with the model.
func (m *wheelModel) check(t *rapid.T, r *offheap.Records[timed], slots uint32) {
	if m.w.armed != len(m.when) {
		t.Fatalf("%d timers, want %d", m.w.armed, len(m.when))
	}
	for s := range slots {
		tick, ok := m.w.link(s).deadline, m.w.link(s).prev != 0
		want, set := m.when[s]
		if ok != set || ok && tick != want {
			t.Fatalf("slot %d: deadline %d, set %v; want %d, %v", s, tick, ok, want, set)
		}
		if r.At(s).canary != s || r.At(s).after != ^s {
			t.Fatalf("slot %d: the wheel wrote beside its link", s)
		}
	}
}

func TestWheelAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const slots = 40
		start := rapid.SampledFrom([]uint32{0, 1, 511, 1 << 31, ^uint32(0) - 700}).Draw(t, "start")
		r, err := offheap.NewRecords[timed](new(offheap.Owner), slots)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		for range slots {
			slot, _ := r.Alloc()
			r.At(slot).canary, r.At(slot).after = slot, ^slot
		}
		w, err := newWheel(&r.Slab, unsafe.Offsetof(timed{}.timer), start)
		if err != nil {
			t.Fatal(err)
		}
		m := &wheelModel{w: w, now: start, when: map[uint32]uint32{}}
		slot := rapid.Uint32Range(0, slots-1)
		ahead := rapid.OneOf(rapid.IntRange(-3, 10), rapid.IntRange(0, 3*wheelSpan), rapid.Just(wheelSpan))
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				m.set(slot.Draw(t, "slot"), m.now+uint32(ahead.Draw(t, "ahead")))
			},
			"crowd": func(t *rapid.T) {
				at := m.now + uint32(ahead.Draw(t, "ahead"))
				for s := range uint32(slots) {
					m.set(s, at)
				}
			},
			"cancel": func(t *rapid.T) {
				s := slot.Draw(t, "slot")
				_, want := m.when[s]
				if w.cancel(s) != want {
					t.Fatalf("cancel(%d) = %v", s, !want)
				}
				delete(m.when, s)
			},
			"advance": func(t *rapid.T) {
				m.now += uint32(rapid.SampledFrom([]int{0, 1, 2, 30, 511, 512, 513, 5000}).Draw(t, "by"))
				w.advance(m.now)
			},
			"back": func(t *rapid.T) { w.advance(m.now - 1) },
			"pop":  func(t *rapid.T) { m.pop(t) },
			"drain": func(t *rapid.T) {
				for m.pop(t) {
				}
			},
			"": func(t *rapid.T) { m.check(t, r, slots) },
		})
	})
}

func TestWheelSlotZero(t *testing.T) {
	w, _ := testWheel(t, 4, 0)
	if w.cancel(0) {
		t.Fatal("a zeroed record has a timer")
	}
	w.set(0, 1)
	w.set(1, 1)
	w.advance(1)
	wantDue(t, w, 0, 1)
}

func TestWheelDueInPastComesNextTick(t *testing.T) {
	w, _ := testWheel(t, 4, 100)
	w.set(0, 100)
	w.set(1, 3)
	wantDue(t, w)
	w.advance(101)
	// A timer that is set again at once must not keep the loop running.
	n := 0
	for slot, ok := w.nextDue(); ok; slot, ok = w.nextDue() {
		if n++; n > 2 {
			t.Fatal("endless round")
		}
		w.set(slot, w.now)
	}
	w.advance(102)
	wantDue(t, w, 0, 1)
}

func TestWheelFartherThanItsSpan(t *testing.T) {
	w, _ := testWheel(t, 4, 7)
	w.set(0, 7+10*wheelSpan)
	for tick := uint32(8); tick < 7+10*wheelSpan; tick++ {
		w.advance(tick)
		wantDue(t, w)
	}
	w.advance(7 + 10*wheelSpan)
	wantDue(t, w, 0)
}

func TestWheelAfterStall(t *testing.T) {
	w, _ := testWheel(t, 2000, 0)
	due := map[uint32]bool{}
	for slot := range uint32(2000) {
		w.set(slot, slot*3)
		due[slot] = slot*3 <= 4000
	}
	w.advance(4000)
	var want []uint32
	for _, slot := range slices.Sorted(maps.Keys(due)) {
		if due[slot] {
			want = append(want, slot)
		}
	}
	wantDue(t, w, want...)
}

// Timers on the due list can be cancelled and set like others.
func TestWheelChangesWhileDue(t *testing.T) {
	w, _ := testWheel(t, 8, 0)
	for slot := range uint32(8) {
		w.set(slot, 5)
	}
	w.advance(5)
	first, ok := w.nextDue()
	if !ok || w.heads[dueList] == 0 {
		t.Fatal("nothing due")
	}
	var rest []uint32
	for slot := range uint32(8) {
		switch {
		case slot == first:
		case slot%2 == 0:
			if !w.cancel(slot) {
				t.Fatalf("slot %d had no timer", slot)
			}
		case slot%4 == 1:
			w.set(slot, 9)
		default:
			rest = append(rest, slot)
		}
	}
	wantDue(t, w, rest...)
	w.advance(9)
	for _, slot := range drain(w) {
		if slot%4 != 1 {
			t.Fatalf("slot %d came back", slot)
		}
	}
}

func TestWheelErrors(t *testing.T) {
	s, err := offheap.NewSlab(new(offheap.Owner), 16, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	for _, offset := range []uintptr{1, 2, 8, 16, 1 << 40} {
		if _, err := newWheel(s, offset, 0); err == nil {
			t.Errorf("link at offset %d of a 16-byte record accepted", offset)
		}
	}
	if _, err := newWheel(s, 4, 0); err != nil {
		t.Error(err)
	}
}

func TestWheelDoesNotAllocate(t *testing.T) {
	w, _ := testWheel(t, 100, 0)
	now := uint32(0)
	if n := testing.AllocsPerRun(100, func() {
		for slot := range uint32(100) {
			w.set(slot, now+slot%3)
		}
		w.cancel(7)
		now += 3
		w.advance(now)
		for _, ok := w.nextDue(); ok; _, ok = w.nextDue() {
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkWheelSet(b *testing.B) {
	w, _ := testWheel(b, 1<<16, 0)
	b.ReportAllocs()
	for i := uint32(0); b.Loop(); i++ {
		w.set(i&0xffff, i%60+1)
	}
}

func BenchmarkWheelExpire(b *testing.B) {
	w, _ := testWheel(b, 1<<16, 0)
	for slot := range uint32(1 << 16) {
		w.set(slot, slot%60+1)
	}
	b.ReportAllocs()
	now := uint32(0)
	for b.Loop() {
		slot, ok := w.nextDue()
		for !ok {
			now++
			w.advance(now)
			slot, ok = w.nextDue()
		}
		w.set(slot, now+60)
	}
}
