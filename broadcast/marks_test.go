package broadcast

import (
	"testing"
	"time"
)

// arrivals are pushes of one stream in the order in which they arrive: copies (c),
// relays that are overheard (r), and the end of the stream (x). A push is wanted or not.
func TestMarks(t *testing.T) {
	type arrival struct {
		as     byte
		number uint64
		want   bool
	}
	for name, all := range map[string][]arrival{
		"copies have holes":            {{'c', 3, true}, {'c', 7, true}, {'c', 7, false}, {'c', 5, false}, {'c', 8, true}},
		"published again":              {{'c', 3, true}, {'c', 5, true}, {'c', 4, false}, {'c', 5, false}, {'c', 6, true}},
		"late copies of a dead stream": {{'c', 3, true}, {'x', 9, false}, {'c', 8, false}, {'c', 9, false}, {'c', 10, true}},
		"overheard, then copies":       {{'r', 4, true}, {'r', 5, true}, {'c', 4, false}, {'c', 5, false}, {'c', 6, true}},
		"copies, then overheard":       {{'r', 1, true}, {'c', 3, true}, {'r', 2, true}, {'r', 3, false}, {'r', 4, true}, {'c', 4, false}},
		"overheard from the middle":    {{'c', 100, true}, {'c', 102, true}, {'r', 101, false}, {'r', 103, true}, {'c', 103, false}},
		"a retired stream overheard":   {{'r', 1, true}, {'x', 5, false}, {'r', 2, false}, {'r', 5, false}, {'r', 6, true}},
	} {
		m := marks{make(map[uint32]map[uint64]*mark)}
		now := time.Now()
		for i, a := range all {
			o := origin{node: 7, epoch: 8, number: a.number}
			if a.as == 'x' {
				m.retire(o, now)
			} else if got := m.first(o, now, a.as == 'r'); got != a.want {
				t.Errorf("%s: arrival %d, %c%d: %v, want %v", name, i, a.as, a.number, got, a.want)
			}
		}
		if !m.first(origin{7, 9, 1}, now, false) || !m.first(origin{6, 8, 1}, now, false) {
			t.Errorf("%s: another stream or node is not apart", name)
		}
	}
}

// Marks are bounded in nodes and streams, and forgotten.
func TestMarksAreBounded(t *testing.T) {
	m := marks{make(map[uint32]map[uint64]*mark)}
	now := time.Now()
	for epoch := range uint64(10 * maxStreams) {
		m.first(origin{1, epoch + 1, 1}, now, false)
	}
	if len(m.nodes[1]) != maxStreams || m.nodes[1][10*maxStreams] == nil {
		t.Errorf("%d streams, the newest is %v", len(m.nodes[1]), m.nodes[1][10*maxStreams])
	}
	for node := range uint32(2 * maxPeers) {
		m.first(origin{node + 1, 1, 1}, now, false)
	}
	if len(m.nodes) != maxPeers {
		t.Errorf("%d nodes", len(m.nodes))
	}
	o := origin{3, 1, 2}
	m.first(o, now, true)
	for number := range uint64(3 * maxEarly) {
		m.first(origin{3, 1, number + 3}, now, false)
	}
	if n := len(m.nodes[3][1].early); n > maxEarly {
		t.Errorf("%d early copies", n)
	}
	if m.sweep(now.Add(marksForget + time.Second)); len(m.nodes) != 0 {
		t.Errorf("%d nodes are not forgotten", len(m.nodes))
	}
}
