package session

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// adoptFrom gives the server one end of a stream, with what a client has sent so
// far, and returns the other end.
func (r *rig) adoptFrom(remote string, unread string) net.Conn {
	r.t.Helper()
	var from netip.AddrPort
	if remote != "" {
		from = netip.MustParseAddrPort(remote)
	}
	return r.adoptAs(Admission{Remote: from}, unread)
}

func (r *rig) adoptAs(a Admission, unread string) net.Conn {
	r.t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.Adopt(pair[0], a, []byte(unread)); err != nil {
		r.t.Fatal(err)
	}
	f := os.NewFile(uintptr(pair[1]), "pair")
	c, err := net.FileConn(f)
	f.Close()
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(clientTimeout))
	return c
}

const adoptedRequest = "GET /ws?topic=news HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: belfry.v1\r\n"

// A stream that is adopted becomes a session with the address that was told, on
// the shard of its user. It is not half-open, because its request came with it.
func TestAdopt(t *testing.T) {
	r := newRig(t, Options{Adopts: true, MaxPerAddress: 100})
	for i, query := range []string{"?topic=news", "?uid=u1", "?uid=u2", "?uid=u3", "?uid=u4"} {
		c := r.adoptFrom("192.0.2.7:4711", strings.Replace(adoptedRequest, "?topic=news", query, 1)+"\r\n")
		in := bufio.NewReader(c)
		resp, err := http.ReadResponse(in, nil)
		if err != nil || resp.StatusCode != 101 {
			t.Fatalf("%v, %v", resp, err)
		}
		head := make([]byte, 2)
		if _, err := io.ReadFull(in, head); err != nil {
			t.Fatal(err)
		}
		text := make([]byte, head[1])
		var hello struct{ Session string }
		if _, err := io.ReadFull(in, text); err != nil || json.Unmarshal(text, &hello) != nil {
			t.Fatalf("%q, %v", text, err)
		}
		info, ok := r.Lookup(hello.Session)
		if !ok || info.Remote != netip.MustParseAddrPort("192.0.2.7:4711") {
			t.Errorf("%d: %+v", i, info)
		}
	}
	if st := r.Stats(); st.HalfOpened != 0 || st.Poller.Adopted != 5 || st.Sessions != 5 {
		t.Errorf("%d half-open, %d adopted, %d sessions", st.HalfOpened, st.Poller.Adopted, st.Sessions)
	}
}

// The limits on addresses count the address that was told.
func TestAdoptedAddressIsLimited(t *testing.T) {
	r := newRig(t, Options{Adopts: true, MaxPerAddress: 2})
	status := func(remote string) (net.Conn, int) {
		c := r.adoptFrom(remote, adoptedRequest+"\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		return c, resp.StatusCode
	}
	first, got := status("192.0.2.7:1")
	for i, tc := range []struct {
		remote string
		want   int
	}{{"192.0.2.7:2", 101}, {"192.0.2.7:3", 429}, {"192.0.2.8:1", 101}, {"", 101}, {"", 101}, {"", 101}} {
		if _, got := status(tc.remote); got != tc.want {
			t.Errorf("%d: %d, want %d", i, got, tc.want)
		}
	}
	first.Close()
	eventually(t, "the address has a place again", func() bool { _, got = status("192.0.2.7:4"); return got == 101 })
}

// A stream without a whole request is half-open, and counts by its address.
func TestAdoptedHalfOpen(t *testing.T) {
	r := newRig(t, Options{Adopts: true})
	c := r.adoptFrom("192.0.2.7:1", adoptedRequest[:20])
	eventually(t, "half-open", func() bool { return r.pending.Load() == 1 })
	io.WriteString(c, adoptedRequest[20:]+"\r\n")
	if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode != 101 {
		t.Fatalf("%v, %v", resp, err)
	}
	c = r.adoptFrom("192.0.2.7:1", "")
	eventually(t, "half-open", func() bool { return r.pending.Load() == 1 })
	r.ticks(int(ticks(r.opt.UpgradeTime)) + 1)
	if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode != 408 {
		t.Errorf("%v, %v", resp, err)
	}
}

// There is room for the address of each connection that is adopted, and a trusted
// proxy is known under its IPv4 address as a socket for IPv6 has it.
func TestAddressesThatAreTold(t *testing.T) {
	o := Options{MaxSessions: 100, MaxPending: 10}
	if n := o.remotes(); n != 1 {
		t.Errorf("room for %d addresses, of which none is told", n)
	}
	o.Adopts = true
	if n := o.remotes(); n != 110 {
		t.Errorf("room for %d addresses of 110 connections", n)
	}
	o.Proxy.Trusted = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fe80::/10")}
	for a, want := range map[string]bool{"10.1.2.3": true, "::ffff:10.1.2.3": true, "fe80::1%eth0": true, "11.1.2.3": false, "::ffff:11.1.2.3": false} {
		if o.trusts(netip.MustParseAddr(a)) != want {
			t.Errorf("%s: trusted: %v", a, !want)
		}
	}
}
