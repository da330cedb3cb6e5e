package bridge

import (
	"net/netip"
	"sync"

	"belfry/ws"
)

// places counts the handshakes of each client address (IPv6: its /64). One address
// may hold half of all, so that it cannot keep others out.
type places struct {
	most int // of one address

	mu sync.Mutex             // guards by
	by map[netip.Prefix]int32 // only addresses that have one
}

// enter takes a place for an address, unless it has as many as it may.
func (p *places) enter(a netip.Addr) bool {
	key := ws.ClientPrefix(a)
	p.mu.Lock()
	defer p.mu.Unlock()
	if int(p.by[key]) >= p.most {
		return false
	}
	p.by[key]++
	return true
}

// leave gives a place back.
func (p *places) leave(a netip.Addr) {
	key := ws.ClientPrefix(a)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.by[key]--; p.by[key] <= 0 {
		delete(p.by, key)
	}
}
