package broadcast

import (
	"encoding/json"
	"testing"
	"time"
)

// What a node knows of pushes to users is the same in the process that goes on as it.
func TestRoutesInherited(t *testing.T) {
	o := Options{NodeName: "a", URLs: []string{"nats://127.0.0.1:1"}}
	router := new(routing)
	opened := func() *NATS {
		o.Held = true // no goroutine of the bus runs
		n, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { n.Close() })
		n.Route(router)
		n.nats.sender.routing()
		return n.nats
	}
	b := opened()
	now := time.UnixMicro(b.opt.clock.now().UnixMicro())
	r := b.sender.routes
	open := &relays{home: 7, epoch: 100, number: 30, passed: 12, moved: now}
	ended := &relays{home: 8, epoch: 101, number: 5, state: relaysClosed, moved: now}
	r.streams[7], r.streams[8] = open, ended
	r.sent, r.passed, r.calm, r.place, r.own = 90, 40, now, place{102, 90}, origin{b.id, 103, 9}
	r.last[3], r.path[3] = 80, open
	r.last[4], r.path[4] = 81, ended
	r.last[5] = 82
	b.sender.confirms.due[9] = origin{9, 200, 4} // a copy that NATS has not confirmed
	order := &b.receiver.order
	for _, p := range []struct {
		node   uint32
		bucket uint16
		place
	}{{7, 0, place{50, 3}}, {7, 4095, place{50, 4}}, {8, 64, place{60, 1}}} {
		order.take(p.node, p.bucket, p.place, now)
	}
	b.receiver.marks.first(origin{7, 100, 5}, now, false) // copies up to 5 came before this node overheard 8
	b.receiver.marks.first(origin{7, 100, 8}, now, true)
	text, err := json.Marshal(b.heritage(false))
	if err != nil {
		t.Fatal(err)
	}

	next := opened()
	var h Heritage
	if err := json.Unmarshal(text, &h); err != nil {
		t.Fatal(err)
	}
	next.adopt(&h, now)
	n := next.sender.routes
	if n.sent != 90 || n.passed != 40 || !n.calm.Equal(now) || n.place != r.place || n.own != r.own {
		t.Errorf("%+v", n)
	}
	if s := n.streams[7]; s.epoch != 100 || s.number != 30 || s.passed != 12 || s.state != relaysOpen || n.path[3] != s || n.last[3] != 80 {
		t.Errorf("an open stream: %+v", s)
	}
	if s := n.streams[8]; s.state != relaysClosed || n.path[4] != nil || n.last[4] != 81 || n.last[5] != 82 || n.path[5] != nil {
		t.Errorf("a stream that ended: %+v", s)
	}
	if next.sender.confirms.add(origin{9, 200, 5}); len(next.sender.confirms.due) > 0 {
		t.Error("the next process confirms a stream of which copies may be lost")
	}
	for _, p := range []struct {
		bucket uint16
		number uint64
		want   outcome
	}{{0, 3, isCopy}, {4095, 3, isLate}, {4095, 5, isNext}, {1, 1, isNext}} {
		if got := next.receiver.order.take(7, p.bucket, place{50, p.number}, now); got != p.want {
			t.Errorf("push %d to bucket %d: %v, want %v", p.number, p.bucket, got, p.want)
		}
	}
	marks := &next.receiver.marks
	if !marks.first(origin{7, 100, 7}, now, false) || marks.first(origin{7, 100, 8}, now, false) {
		t.Error("a copy from before the node overheard is lost, or one that was overheard comes again")
	}
}
