package session

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"belfry/message"
)

// changesSeen notes what Options.Changed is told.
type changesSeen struct {
	mu   sync.Mutex
	open map[string]string // uid by session id
	all  []string
}

func (s *changesSeen) changed(p Changes) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.Each(func(opened bool, uid []byte, key message.SessionKey, _ []byte, _ Route, _ uint32) {
		sid := key.SID(7)
		s.all = append(s.all, fmt.Sprint(opened, " ", string(uid)))
		if opened {
			s.open[sid] = string(uid)
		} else if s.open[sid] != string(uid) {
			s.all = append(s.all, "closed what was not open")
		} else {
			delete(s.open, sid)
		}
	})
}

// Changed is told of each session of a user when it opens and when it ends, under the
// id that clients see, also when a session logs in as another user; and of no session
// without a user.
func TestChanges(t *testing.T) {
	seen := &changesSeen{open: make(map[string]string)}
	r := newRig(t, Options{Node: 7, Changed: seen.changed})
	clients := []*client{r.dial("/ws?uid=u1", "belfry.v1"), r.dial("/ws?uid=u1", "belfry.v1"), r.dial("/ws?uid=u2", "belfry.v1")}
	opened := func(want int) {
		t.Helper()
		eventually(t, fmt.Sprint(want, " open sessions"), func() bool {
			seen.mu.Lock()
			defer seen.mu.Unlock()
			return len(seen.open) == want
		})
	}
	opened(3)
	seen.mu.Lock()
	for sid, uid := range seen.open {
		if n, ok := message.ParseSID(sid, &r.opt.Key); !ok || n.Node != 7 {
			t.Errorf("the session id %s of %s is not one of this server", sid, uid)
		}
	}
	seen.mu.Unlock()
	for i, c := range clients {
		c.Close()
		opened(2 - i)
	}
	seen.mu.Lock()
	defer seen.mu.Unlock()
	slices.Sort(seen.all)
	if want := []string{"false u1", "false u1", "false u2", "true u1", "true u1", "true u2"}; !slices.Equal(seen.all, want) {
		t.Errorf("told %q; want %q", seen.all, want)
	}
}

// A turn's changes are told without an allocation once the batch has room.
func TestChangesAllocations(t *testing.T) {
	r := newRig(t, Options{Node: 7, Changed: func(Changes) {}, Poller: onePoller()})
	r.mustWire("/ws?uid=u1", "")
	r.on(0, func(h *shard) {
		rec := h.rec(0)
		n := testing.AllocsPerRun(100, func() {
			h.changes.opened(0, rec)
			h.changes.closed(0, rec)
			h.changes.flush()
		})
		if n > 0 && !raceDetector {
			t.Errorf("%v allocations", n)
		}
		if len(h.changes.batch) != 0 {
			t.Error("not flushed")
		}
	})
}
