package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"belfry/broadcast"
	"belfry/broadcast/fakebus"
)

// seen is a node that notes what it is told of others.
type seen struct {
	*broadcast.Node
	bus     *fakebus.Bus
	members *Members

	mu  sync.Mutex
	got []string
}

func joinMembers(t *testing.T, net *fakebus.Network, name string) *seen {
	s := &seen{bus: net.Join(name)}
	var err error
	if s.Node, err = broadcast.Open(broadcast.Options{NodeName: name, Bus: s.bus}); err != nil {
		t.Fatal(err)
	}
	s.Control().Describe(func(st *broadcast.Status) { st.Version, st.Load = "v1-"+name, 7 })
	if s.members, err = NewMembers(MembersOptions{Control: s.Control(), SuspectAfter: 3 * time.Second, GoneAfter: 6 * time.Second}); err != nil {
		t.Fatal(err)
	}
	s.members.Watch(func(c Change) {
		text := c.Name + " " + c.Was.String() + "-" + c.State.String()
		if c.Restarted {
			text += " restarted"
		}
		if c.Left {
			text += " left"
		}
		s.mu.Lock()
		s.got = append(s.got, text)
		s.mu.Unlock()
	})
	s.Start(fakebus.Nowhere{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { s.members.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done; s.Close() })
	return s
}

// told returns what was told since the last call.
func (s *seen) told() string {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	text := strings.Join(s.got, ", ")
	s.got = nil
	return text
}

func TestMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &fakebus.Network{Delay: time.Millisecond, Every: time.Second}
		a := joinMembers(t, net, "a")
		expect := func(what, want string) {
			t.Helper()
			if got := a.told(); got != want {
				t.Errorf("%s: told %q; want %q", what, got, want)
			}
		}
		b := joinMembers(t, net, "b")
		time.Sleep(10 * time.Millisecond)
		expect("joined", "b gone-alive")
		if v := a.members.View(); len(v) != 2 || !v[0].Self || v[1].Name != "b" || v[1].Version != "v1-b" || v[1].Load != 7 || v[1].State != Alive {
			t.Errorf("view %+v", v)
		}

		b.bus.Cut()
		time.Sleep(4500 * time.Millisecond)
		expect("silent", "b alive-suspected")
		b.bus.Heal()
		time.Sleep(1500 * time.Millisecond)
		expect("back before it was gone", "b suspected-alive")
		b.bus.Cut()
		time.Sleep(8 * time.Second)
		expect("silent for longer than a lease", "b alive-suspected, b suspected-gone")
		b.bus.Heal()
		time.Sleep(1500 * time.Millisecond)
		expect("back", "b gone-alive")

		b.bus.Kill()
		again := joinMembers(t, net, "b")
		time.Sleep(10 * time.Millisecond)
		expect("restarted", "b alive-alive restarted")
		again.Control().Leave()
		time.Sleep(10 * time.Millisecond)
		expect("drains", "b alive-leaving")
		if v := again.members.View(); v[1].State != Leaving {
			t.Errorf("it is %v to itself", v[1].State)
		}
		time.Sleep(10 * time.Second) // beacons still come
		expect("still drains", "")
		again.Close()
		time.Sleep(10 * time.Millisecond)
		expect("has left", "b leaving-gone left")
		if v := a.members.View(); v[1].State != Gone {
			t.Errorf("view %+v", v)
		}
		time.Sleep(2 * forgetAfter)
		if v := a.members.View(); len(v) != 1 {
			t.Errorf("view after an hour %+v", v)
		}
	})
}

// A process that did not run takes nobody for gone.
func TestMembersAfterStop(t *testing.T) {
	m := &Members{nodes: map[uint32]*Member{}, swept: time.Unix(1000, 0)}
	m.opt.Beacon, m.opt.SuspectAfter, m.opt.GoneAfter = time.Second, 3*time.Second, 6*time.Second
	m.nodes[1] = &Member{Peer: broadcast.Peer{ID: 1, Name: "b"}, Heard: time.Unix(999, 0), State: Alive}
	m.opt.Log = nopLog
	m.sweep(time.Unix(1060, 0)) // stopped for a minute
	if s := m.nodes[1].State; s != Suspected && s != Alive {
		t.Errorf("after a stop the other node is %v", s)
	}
	for i := range 8 {
		m.sweep(time.Unix(1061+int64(i), 0))
	}
	if s := m.nodes[1].State; s != Gone {
		t.Errorf("after eight seconds more it is %v; want gone", s)
	}
}

