package broadcast

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"belfry/message"
)

// rosterTest is a roster with a clock of the test.
type rosterTest struct {
	*roster
	now   time.Time
	lines *observer.ObservedLogs
}

func newRosterTest() *rosterTest {
	core, lines := observer.New(zap.InfoLevel)
	k := &rosterTest{now: time.Unix(1e9, 0), lines: lines}
	k.roster = newRoster(0, time.Second, k.now, zap.New(core), new(atomic.Int64))
	return k
}

func (k *rosterTest) beacon(id uint32, instance string) {
	k.onBeacon(&beacon{node: id, name: fmt.Sprint("n", id), instance: instance}, k.now)
}

// list delivers a peer list of node 1.
func (k *rosterTest) list(ids ...uint32) {
	l := &peerList{node: 1, name: "n1"}
	for _, id := range ids {
		l.peers = append(l.peers, Peer{id, fmt.Sprint("n", id)})
	}
	k.onPeerList(l, k.now)
}

// advance moves the time second by second. In each second a beacon of node 1
// arrives and each is called.
func (k *rosterTest) advance(seconds int, each func()) {
	for range seconds {
		k.now = k.now.Add(time.Second)
		k.beacon(1, "i")
		each()
		k.sweep(k.now)
	}
}

func (k *rosterTest) unheard() (names []string) {
	for _, u := range k.view.Load().unheard {
		names = append(names, fmt.Sprint(u.name, " by ", u.by, " never ", u.never))
	}
	return names
}

func TestPeersComeAndGo(t *testing.T) {
	k := newRosterTest()
	k.beacon(2, "i")
	k.advance(20, func() {}) // node 2 is lost after 12 s
	k.beacon(2, "j")
	k.beacon(2, "k")
	var got []string
	for _, l := range k.lines.All() {
		got = append(got, fmt.Sprint(l.Level, " ", l.Message, " ", l.ContextMap()["peer"], " ", l.ContextMap()["peers"]))
	}
	want := []string{"info peer joined n2 1", "info peer joined n1 2", "warn peer lost: no beacon received n2 1",
		"info peer is back n2 2", "info peer restarted n2 2"}
	if !slices.Equal(got, want) {
		t.Errorf("logged %q\nwant %q", got, want)
	}
	names := k.view.Load().present
	if len(names) != 2 || names[0].Name != "n1" || names[1].Name != "n2" || k.lines.FilterLevelExact(zapcore.WarnLevel).Len() != 1 {
		t.Errorf("present: %v", names)
	}
}

func TestPeerThatOthersHear(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(k *rosterTest)
		want []string
	}{
		"never heard":  {func(k *rosterTest) { k.advance(20, func() { k.list(1, 2, 0) }) }, []string{"n2 by n1 never true"}},
		"not for long": {func(k *rosterTest) { k.advance(10, func() { k.list(2) }) }, nil},
		"heard at last": {func(k *rosterTest) {
			k.advance(20, func() { k.list(2) })
			k.beacon(2, "i")
			k.sweep(k.now)
		}, nil},
		"not listed any more": {func(k *rosterTest) {
			k.advance(20, func() { k.list(2) })
			k.advance(20, func() { k.list() })
		}, nil},
		"joined long after the start of this node": {func(k *rosterTest) {
			k.advance(100, func() {})
			k.advance(20, func() { k.list(2) })
		}, []string{"n2 by n1 never false"}},
		"heard before": {func(k *rosterTest) {
			k.beacon(2, "i")
			k.advance(40, func() { k.list(2) })
		}, []string{"n2 by n1 never false"}},
		// Node 1 notices the end of node 2 a moment after this node.
		"ended": {func(k *rosterTest) {
			k.beacon(2, "i")
			k.advance(13, func() { k.list(2) })
			k.advance(40, func() { k.list(); k.never(t) })
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			k := newRosterTest()
			c.do(k)
			if got := k.unheard(); !slices.Equal(got, c.want) {
				t.Errorf("unheard %q, want %q", got, c.want)
			}
		})
	}
}

func (k *rosterTest) never(t *testing.T) {
	if got := k.unheard(); got != nil {
		t.Errorf("a node that has ended is reported: %q", got)
	}
}

func TestPeerListIsReadStrictly(t *testing.T) {
	l := &peerList{node: 7, name: "me", peers: []Peer{{1, "a"}, {2, "b.c"}}}
	back, err := parsePeers(l.append(nil))
	if err != nil || back.node != 7 || back.name != "me" || !slices.Equal(back.peers, l.peers) {
		t.Errorf("%+v: %v", back, err)
	}
	head := "belfry 1 00000007 me\n"
	for _, text := range []string{"", "belfry 2 00000007 me\n", "belfry 1 7 me\n", "belfry 1 00000007 \n", head + "x y\n",
		head + "00000001\n", head + "00000001 a b\n", head + "00000001 " + strings.Repeat("x", 65) + "\n",
		head + strings.Repeat("00000001 a\n", maxListed+1)} {
		if _, err := parsePeers([]byte(text)); err == nil {
			t.Errorf("%.40q is accepted", text)
		}
	}
}

