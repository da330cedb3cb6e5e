package poller

import (
	"fmt"
	"testing"
	"time"
)

// Frames that die while they wait are not sent when the client reads again; those between
// them are, in order. A frame that is partly sent is sent to its end.
func TestBacklogDropsExpiredFrames(t *testing.T) {
	r := backlogRig(t, Options{Backlog: Bounds{Frames: 1 << 10, Bytes: 1 << 24}})
	c, id := r.pair(0)
	// Every frame dies, also the one that will be partly sent.
	at := time.Now().Add(time.Hour)
	next := 0
	send := func(s *Shard, f *Frame) SendResult {
		next++
		return s.sendNow(id.Slot(), Shared(NewFrames(f)), Data)
	}
	r.on(0, func(s *Shard) {
		for send(s, numbered(next, 1000, 0).Expiring(&at)) != sendQueued {
		}
	})
	queued := next - 1 // partly sent, or the first that waits whole
	r.on(0, func(s *Shard) {
		for i := range 100 {
			f := numbered(next, 1000, 0)
			if i%3 == 0 {
				f.Expiring(&at)
			}
			send(s, f)
		}
	})
	started := false
	r.on(0, func(s *Shard) {
		started = s.sender.backlogs.of(s.at(id.Slot())).started()
		at = time.Now().Add(-time.Millisecond)
	})
	var want []string
	for i := range next {
		if i < queued || i == queued && started || i > queued && (i-queued-1)%3 != 0 {
			want = append(want, fmt.Sprintf("%08d ", i))
		}
	}
	for i, l := range lines(t, c, len(want)) {
		if l != want[i] {
			t.Fatalf("line %d is %q, want %q", i, l, want[i])
		}
	}
	eventually(t, "no backlog", func() bool {
		st := r.Stats()
		return st.BacklogBytes == 0 && st.Backlogged == 0
	})
	if n := int(r.Stats().DroppedExpired); n != next-len(want) {
		t.Errorf("%d counted, %d dropped", n, next-len(want))
	}
}

// Dead frames make room for others before the policy is applied.
func TestExpiredFramesMakeRoom(t *testing.T) {
	r := backlogRig(t, Options{Backlog: Bounds{Frames: 4}})
	_, id := r.pair(0)
	r.sendUntil(id, 0, 1000, sendQueued)
	at := time.Now().Add(time.Hour)
	r.on(0, func(s *Shard) {
		for i := range 3 {
			if res := s.sendNow(id.Slot(), Shared(NewFrames(numbered(i, 1000, 0).Expiring(&at))), Data); res != sendQueued {
				t.Fatal(res)
			}
		}
		if res := s.sendNow(id.Slot(), Shared(NewFrames(numbered(9, 1000, 0))), Data); res != FramesFull {
			t.Errorf("%v", res)
		}
		at = time.Now().Add(-time.Millisecond)
		if res := s.sendNow(id.Slot(), Shared(NewFrames(numbered(9, 1000, 0))), Data); res != sendQueued {
			t.Errorf("%v", res)
		}
	})
	if frames, _ := r.backlog(id); frames != 2 {
		t.Errorf("%d frames wait", frames)
	}
}