func TestMembersOptions(t *testing.T) {
	n, err := broadcast.Open(broadcast.Options{NodeName: "o", Bus: new(fakebus.Network).Join("o")})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range []MembersOptions{
		{Beacon: time.Nanosecond}, {SuspectAfter: -1}, {SuspectAfter: 2, GoneAfter: 1}, {SuspectAfter: 1, GoneAfter: 2},
	} {
		o.Control = n.Control()
		_, err := NewMembers(o)
		got = append(got, fmt.Sprint(err != nil))
	}
	if !slices.Equal(got, []string{"true", "true", "true", "false"}) {
		t.Errorf("errors %q", got)
	}
}

// The last word of a process that is not known, or that another one has replaced, changes
// nothing: beacons may arrive in another order than they were sent.
func TestLateLastWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := joinMembers(t, &fakebus.Network{}, "a")
		say := func(instance string, p broadcast.Presence) string {
			a.members.heard(broadcast.Sighting{Peer: broadcast.Peer{ID: 9, Name: "b"}, Status: broadcast.Status{Instance: instance, Presence: p}})
			return a.told()
		}
		if got := say("one", broadcast.Left); got != "" || len(a.members.View()) != 1 {
			t.Errorf("a node that was not known has left: told %q, view %+v", got, a.members.View())
		}
		if got := say("two", broadcast.Staying); got != "b gone-alive" {
			t.Errorf("told %q", got)
		}
		if got := say("one", broadcast.Left); got != "" || a.members.View()[1].State != Alive {
			t.Errorf("an earlier process has left: told %q, the node is %v", got, a.members.View()[1].State)
		}
		if got := say("two", broadcast.Left); got != "b alive-gone left" {
			t.Errorf("told %q", got)
		}
	})
}

// Two processes with one name do not end the sessions of each other with every beacon:
// the one that came last counts until it is gone.
func TestTwoProcessesWithOneName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := joinMembers(t, &fakebus.Network{}, "a")
		say := func(instances ...string) string {
			for _, instance := range instances {
				a.members.heard(broadcast.Sighting{Peer: broadcast.Peer{ID: 9, Name: "b"}, Status: broadcast.Status{Instance: instance}})
			}
			return a.told()
		}
		if got := say("one", "two", "one", "two", "three", "one", "two", "three"); got != "b gone-alive, b alive-alive restarted, b alive-alive restarted" {
			t.Errorf("told %q", got)
		}
		for range 8 {
			time.Sleep(time.Second)
			say("one")
		}
		if got := a.members.View()[1]; got.Instance != "one" || got.State != Alive {
			t.Errorf("the only process that is left: %+v", got)
		}
	})
}

// A node that is suspected stays a home: its sessions need not move for a late beacon.
func TestHomeStates(t *testing.T) {
	for s, want := range map[State]bool{Alive: true, Suspected: true, Leaving: false, Gone: false} {
		if s.home() != want {
			t.Errorf("%v: a home: %v", s, !want)
		}
	}
}

// A node is suspected before its lease is over: after half of it and an interval, or, of
// a short lease, after three quarters.
func TestSuspectBeforeGone(t *testing.T) {
	for _, tc := range []struct{ beacon, gone, want time.Duration }{
		{time.Second, 6 * time.Second, 4 * time.Second}, {time.Second, 2 * time.Second, 1500 * time.Millisecond},
	} {
		m := &Members{opt: MembersOptions{Beacon: tc.beacon, GoneAfter: tc.gone}}
		if suspect, gone := m.lease(); suspect != tc.want || gone != tc.gone {
			t.Errorf("%+v: %v and %v", tc, suspect, gone)
		}
	}
}

// A node that drains and falls silent does not become a home again; and a stop of this
// process does not prolong the lease of a node that was heard after it.
func TestSilenceOfALeavingNode(t *testing.T) {
	m := &Members{nodes: map[uint32]*Member{}, swept: time.Unix(1000, 0)}
	m.opt = MembersOptions{Beacon: time.Second, SuspectAfter: 3 * time.Second, GoneAfter: 6 * time.Second, Log: nopLog}
	m.nodes[1] = &Member{Peer: broadcast.Peer{ID: 1, Name: "b"}, Heard: time.Unix(1059, 0), State: Leaving}
	for _, step := range []struct {
		second int64
		want   State
	}{{1060, Leaving}, {1062, Leaving}, {1064, Leaving}, {1066, Gone}} {
		m.sweep(time.Unix(step.second, 0)) // before the first one the process was stopped
		if s := m.nodes[1].State; s != step.want {
			t.Errorf("at %d the node is %v, want %v", step.second, s, step.want)
		}
	}
}
