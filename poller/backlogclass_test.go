package poller

import "testing"

// At the limit of the node, the connection with the largest backlog is evicted, and
// not one with a small backlog. It gets nothing that would follow a gap.
func TestLargestIsEvicted(t *testing.T) {
	const frame = 20_000
	r := backlogRig(t, Options{Backlog: Bounds{Frames: 1 << 16, Bytes: 1 << 30}, NodeBytes: 900_000})
	var hoarders []ID
	for range 2 {
		_, id := r.pair(0)
		first := r.sendUntil(id, 0, frame, sendQueued)
		r.on(0, func(s *Shard) {
			for n := range 21 { // 440,000 bytes each
				s.sendNow(id.Slot(), Shared(NewFrames(numbered(first+1+n, frame, 0))), Data)
			}
		})
		hoarders = append(hoarders, id)
	}
	_, id := r.pair(0)
	r.sendUntil(id, 0, frame, sendQueued) // takes the rest of the limit
	r.on(0, func(s *Shard) {
		for n := range 4 {
			if got := s.sendNow(id.Slot(), Shared(NewFrames(numbered(n, frame, 0))), Data); got != sendQueued {
				t.Errorf("frame %d to the small backlog: %d", n, got)
			}
		}
		if frames, _ := s.backlogOf(id.Slot()); frames != 5 {
			t.Errorf("%d frames wait in the small backlog", frames)
		}
		evicted := 0
		for _, id := range hoarders {
			if s.at(id.Slot()).flags&flagEvicted == 0 {
				continue
			}
			evicted++
			if frames, _ := s.backlogOf(id.Slot()); frames > 1 {
				t.Errorf("%d frames wait for an evicted connection", frames)
			}
			if got := s.sendNow(id.Slot(), Shared(NewFrames(numbered(0, 10, 0))), Data); got != sendClosed {
				t.Errorf("sent to an evicted connection: %d", got)
			}
		}
		if n := s.Counters.NodeOverflows.Load(); evicted != 1 || n != 1 {
			t.Errorf("%d evicted, %d counted; want 1", evicted, n)
		}
	})
	// If all backlogs are about equal, the latest send is refused.
	r.on(0, func(s *Shard) {
		for n := range 1000 {
			if got := s.sendNow(id.Slot(), Shared(NewFrames(numbered(n, frame, 0))), Data); got == NodeFull {
				return
			}
		}
		t.Error("no send was refused")
	})
}