// Two of three nodes have a route to the first one only. They connect to each
// other because the servers announce the addresses at which they listen, and not
// the addresses from which they connect.
func TestThreeNodesOnThreeAddresses(t *testing.T) {
	var nodes []*member
	for i, name := range []string{"one", "two", "three"} {
		o := Options{NodeName: name, Beacon: 50 * time.Millisecond}
		o.Embedded.ClusterListen = fmt.Sprintf("127.0.0.%d:0", i+1)
		if i > 0 {
			o.Embedded.Routes = []string{"nats://" + nodes[0].ClusterAddr()}
		}
		nodes = append(nodes, open(t, o))
	}
	for _, n := range nodes {
		n.sees(t, subjectAll, 3)
	}
	for i, n := range nodes {
		n.publish(t, message.ToAll(), fmt.Sprint("from ", i))
	}
	for _, n := range nodes {
		eventually(t, "a message of each", func() bool { return len(n.messages()) == 3 })
		eventually(t, "both peers", func() bool { return len(n.Stats().PeerNames) == 2 })
		if !n.whole() {
			t.Error(n.Ready(), n.Degraded())
		}
	}
}

// If the advertised addresses are wrong, the second and third node connect only to
// the first. They are not ready, and each names the node that it misses.
func TestTwoNodesThatNeverMeet(t *testing.T) {
	var nodes []*member
	for i, name := range []string{"one", "two", "three"} {
		o := Options{NodeName: name, Beacon: 10 * time.Millisecond}
		o.Embedded.ClusterListen = "127.0.0.1:0"
		if i > 0 {
			o.Embedded.Routes = []string{"nats://" + nodes[0].ClusterAddr()}
			o.Embedded.ClusterAdvertise = "127.0.0.1:1"
		}
		nodes = append(nodes, open(t, o))
	}
	eventually(t, "the first hears both", func() bool { return len(nodes[0].Stats().PeerNames) == 2 })
	for i, other := range map[int]string{1: "three", 2: "two"} {
		eventually(t, "the reason", func() bool { return nodes[i].Ready() != nil })
		if text := nodes[i].Ready().Error(); !strings.Contains(text, "one receives beacons of node "+other+" and this node does not") {
			t.Error(text)
		}
		if st := nodes[i].Stats(); !slices.Equal(st.Unheard, []string{other}) {
			t.Errorf("unheard %q", st.Unheard)
		}
	}
	if !nodes[0].whole() {
		t.Error(nodes[0].Ready(), nodes[0].Degraded())
	}
}

func TestAdvertisedAddress(t *testing.T) {
	for _, c := range []struct {
		listen, advertise, want string
	}{
		{"10.0.0.1:6222", "", "10.0.0.1:6222"},
		{"10.0.0.1:0", "", "10.0.0.1:0"}, // the server fills in its port
		{"[2001:db8::1]:6222", "", "[2001:db8::1]:6222"},
		{"edge-1.example.com:6222", "", "edge-1.example.com:6222"},
		{"0.0.0.0:6222", "", ""},
		{"[::]:6222", "", ""},
		{":6222", "", ""},
		{"[fe80::1%eth0]:6222", "", ""},
		{"0.0.0.0:6222", "203.0.113.7:16222", "203.0.113.7:16222"},
	} {
		o := Options{Embedded: Embedded{ClusterListen: c.listen, ClusterAdvertise: c.advertise}}
		if err := o.fill(); err != nil {
			t.Fatal(err)
		}
		so, err := serverOptions(&o, "i")
		if err != nil || so.Cluster.Advertise != c.want {
			t.Errorf("%s, %q: %q, %v; want %q", c.listen, c.advertise, so.Cluster.Advertise, err, c.want)
		}
	}
}

// On a host without IPv4 the loopback address is ::1.
func TestLoopbackOfTheHost(t *testing.T) {
	only := func(host string) func(string, string) (net.Listener, error) {
		return func(network, address string) (net.Listener, error) {
			if h, _, _ := net.SplitHostPort(address); h != host {
				return nil, errors.New("cannot assign requested address")
			}
			return net.Listen("tcp", "127.0.0.1:0")
		}
	}
	for _, host := range []string{"127.0.0.1", "::1"} {
		if got := loopback(only(host)); got != host {
			t.Errorf("%s where there is only %s", got, host)
		}
	}
}
