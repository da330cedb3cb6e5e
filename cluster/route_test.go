package cluster

import (
	"testing"
	"time"

	"belfry/broadcast"
)

// For a minute after a node was gone without having left, all pushes go to all nodes.
func TestPushesAfterALoss(t *testing.T) {
	members := []Member{{Peer: broadcast.Peer{ID: 1}, Routes: true, Self: true}, {Peer: broadcast.Peer{ID: 2}, Routes: true}}
	for _, c := range []struct {
		ago  time.Duration
		home bool
	}{{0, false}, {directFor / 2, false}, {directFor + time.Second, true}, {2 * directFor, true}} {
		d := &Directory{homes: NewHomes([]uint32{1, 2}), holders: map[uint32]*holder{2: {}}, lost: map[uint32]time.Time{3: time.Now().Add(-c.ago)}}
		d.renewView(members)
		if _, ok := d.Home(7); ok != c.home {
			t.Errorf("%v after the loss a push goes by its home: %v", c.ago, ok)
		}
	}
	d := &Directory{homes: NewHomes([]uint32{1, 2}), holders: map[uint32]*holder{2: {}}}
	d.renewView(members)
	if _, ok := d.Home(7); !ok {
		t.Error("without a loss a push does not go by its home")
	}
}
