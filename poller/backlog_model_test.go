package poller

import (
	"bytes"
	"encoding/binary"
	"testing"

	"pgregory.net/rapid"
)

// backlogModel is a backlog in the simplest form: a slice of frames, and the bytes
// that were sent. Each frame begins with its own length and has a number, so the
// sent bytes show whether frames stayed whole.
type backlogModel struct {
	waiting []*Frame
	sent    int  // of the first
	begun   bool // a part of the first was sent before the backlog existed
	wire    []byte
	numbers map[*Frame]uint16
	removed map[uint16]bool
}

func (m *backlogModel) started() bool { return len(m.waiting) > 0 && (m.begun || m.sent > 0) }

func (m *backlogModel) controls() (n int) {
	for _, f := range m.waiting {
		if f.class == Control {
			n++
		}
	}
	return n
}

func (m *backlogModel) bytes() (n int) {
	for _, f := range m.waiting {
		n += len(f.b)
	}
	return n - m.sent
}

func (m *backlogModel) newFrame(t *rapid.T) *Frame {
	n := rapid.IntRange(3, 40).Draw(t, "length")
	b := make([]byte, n)
	b[0] = byte(n)
	number := uint16(len(m.numbers))
	binary.BigEndian.PutUint16(b[1:], number)
	f := NewFrame(b, 0)
	m.numbers[f] = number
	return f
}

// remove removes frame i, which must be allowed.
func (m *backlogModel) remove(i int) {
	m.removed[m.numbers[m.waiting[i]]] = true
	m.waiting = append(m.waiting[:i:i], m.waiting[i+1:]...)
}

// first returns the index of the first frame that may be removed and matches, or
// -1.
func (m *backlogModel) first(match func(*Frame) bool) int {
	for i, f := range m.waiting {
		if !(i == 0 && m.started()) && match(f) {
			return i
		}
	}
	return -1
}

func (m *backlogModel) removeFrom(t *rapid.T, got *Frame, match func(*Frame) bool) {
	i := m.first(match)
	switch {
	case i < 0 && got != nil:
		t.Fatalf("removed frame %d, should have found none", m.numbers[got])
	case i >= 0 && got != m.waiting[i]:
		t.Fatalf("removed %v, want frame %d", got, m.numbers[m.waiting[i]])
	case i >= 0:
		m.remove(i)
	}
}

// advance sends n bytes and returns the frames that are complete then.
func (m *backlogModel) advance(n int) (done []*Frame) {
	for ; n > 0; n-- {
		f := m.waiting[0]
		m.wire = append(m.wire, f.b[m.sent])
		if m.sent++; m.sent == len(f.b) {
			done = append(done, f)
			m.waiting, m.sent, m.begun = m.waiting[1:], 0, false
		}
	}
	return done
}

func (m *backlogModel) check(t *rapid.T, q *backlog) {
	if q.n != len(m.waiting) || q.bytes != m.bytes() || q.controls != m.controls() || q.sent != m.sent {
		t.Fatalf("queue has %d frames, %d bytes, %d controls, %d sent; model %d, %d, %d, %d",
			q.n, q.bytes, q.controls, q.sent, len(m.waiting), m.bytes(), m.controls(), m.sent)
	}
	for i, f := range m.waiting {
		if q.frames[q.at(i)] != f {
			t.Fatalf("place %d holds another frame than %d", i, m.numbers[f])
		}
	}
	for i := q.n; i < len(q.frames); i++ {
		if q.frames[q.at(i)] != nil {
			t.Fatalf("an empty place of the ring still refers to a frame")
		}
	}
}

// checkWire reads the sent bytes as the peer would: whole frames, each once, data
// and control frames each in the order in which they were queued.
func (m *backlogModel) checkWire(t *rapid.T) {
	control := map[uint16]bool{}
	for f, n := range m.numbers {
		control[n] = f.class == Control
	}
	last := map[bool]int{false: -1, true: -1}
	seen := 0
	for p := m.wire; len(p) > 0; seen++ {
		if int(p[0]) > len(p) {
			t.Fatalf("the wire ends inside a frame")
		}
		n := binary.BigEndian.Uint16(p[1:])
		if !bytes.Equal(p[3:p[0]], make([]byte, p[0]-3)) {
			t.Fatalf("something lies inside frame %d", n)
		}
		if m.removed[n] {
			t.Fatalf("frame %d was removed and yet sent", n)
		}
		if int(n) <= last[control[n]] {
			t.Fatalf("frame %d comes after %d", n, last[control[n]])
		}
		last[control[n]] = int(n)
		p = p[p[0]:]
	}
	if seen+len(m.removed) != len(m.numbers) {
		t.Fatalf("%d frames sent and %d removed of %d", seen, len(m.removed), len(m.numbers))
	}
}

