package poller

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// PortRange is a host and a range of ports to listen on.
type PortRange struct {
	Host   string // an IP address, a host name, or "" for all addresses, IPv4 and IPv6
	Lo, Hi uint16 // first and last port; 0, 0 lets the kernel choose one
	State  any    // given to OnOpen with each connection that is accepted here
}

// listenBacklog asks for the kernel's maximum, net.core.somaxconn (man 2 listen).
const listenBacklog = 1 << 16

// listen opens a listener in every shard for each port of Options.Listen.
func (l *Loop) listen() error {
	if l.opt.Heritage != nil {
		return l.inherit(l.opt.Heritage)
	}
	for at, e := range l.opt.Listen {
		ip, err := resolve(e.Host)
		if err != nil {
			return err
		}
		if e.Lo == 0 && e.Hi != 0 {
			return fmt.Errorf("poller: listen %s: ports %d-%d: a range begins at 1 or above", e.Host, e.Lo, e.Hi)
		}
		if e.Hi < e.Lo {
			return fmt.Errorf("poller: listen %s: ports %d-%d run backwards", e.Host, e.Lo, e.Hi)
		}
		for port := int(e.Lo); port <= int(e.Hi); port++ {
			addr, err := l.listenPort(netip.AddrPortFrom(ip, uint16(port)), at)
			if err != nil {
				return fmt.Errorf("poller: listen on %s: %w", net.JoinHostPort(e.Host, fmt.Sprint(port)), err)
			}
			l.addrs = append(l.addrs, addr)
		}
	}
	l.logMissing()
	return nil
}

func resolve(host string) (netip.Addr, error) {
	if host == "" {
		if hasIPv6() {
			return netip.IPv6Unspecified(), nil
		}
		return netip.IPv4Unspecified(), nil
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if zone := ip.Zone(); zone != "" {
			if _, err := net.InterfaceByName(zone); err != nil {
				return netip.Addr{}, fmt.Errorf("poller: listen on %q: interface %q: %w", host, zone, err)
			}
		}
		return ip.Unmap(), nil
	}
	a, err := net.ResolveIPAddr("ip", host)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("poller: listen on %q: %w", host, err)
	}
	ip, _ := netip.AddrFromSlice(a.IP)
	return ip.Unmap(), nil
}

func hasIPv6() bool {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return unix.Bind(fd, &unix.SockaddrInet6{}) == nil
}

// listenPort opens one port in all shards. It first binds the port exclusively and
// closes that socket: with SO_REUSEPORT alone, two servers could listen on the
// same port, and each would get a part of the clients unnoticed.
func (l *Loop) listenPort(addr netip.AddrPort, at int) (netip.AddrPort, error) {
	probe, err := l.bind(addr, false)
	if err != nil {
		return addr, err
	}
	if addr, err = boundTo(probe); err != nil {
		unix.Close(probe)
		return addr, err
	}
	unix.Close(probe)
	for _, s := range l.shards {
		fd, err := l.bind(addr, true)
		if err != nil {
			return addr, err
		}
		if err := s.acceptor.add(int32(fd), l.opt.Listen[at].State); err != nil {
			return addr, err
		}
		l.listenings = append(l.listenings, Listening{Shard: s.index, FD: fd, Range: at})
	}
	return addr, nil
}

// inherit takes over clocks, generations and listeners. The listeners accept nothing
// before Accept.
func (l *Loop) inherit(h *Heritage) error {
	if len(h.Clocks) != len(l.shards) || len(h.Generations) != len(l.shards) {
		return fmt.Errorf("poller: a heritage of %d clocks and %d generations for %d shards", len(h.Clocks), len(h.Generations), len(l.shards))
	}
	for i, s := range l.shards {
		s.now, s.gen = h.Clocks[i], h.Generations[i]
		s.timers.wheel.start(s.now)
		s.acceptor.held = true
	}
	for _, ln := range h.Listeners {
		if ln.Shard < 0 || ln.Shard >= len(l.shards) || ln.Range < 0 || ln.Range >= len(l.opt.Listen) {
			return fmt.Errorf("poller: a listener of shard %d for address %d; there are %d shards and %d addresses", ln.Shard, ln.Range, len(l.shards), len(l.opt.Listen))
		}
		if err := l.shards[ln.Shard].acceptor.add(int32(ln.FD), l.opt.Listen[ln.Range].State); err != nil {
			return err
		}
		l.listenings = append(l.listenings, ln)
		if ln.Shard == 0 {
			addr, err := boundTo(ln.FD)
			if err != nil {
				return fmt.Errorf("poller: listener %d: %w", ln.FD, err)
			}
			l.addrs = append(l.addrs, addr)
		}
	}
	return nil
}

func (l *Loop) bind(addr netip.AddrPort, share bool) (fd int, err error) {
	family := unix.AF_INET
	if addr.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	set := func(name string, level, opt, v int) {
		if err == nil {
			if err = l.opt.setsockopt(fd, level, opt, v); err != nil {
				err = fmt.Errorf("socket option %s: %w", name, err)
			}
		}
	}
	set("SO_REUSEADDR", unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if family == unix.AF_INET6 {
		only := 1
		if addr.Addr().IsUnspecified() {
			only = 0
		}
		set("IPV6_V6ONLY", unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only)
	}
	if share {
		set("SO_REUSEPORT", unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		l.setOptional(fd)
	}
	if err != nil {
		return fd, err
	}
	var sa unix.Sockaddr
	if family == unix.AF_INET6 {
		sa = &unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16(), ZoneId: zoneIndex(addr.Addr().Zone())}
	} else {
		sa = &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}
	}
	if err = unix.Bind(fd, sa); err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			err = fmt.Errorf("the port is taken by another process: %w", err)
		}
		return fd, err
	}
	if share {
		err = unix.Listen(fd, listenBacklog)
	}
	return fd, err
}

func zoneIndex(zone string) uint32 {
	if zone == "" {
		return 0
	}
	ifi, err := net.InterfaceByName(zone)
	if err != nil {
		return 0
	}
	return uint32(ifi.Index)
}

func boundTo(fd int) (netip.AddrPort, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return addrOf(sa), nil
}

func addrOf(sa unix.Sockaddr) netip.AddrPort {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}

// RemoteAddr returns the address of a connection's peer. It asks the kernel, so
// that a connection needs no memory for it. The address is zero if the peer has
// none (a socket pair).
func (s *Shard) RemoteAddr(slot uint32) netip.AddrPort {
	fd := s.at(slot).fd
	sa, err := unix.Getpeername(int(fd))
	if err != nil {
		return sysPeerName(fd)
	}
	return addrOf(sa)
}
