package line

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"time"
)

// Dialer connects nats.go to NATS servers over a Conn (nats.SetCustomDialer, with
// nats.SkipHostLookup: the Dialer looks up the addresses of a host as nats.go does, but
// nats.go would give each of them the whole Timeout). It may be used from any goroutine.
type Dialer struct {
	Timeout time.Duration // of an attempt to connect, for all addresses of a host together; 0: none

	lookup func(host string) ([]string, error) // nil: net.LookupHost

	mu        sync.Mutex
	current   *Conn
	inherited *Conn
}

// Dial implements nats.CustomDialer. Like nats.go it tries the addresses of a host in a
// random order.
func (d *Dialer) Dial(network, address string) (net.Conn, error) {
	d.mu.Lock()
	c := d.inherited
	d.inherited = nil
	d.mu.Unlock()
	if c == nil {
		nc, err := d.dial(network, address)
		if err != nil {
			return nil, err
		}
		c = newConn(nc)
	}
	d.mu.Lock()
	d.current = c
	d.mu.Unlock()
	return c, nil
}

func (d *Dialer) dial(network, address string) (nc net.Conn, err error) {
	addresses, lookup := []string{address}, d.lookup
	if lookup == nil {
		lookup = net.LookupHost
	}
	if host, port, err := net.SplitHostPort(address); err == nil && net.ParseIP(host) == nil {
		if ips, err := lookup(host); err == nil && len(ips) > 0 {
			addresses = addresses[:0]
			for _, ip := range ips {
				addresses = append(addresses, net.JoinHostPort(ip, port))
			}
			rand.Shuffle(len(addresses), func(i, j int) { addresses[i], addresses[j] = addresses[j], addresses[i] })
		}
	}
	dialer := net.Dialer{Timeout: d.Timeout / time.Duration(len(addresses))}
	for _, a := range addresses {
		if nc, err = dialer.Dial(network, a); err == nil {
			return nc, nil
		}
	}
	return nil, err
}

// Current returns the last connection, nil if there was none.
func (d *Dialer) Current() *Conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.current
}

// Inherit makes the next connection the one with this state and descriptor. It takes
// the descriptor, also if it returns an error.
func (d *Dialer) Inherit(s *State, fd int) error {
	f := os.NewFile(uintptr(fd), "NATS")
	nc, err := net.FileConn(f)
	f.Close()
	if err != nil {
		return fmt.Errorf("line: the inherited connection to NATS: %w", err)
	}
	d.mu.Lock()
	d.inherited = inherit(s, nc)
	d.mu.Unlock()
	return nil
}
