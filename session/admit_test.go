package session

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"belfry/ws"
)

// admitRig is a rig that adopts, and whose clock the test moves.
func admitRig(t *testing.T, o Options) (r *rig, now *atomic.Int64) {
	o.Adopts, o.Poller = true, onePoller()
	r, now = newRig(t, o), new(atomic.Int64)
	r.on(0, func(h *shard) { h.srv.clock = func() time.Duration { return time.Duration(now.Load()) } })
	return r, now
}

func addr(text string) netip.AddrPort { return netip.MustParseAddrPort(text) }

// adoptedStatus sends a request on a connection that is adopted, and returns the answer.
func (r *rig) adoptedStatus(a Admission, target string) int {
	r.t.Helper()
	c := r.adoptAs(a, "GET "+target+" HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode
}

// An address is charged by Admit, and not again by Adopt.
func TestAdmitAddress(t *testing.T) {
	r, now := admitRig(t, Options{RatePerAddress: 3, MaxPerAddress: 2, Proxy: ProxyOptions{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}})
	var last Admission
	for i := range 6 {
		a, refusal := r.Admit(addr(fmt.Sprint("192.0.2.7:", i+1)))
		if refusal != nil {
			t.Fatalf("connection %d: %s", i, refusal.Detail)
		}
		last = a
	}
	_, refusal := r.Admit(addr("192.0.2.7:7"))
	if refusal == nil || refusal.Cause != CauseAddress || refusal.Status != 429 || refusal.Detail != addressTooFast {
		t.Errorf("the seventh: %+v", refusal)
	}
	if n := r.addresses.conns(last.Remote.Addr()); n != 0 {
		t.Errorf("%d connections are counted before one is adopted", n)
	}
	for i, want := range []int{101, 101, 429} { // upgrade.max_per_address
		if status := r.adoptedStatus(last, "/ws"); status != want {
			t.Errorf("adopted %d: %d, want %d", i, status, want)
		}
	}
	if status := r.adoptedStatus(Admission{Remote: addr("192.0.2.8:1")}, "/ws"); status != 101 {
		t.Errorf("another address, not asked about: %d", status)
	}
	for i := range 20 {
		if _, refusal := r.Admit(addr(fmt.Sprint("10.1.1.1:", i+1))); refusal != nil {
			t.Errorf("a trusted proxy: %+v", refusal)
		}
	}
	if st := r.Stats(); st.Limits["upgrade.rate_per_address"] != 1 || st.Limits["upgrade.max_per_address"] != 1 {
		t.Errorf("%v", st.Limits)
	}
	now.Add(int64(400 * time.Millisecond)) // a token
	if _, refusal := r.Admit(addr("192.0.2.7:8")); refusal != nil {
		t.Errorf("later: %+v", refusal)
	}
	// One that was not asked about is charged when it arrives.
	if status := r.adoptedStatus(Admission{Remote: addr("192.0.2.7:9")}, "/ws"); status != 429 {
		t.Errorf("not asked about: %d", status)
	}
}

// Beyond the node's rate clients are refused by Admit. A proxy, which may send a health
// check, is refused when its request has come.
func TestAdmitConnectRate(t *testing.T) {
	r, now := admitRig(t, Options{NodeLimits: NodeLimits{ConnectRate: 1, ConnectBurst: 2}, RatePerAddress: 1, Healthy: func() bool { return true },
		Proxy: ProxyOptions{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}})
	client, proxy := addr("192.0.2.7:1"), addr("10.0.0.1:1")
	for range 2 {
		a, refusal := r.Admit(client)
		if refusal != nil {
			t.Fatalf("%+v", refusal)
		}
		if status := r.adoptedStatus(a, "/ws"); status != 101 {
			t.Errorf("admitted: %d", status)
		}
	}
	if _, refusal := r.Admit(client); refusal == nil || refusal.Cause != CauseAddress {
		t.Errorf("the address is too fast too, which costs the node's rate nothing: %+v", refusal)
	}
	_, refusal := r.Admit(addr("192.0.2.8:1"))
	if refusal == nil || refusal.Cause != CauseConnectRate || refusal.Status != 503 || refusal.RetryAfter < r.opt.RetryAfter {
		t.Errorf("beyond the rate: %+v", refusal)
	}
	for target, want := range map[string]int{"/ws": 503, HealthPath: 200} {
		a, refusal := r.Admit(proxy)
		if refusal != nil {
			t.Fatalf("a trusted proxy: %+v", refusal)
		}
		if status := r.adoptedStatus(a, target); status != want {
			t.Errorf("a trusted proxy, %s: %d, want %d", target, status, want)
		}
	}
	if n := r.Stats().Limits["upgrade.rate"]; n != 2 {
		t.Errorf("upgrade.rate hit %d times; want one client and one proxy", n)
	}
	now.Add(int64(time.Second))
	if a, refusal := r.Admit(proxy); refusal != nil || r.adoptedStatus(a, "/ws") != 101 {
		t.Errorf("later: %+v", refusal)
	}
}

// A client may still be in its handshake when the server has stopped.
func TestAdmitAfterStop(t *testing.T) {
	s, err := New(Options{RatePerAddress: 1, Poller: onePoller()})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if _, refusal := s.Admit(addr(fmt.Sprint("192.0.2.", i, ":1"))); refusal != nil {
			t.Fatal(refusal.Detail)
		}
	}
	if err := s.Shutdown(context.Background(), 0, 0); err != nil {
		t.Fatal(err)
	}
	for i := range 300 { // more often than the rate allows: nothing is counted
		if _, refusal := s.Admit(addr(fmt.Sprint("192.0.2.", i%100, ":1"))); refusal != nil {
			t.Fatal(refusal.Detail)
		}
	}
	for i := range s.addresses.stripes {
		if n := s.addresses.stripes[i].all.Len(); n != 0 {
			t.Errorf("stripe %d has %d addresses", i, n)
		}
	}
}

func BenchmarkAdmit(b *testing.B) {
	s, err := New(Options{RatePerAddress: 1 << 20, NodeLimits: NodeLimits{ConnectRate: 1 << 20, ConnectBurst: 1 << 24}})
	if err != nil {
		b.Fatal(err)
	}
	defer s.loop.Discard()
	var refusal *ws.Refusal
	for _, addresses := range []int{1, 10_000} {
		b.Run(fmt.Sprint(addresses), func(b *testing.B) {
			all := make([]netip.AddrPort, addresses)
			for i := range all {
				all[i] = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}), 1)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				_, refusal = s.Admit(all[i%addresses])
			}
		})
	}
	_ = refusal
}
