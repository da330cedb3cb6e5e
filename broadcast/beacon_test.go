package broadcast

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"belfry/message"
)

// An idle node publishes beacons rarely. After a message the next beacon comes at
// once.
func TestIdleBeacons(t *testing.T) {
	clk := newFakeClock()
	url := external(t, 0).ClientURL()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	heard, err := nc.SubscribeSync(subjectBeacon)
	if err != nil {
		t.Fatal(err)
	}
	nc.Flush()
	a := open(t, Options{NodeName: "a", URLs: []string{url}, clock: clk.clock()})
	beacons := func(seconds int) (n int) {
		t.Helper()
		for range seconds {
			clk.advance(t, time.Second)
		}
		for _, c := range []*nats.Conn{a.nats.nc, nc} { // then everything that was sent has arrived
			if err := c.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		for {
			m, err := heard.NextMsg(time.Millisecond)
			if err != nil {
				return n
			}
			if m.Header[headerProbe] != nil {
				continue
			}
			if b, err := parseBeacon(m.Data); err != nil || b.name != "a" {
				t.Errorf("%q: %v", m.Data, err)
			}
			n++
		}
	}
	beacons(1)
	if n := beacons(4 * idleBeacons(0)); n < 3 || n > 5 { // the last tick may still be running
		t.Errorf("%d beacons in %d idle seconds, want 4", n, 4*idleBeacons(0))
	}
	for i := range uint64(3) {
		a.publish(t, message.ToAll(), "x")
		eventually(t, "sent", func() bool { return a.Stats().Sent == i+1 })
		if n := beacons(2); n < 1 {
			t.Error("no beacon after a message")
		}
	}
}
