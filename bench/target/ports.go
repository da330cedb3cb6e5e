package target

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// loopback is where every server listens.
var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// Ports gives servers free loopback ports, from a number upwards, and holds them
// until Release: a socket is bound to each and does not listen. A server may
// listen on such a port, since it binds with SO_REUSEADDR. The kernel gives it to
// no connection (man 7 ip, ip_local_port_range), also where a host was tuned so
// that nearly all ports are ephemeral.
type Ports struct {
	next int
	held []int // descriptors
}

// NewPorts begins with a port.
func NewPorts(first int) *Ports { return &Ports{next: first} }

// Take returns n ports that nothing else uses.
func (p *Ports) Take(n int) ([]netip.AddrPort, error) {
	addrs := make([]netip.AddrPort, 0, n)
	for first := p.next; len(addrs) < n; p.next++ {
		if p.next > 65535 {
			return nil, fmt.Errorf("no port of %s from %d on is free: use a lower --first-port", loopback, first)
		}
		addr := netip.AddrPortFrom(loopback, uint16(p.next))
		// Without SO_REUSEADDR bind(2) also refuses what another program holds.
		fd, err := bind(addr, false)
		if err == nil {
			unix.Close(fd)
			fd, err = bind(addr, true)
		}
		if errors.Is(err, unix.EADDRINUSE) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("port %v: %w", addr, err)
		}
		p.held = append(p.held, fd)
		addrs = append(addrs, addr)
	}
	return addrs, nil
}

func bind(addr netip.AddrPort, reuse bool) (fd int, err error) {
	if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, err
	}
	if reuse {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()})
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// Release gives the ports back.
func (p *Ports) Release() {
	for _, fd := range p.held {
		unix.Close(fd)
	}
	p.held = nil
}
