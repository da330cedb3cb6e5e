package broadcast

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

func TestInOrder(t *testing.T) {
	o := inOrder{make(map[uint32]*placesOf)}
	now := time.Unix(0, 0)
	for i, step := range []struct {
		node   uint32
		bucket uint16
		place  place
		want   outcome
	}{
		{1, 7, place{5, 3}, isNext},
		{1, 7, place{5, 3}, isCopy},
		{1, 7, place{5, 2}, isLate},
		{1, 8, place{5, 2}, isNext}, // of another bucket
		{2, 7, place{5, 2}, isNext}, // of another node
		{1, 7, place{5, 9}, isNext}, // with a hole: pushes to other buckets
		{1, 4095, place{5, 1}, isNext},
		{1, 7, place{6, 1}, isNext}, // the node was restarted
		{1, 7, place{5, 10}, isLate},
		{1, 7, place{}, isNext}, // of a node without routes
	} {
		if got := o.take(step.node, step.bucket, step.place, now); got != step.want {
			t.Errorf("step %d: %d, want %d", i, got, step.want)
		}
	}
	o.sweep(now.Add(marksForget + 1))
	if len(o.nodes) != 0 {
		t.Errorf("%d nodes are remembered", len(o.nodes))
	}
}

// What waits for a node that was stopped comes over several connections, in any order:
// a push behind a later one is lost and counted, whatever paths they have taken.
func TestLatePushes(t *testing.T) {
	n, _ := routedMembers(t, Options{})
	nc := client(t, n[0].opt.URLs[0])
	bob := []string{"bob"}
	publisher := nodeString(0x77)
	direct := func(number, place int) *nats.Msg {
		return &nats.Msg{Subject: userBucketSubject(UserBucket("bob")), Data: fmt.Append(nil, "push ", place),
			Header: nats.Header{headerUser: bob, headerNode: {publisher}, headerSeq: {fmt.Sprint("5.", number)}, headerPlace: {fmt.Sprint("5.", place)}}}
	}
	copied := func(number, place int) *nats.Msg {
		return &nats.Msg{Subject: n[0].nats.self, Data: fmt.Append(nil, "push ", place),
			Header: nats.Header{headerUser: bob, headerNode: {nodeString(0x78)}, headerSeq: {fmt.Sprint("6.", number)},
				headerOrigin: {publisher + " " + fmt.Sprint("4.", place)}, headerPlace: {fmt.Sprint("5.", place)}}}
	}
	_ = n[0].JoinUser([]byte("bob"), nil, 0)
	for _, m := range []*nats.Msg{copied(1, 1), direct(1, 3), copied(2, 2), direct(2, 4), copied(3, 5)} {
		send(t, nc, m)
	}
	eventually(t, "the last one", func() bool { return len(n[0].payloads("bob")) == 4 })
	if got := fmt.Sprint(n[0].payloads("bob")); got != "[push 1 push 3 push 4 push 5]" {
		t.Errorf("delivered: %s", got)
	}
	if late := n[0].Stats().Routes.Late; late != 1 {
		t.Errorf("%d are counted as late", late)
	}
}

// What was relayed before a node begins to overhear comes as copies, behind relays that
// are overheard, and is no copy of them.
func TestMarksFromTheMiddle(t *testing.T) {
	m := marks{make(map[uint32]map[uint64]*mark)}
	now := time.Unix(0, 0)
	at := func(number uint64) origin { return origin{1, 1, number} }
	for i, step := range []struct {
		number      uint64
		relay, want bool
	}{
		{2, false, true},  // a copy
		{7, true, true},   // the first that is overheard
		{5, false, true},  // the home passed it on before
		{7, false, false}, // overheard
		{8, true, true},
		{8, false, false},
		{20, true, true}, // overhears again, after a while
		{12, false, true},
		{19, false, true},
		{20, false, false},
	} {
		if got := m.first(at(step.number), now, step.relay); got != step.want {
			t.Errorf("step %d: %t", i, got)
		}
	}
	m.retire(at(30), now)
	if m.first(at(25), now, false) || m.first(at(30), now, true) || !m.first(at(31), now, false) {
		t.Error("a stream that was retired")
	}
}
