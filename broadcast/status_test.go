package broadcast

import (
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// What a node says of itself is read as it was written; a beacon without it is one of
// an earlier version.
func TestStatusHeader(t *testing.T) {
	for _, s := range []Status{{}, {Version: "v1.2", Load: 7}, {Presence: Leaving}, {Presence: Left, Load: maxNumber}, {Draining: true}} {
		var got Status
		if err := got.readHeader(s.header()); err != nil || got != s {
			t.Errorf("%+v became %+v, %v", s, got, err)
		}
	}
	var got Status
	if err := got.readHeader(nil); err != nil || got != (Status{}) {
		t.Errorf("no headers became %+v, %v", got, err)
	}
	for name, value := range map[string]string{headerVersion: "a b", headerLoad: "-1", headerPresence: "maybe"} {
		if err := new(Status).readHeader(nats.Header{name: {value}}); err == nil {
			t.Errorf("%s: %s is valid", name, value)
		}
	}
}

// A node that says that it has left is not present at once, and not missed; the last
// word of an earlier process changes nothing.
func TestPeerLeft(t *testing.T) {
	k := newRosterTest()
	k.beacon(1, "i")
	k.beacon(2, "i")
	left := func(id uint32, instance string) {
		k.onBeacon(&beacon{node: id, name: "n2", instance: instance, status: Status{Presence: Left}}, k.now)
	}
	left(2, "earlier")
	if v := k.view.Load(); len(v.present) != 2 {
		t.Errorf("present %v after the last beacon of an earlier process", v.present)
	}
	left(2, "i")
	if v := k.view.Load(); len(v.present) != 1 || !v.lost.IsZero() {
		t.Errorf("present %v, lost %v after it has left", v.present, v.lost)
	}
	left(3, "i") // never seen
	k.beacon(2, "i")
	heard := k.now
	k.advance(20, func() {})
	if v := k.view.Load(); len(v.present) != 1 || !v.lost.Equal(heard) {
		t.Errorf("present %v, lost %v; want one and %v", v.present, v.lost, heard)
	}
	var events []string
	for _, l := range k.lines.All() {
		if l.ContextMap()["peer"] == "n2" {
			events = append(events, l.Message)
		}
	}
	if want := []string{"peer joined", "peer left", "peer is back", "peer lost: no beacon received"}; !slices.Equal(events, want) {
		t.Errorf("logged %q; want %q", events, want)
	}
}

// Over NATS a node hears what another says of itself, at once when it drains and when
// it has ended.
func TestStatusOverNATS(t *testing.T) {
	url := external(t, -1).ClientURL()
	heard := make(chan Sighting, 64)
	join := func(name string) *Node {
		n, err := Open(Options{NodeName: name, URLs: []string{url}, Beacon: 100 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { n.Close() })
		return n
	}
	a := join("a")
	a.Control().OnBeacon(func(s Sighting) { heard <- s })
	a.Start(&recorder{})
	b := join("b")
	b.Control().Describe(func(s *Status) { s.Version, s.Load = "v9", 42 })
	b.Start(&recorder{})
	until := func(p Presence) {
		t.Helper()
		for timeout := time.After(time.Minute); ; {
			select {
			case s := <-heard:
				if s.Name == "b" && s.Version == "v9" && s.Load == 42 && s.Presence == p && s.Instance != "" {
					return
				}
			case <-timeout:
				t.Fatalf("presence %d was not heard", p)
			}
		}
	}
	until(Staying)
	b.Control().Leave()
	until(Leaving)
	b.Close()
	until(Left)
	eventually(t, "a has no peers", func() bool { return len(a.Control().Peers()) == 0 })
}