// insertControl puts f behind a frame that is partly sent, and behind earlier
// control frames.
func (m *backlogModel) insertControl(f *Frame) {
	to := m.controls()
	if m.started() && m.waiting[0].class != Control {
		to++
	}
	m.waiting = append(m.waiting[:to:to], append([]*Frame{f}, m.waiting[to:]...)...)
}

// checkJoin checks that join returns whole frames up to a limit.
func (m *backlogModel) checkJoin(t *rapid.T, q *backlog) {
	if q.n == 0 {
		return
	}
	limit := rapid.IntRange(0, 200).Draw(t, "limit")
	got := q.join([]byte("before"), limit+len("before"))[len("before"):]
	want := append([]byte(nil), m.waiting[0].b[m.sent:]...)
	for _, f := range m.waiting[1:] {
		if len(want)+len(f.b) > limit {
			break
		}
		want = append(want, f.b...)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("join gives %x, want %x", got, want)
	}
}

func TestBacklogAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := new(backlog)
		m := &backlogModel{numbers: map[*Frame]uint16{}, removed: map[uint16]bool{}}
		if rapid.Bool().Draw(t, "begun before") {
			f := m.newFrame(t)
			f.own = true
			q.pushRest(f)
			m.waiting, m.begun = append(m.waiting, f), true
		}
		advance := func(n int) {
			want := m.advance(n)
			q.advance(n, func(f *Frame) {
				if len(want) == 0 || want[0] != f {
					t.Fatalf("frame %d reported as sent", m.numbers[f])
				}
				want = want[1:]
			})
			if len(want) > 0 {
				t.Fatalf("%d frames not reported as sent", len(want))
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) { m.check(t, q) },
			"push": func(t *rapid.T) {
				f := m.newFrame(t)
				f.key = rapid.Uint64Range(0, 3).Draw(t, "key")
				f.own = rapid.IntRange(0, 4).Draw(t, "own") == 0
				q.push(f)
				m.waiting = append(m.waiting, f)
			},
			"control": func(t *rapid.T) {
				f := m.newFrame(t)
				f.own, f.class = true, Control
				q.insertControl(f)
				m.insertControl(f)
			},
			"removeOldest": func(t *rapid.T) {
				m.removeFrom(t, q.removeOldest(), func(f *Frame) bool { return !f.own })
			},
			"removeKey": func(t *rapid.T) {
				key := rapid.Uint64Range(1, 3).Draw(t, "key")
				m.removeFrom(t, q.removeKey(key), func(f *Frame) bool { return f.key == key && !f.own })
			},
			"removeAny": func(t *rapid.T) {
				all := func(*Frame) bool { return true }
				m.removeFrom(t, q.removeFirst(all), all)
			},
			"advance": func(t *rapid.T) { advance(rapid.IntRange(0, m.bytes()).Draw(t, "bytes")) },
			"join":    func(t *rapid.T) { m.checkJoin(t, q) },
		})
		advance(m.bytes())
		m.check(t, q)
		m.checkWire(t)
	})
}

// The kernel stops taking bytes at every possible place; then a control frame is
// queued and a frame is removed.
func TestBacklogEverySplit(t *testing.T) {
	frame := func(s string) *Frame { return NewFrame([]byte(s), 0) }
	for split := 0; split <= len("aaaabbbcc"); split++ {
		q := new(backlog)
		for _, s := range []string{"aaaa", "bbb", "cc"} {
			q.push(frame(s))
		}
		wire := append([]byte(nil), q.join(nil, 100)[:split]...)
		q.advance(split, func(*Frame) {})
		q.insertControl(&Frame{b: []byte("!"), class: Control, own: true})
		q.removeOldest()
		wire = append(wire, q.join(nil, 100)...)
		want := [...]string{"!bbbcc", "aaaa!cc", "aaaa!cc", "aaaa!cc", "aaaa!cc",
			"aaaabbb!", "aaaabbb!", "aaaabbb!", "aaaabbbcc!", "aaaabbbcc!"}[split]
		if string(wire) != want {
			t.Errorf("split after %d: %q, want %q", split, wire, want)
		}
	}
}
