package bench

import (
	"net"
	"net/netip"
	"testing"
)

func TestFreePort(t *testing.T) {
	seen := map[netip.AddrPort]bool{}
	for range 100 {
		addr, err := FreePort()
		if err != nil {
			t.Fatal(err)
		}
		if seen[addr] || !addr.Addr().IsLoopback() || addr.Port() < 1024 {
			t.Errorf("%v, given before: %v", addr, seen[addr])
		}
		seen[addr] = true
		l, err := net.Listen("tcp", addr.String())
		if err != nil {
			t.Errorf("cannot be listened on: %v", err)
			continue
		}
		defer l.Close()
	}
}
