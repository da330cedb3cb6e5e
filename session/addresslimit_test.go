package session

import (
	"bytes"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"belfry/poller"
)

// dialFrom opens a session from an address and returns the status.
func (r *rig) dialFrom(address, path string) (w *rawConn, status int) {
	r.t.Helper()
	w, err := r.connectFrom(address)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { w.Close() })
	w.Write(request(path, ""))
	w.SetReadDeadline(time.Now().Add(clientTimeout))
	if status, err = w.answer(); err != nil {
		r.t.Fatal(err)
	}
	return w, status
}

// An address has as many connections as it may, whichever shards they are on
// and move to, and a place again when one of them has ended.
func TestMaxPerAddress(t *testing.T) {
	r := newRig(t, Options{MaxPerAddress: 4, Poller: poller.Options{Shards: 3}})
	var all []*rawConn
	for i := range 4 {
		w, status := r.dialFrom("127.0.3.1", fmt.Sprint("/ws?uid=u", i))
		if status != 101 {
			t.Fatalf("connection %d: %d", i, status)
		}
		all = append(all, w)
	}
	w, _ := r.connectFrom("127.0.3.1")
	defer w.Close()
	w.Write(request("/ws", ""))
	if status, after := w.refused(t); status != 429 || after != "5" {
		t.Errorf("one too many: %d, Retry-After %q", status, after)
	}
	if _, status := r.dialFrom("127.0.3.2", "/ws"); status != 101 {
		t.Errorf("another address: %d", status)
	}
	all[2].SetLinger(0) // a reset: its peer cannot be asked for any more
	all[2].Close()
	eventually(t, "one gone", func() bool { return r.Stats().Sessions == 4 })
	eventually(t, "room again", func() bool { return r.addresses.conns(netip.MustParseAddr("127.0.3.1")) == 3 })
	if _, status := r.dialFrom("127.0.3.1", "/ws?uid=late"); status != 101 {
		t.Errorf("after one has gone: %d", status)
	}
	if st := r.Stats(); st.Limits["upgrade.max_per_address"] != 1 || st.Upgrades[[2]string{"429", "address"}] != 1 {
		t.Errorf("%v %v", st.Limits, st.Upgrades)
	}
	for _, w := range all {
		w.Close()
	}
	eventually(t, "nothing is counted", func() bool { return r.addresses.conns(netip.MustParseAddr("127.0.3.1")) <= 1 })
}

// conns returns how many connections of an address are counted.
func (a *addresses) conns(ip netip.Addr) int {
	s, hash := a.stripeOf(keyOf(ip))
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, ok := s.find(keyOf(ip), hash); ok {
		return int(s.all.At(at).conns)
	}
	return 0
}

// An address may open so many connections a second, twice as many at once, and
// is forgotten when it has been quiet.
func TestRatePerAddress(t *testing.T) {
	r := newRig(t, Options{RatePerAddress: 3, Poller: onePoller()})
	var now atomic.Int64
	r.on(0, func(h *shard) { h.srv.clock = func() time.Duration { return time.Duration(now.Load()) } })
	open := func(address string) int {
		w, status := r.dialFrom(address, "/ws")
		w.Close()
		return status
	}
	for i := range 6 {
		if status := open("127.0.4.1"); status != 101 {
			t.Fatalf("connection %d: %d", i, status)
		}
	}
	if status := open("127.0.4.1"); status != 429 {
		t.Errorf("the seventh: %d", status)
	}
	if status := open("127.0.4.2"); status != 101 {
		t.Errorf("another address: %d", status)
	}
	now.Add(int64(700 * time.Millisecond)) // two tokens
	for i, want := range []int{101, 101, 429} {
		if status := open("127.0.4.1"); status != want {
			t.Errorf("later, connection %d: %d, want %d", i, status, want)
		}
	}
	if n := r.Stats().Limits["upgrade.rate_per_address"]; n != 2 {
		t.Errorf("limit hit %d times", n)
	}
	now.Add(int64(rateBurst * time.Second))
	r.tick(1)
	left := 0
	for i := range r.addresses.stripes {
		left += r.addresses.stripes[i].all.Len()
	}
	if left != 0 {
		t.Errorf("%d addresses are still known", left)
	}
}

// Where no limit on addresses is set none is kept.
func TestAddressesCostNothing(t *testing.T) {
	r := newRig(t, Options{})
	r.mustWire("/ws?uid=u", "")
	if r.addresses != nil {
		t.Error("addresses are counted")
	}
	r.each(func(h *shard) {
		if h.remotes.all.Len() != 0 {
			t.Error("an address is kept")
		}
	})
}

// The client's address is the one of the PROXY header, wherever the header is
// cut, on whatever shard the session ends up; and the request may be in the
// same segment.
func TestProxyProtocol(t *testing.T) {
	r := newRig(t, Options{MaxPerAddress: 100, Poller: poller.Options{Shards: 2,
		Listen: []poller.PortRange{{Host: "127.0.0.1", State: BehindProxy{}}}}})
	header := []byte("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n")
	all := append(bytes.Clone(header), request("/ws?uid=u1", "belfry.v1")...)
	for cut := 0; cut < len(all); cut += 9 {
		w, _ := r.connect()
		w.Write(all[:cut])
		if cut > 0 {
			eventually(t, "half-open", func() bool { return r.pending.Load() == 1 })
		}
		w.Write(all[cut:])
		if status, err := w.answer(); err != nil || status != 101 {
			t.Fatalf("cut at %d: %d, %v", cut, status, err)
		}
		info, ok := r.Lookup(w.hello(t))
		if !ok || info.Remote.String() != "192.0.2.7:56324" {
			t.Fatalf("cut at %d: %v, %v", cut, info.Remote, ok)
		}
		if n := r.addresses.conns(netip.MustParseAddr("192.0.2.7")); n != 1 {
			t.Fatalf("cut at %d: %d connections counted", cut, n)
		}
		w.Close()
		eventually(t, "gone", func() bool { return r.loop.Stats().Connections == 0 })
	}
	w, _ := r.connect()
	defer w.Close()
	local := w.LocalAddr().String()
	w.Write(append([]byte("\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"), request("/ws", "belfry.v1")...))
	if status, err := w.answer(); err != nil || status != 101 {
		t.Fatal(status, err)
	}
	if info, ok := r.Lookup(w.hello(t)); !ok || info.Remote.String() != local {
		t.Errorf("LOCAL: %v, want the socket's %s", info.Remote, local)
	}
}

