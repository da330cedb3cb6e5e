package poller

import "testing"

// Where the node's bound is reached the connection for which most waits gives
// way, and not one for which little does. It hears nothing that follows a gap.
func TestHoarderGivesWay(t *testing.T) {
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
	r.sendUntil(id, 0, frame, sendQueued) // takes what is left
	r.on(0, func(s *Shard) {
		for n := range 4 {
			if got := s.sendNow(id.Slot(), Shared(NewFrames(numbered(n, frame, 0))), Data); got != sendQueued {
				t.Errorf("frame %d of one that has little: %d", n, got)
			}
		}
		if frames, _ := s.backlogOf(id.Slot()); frames != 5 {
			t.Errorf("%d frames wait for it", frames)
		}
		evicted := 0
		for _, id := range hoarders {
			if s.at(id.Slot()).flags&flagEvicted == 0 {
				continue
			}
			evicted++
			if frames, _ := s.backlogOf(id.Slot()); frames > 1 {
				t.Errorf("%d frames wait for one that gave way", frames)
			}
			if got := s.sendNow(id.Slot(), Shared(NewFrames(numbered(0, 10, 0))), Data); got != sendClosed {
				t.Errorf("sent to one that gave way: %d", got)
			}
		}
		if n := s.Counters.NodeOverflows.Load(); evicted != 1 || n != 1 {
			t.Errorf("%d gave way, %d counted; want 1", evicted, n)
		}
	})
	// Among equals whoever comes last is refused, as ever.
	r.on(0, func(s *Shard) {
		for n := range 1000 {
			if got := s.sendNow(id.Slot(), Shared(NewFrames(numbered(n, frame, 0))), Data); got == NodeFull {
				return
			}
		}
		t.Error("never refused")
	})
}