// Who sends no header where one is to come, or is not trusted to, is told so.
func TestProxyProtocolRefused(t *testing.T) {
	o := Options{Proxy: ProxyOptions{Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.5.0/24")}},
		Poller: poller.Options{Shards: 1, Listen: []poller.PortRange{{Host: "127.0.0.1", State: BehindProxy{}}}}}
	r := newRig(t, o)
	for name, tc := range map[string]struct {
		from, say string
		status    int
		text      string
	}{
		"no header": {"127.0.5.1", "GET /ws HTTP/1.1\r\n\r\n", 400, "proxy.protocol"},
		"TLS":       {"127.0.5.1", "\x16\x03\x01", 400, "TLS"},
		"malformed": {"127.0.5.1", "PROXY TCP4 a b c d\r\n", 400, "PROXY line"},
		"stranger":  {"127.0.6.1", "PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\n", 403, "proxy.trusted"},
	} {
		w, _ := r.connectFrom(tc.from)
		w.Write([]byte(tc.say))
		w.SetReadDeadline(time.Now().Add(clientTimeout))
		var text bytes.Buffer
		text.ReadFrom(w.br)
		w.Close()
		if !bytes.HasPrefix(text.Bytes(), fmt.Appendf(nil, "HTTP/1.1 %d ", tc.status)) || !bytes.Contains(text.Bytes(), []byte(tc.text)) {
			t.Errorf("%s: %s", name, text.Bytes())
		}
	}
	if st := r.Stats().Upgrades; st[[2]string{"400", "proxy"}] != 3 || st[[2]string{"403", "proxy"}] != 1 {
		t.Errorf("%v", st)
	}
}

// A proxy that is trusted is believed and not limited itself; anybody else is
// not believed.
func TestForwardedClient(t *testing.T) {
	r := newRig(t, Options{MaxPerAddress: 2, Poller: onePoller(),
		Proxy: ProxyOptions{Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.7.0/24")}}})
	with := func(from, field string) (*rawConn, int) {
		w, _ := r.connectFrom(from)
		t.Cleanup(func() { w.Close() })
		head := bytes.TrimSuffix(request("/ws", "belfry.v1"), []byte("\r\n"))
		w.Write(append(head, field+"\r\n\r\n"...))
		w.SetReadDeadline(time.Now().Add(clientTimeout))
		status, err := w.answer()
		if err != nil {
			t.Fatal(err)
		}
		return w, status
	}
	for i := range 6 {
		w, status := with("127.0.7.1", fmt.Sprintf("X-Forwarded-For: 192.0.2.%d", i/2))
		if status != 101 {
			t.Fatalf("client %d: %d", i, status)
		}
		if info, ok := r.Lookup(w.hello(t)); !ok || info.Remote.Addr().String() != fmt.Sprintf("192.0.2.%d", i/2) {
			t.Errorf("client %d: %v", i, info.Remote)
		}
	}
	if _, status := with("127.0.7.2", "X-Forwarded-For: 192.0.2.1"); status != 429 {
		t.Errorf("the third of an address: %d", status)
	}
	if _, status := with("127.0.7.2", "X-Forwarded-For: garbage"); status != 101 {
		t.Errorf("unreadable: %d", status)
	}
	if n := r.Stats().UnreadableForwarded; n != 1 {
		t.Errorf("%d unreadable", n)
	}
	for i, want := range []int{101, 101, 429} {
		if _, status := with("127.0.8.1", fmt.Sprintf("X-Forwarded-For: 198.51.100.%d", i)); status != want {
			t.Errorf("a stranger's connection %d: %d, want %d", i, status, want)
		}
	}
}

// hello reads belfry.v1's first message and returns the session id in it.
func (w *rawConn) hello(t *testing.T) string {
	t.Helper()
	_, p, err := w.frame()
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := bytes.Cut(p, []byte(`"session":"`))
	sid, _, _ := bytes.Cut(rest, []byte(`"`))
	if !ok {
		t.Fatalf("%s", p)
	}
	return string(sid)
}

func TestAddrKey(t *testing.T) {
	key := func(s string) addrKey { return keyOf(netip.MustParseAddr(s)) }
	for _, same := range [][2]string{{"2001:db8::1", "2001:db8::ffff:1:2:3"}, {"192.0.2.7", "::ffff:192.0.2.7"}} {
		if key(same[0]) != key(same[1]) {
			t.Errorf("%v are two", same)
		}
	}
	for _, other := range [][2]string{{"2001:db8::1", "2001:db8:0:1::1"}, {"192.0.2.7", "192.0.2.8"}, {"::1", "0.0.0.0"}} {
		if key(other[0]) == key(other[1]) {
			t.Errorf("%v are one", other)
		}
	}
	if key("::1") == 0 || keyOf(netip.Addr{}) != 0 {
		t.Error("0 is for what is no address")
	}
}
