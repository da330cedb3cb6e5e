package target

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"belfry/bench/floor"
)

// Ports that are listened on, or held by another program, are skipped.
func TestPortsSkipsThoseInUse(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	used := l.Addr().(*net.TCPAddr).Port
	p := NewPorts(used)
	defer p.Release()
	first, err := p.Take(1)
	if err != nil || int(first[0].Port()) == used {
		t.Fatalf("%v, %v: %d is in use", first, err, used)
	}
	other := NewPorts(int(first[0].Port()))
	defer other.Release()
	if second, err := other.Take(1); err != nil || second[0] == first[0] {
		t.Errorf("%v, %v: the other holds %v", second, err, first)
	}
	if _, err := NewPorts(65536).Take(1); err == nil {
		t.Error("a port above 65535")
	}
}

// Servers can listen on held ports, whether they share them between threads or
// not, and a connection to them arrives.
func TestServersListenOnHeldPorts(t *testing.T) {
	p := NewPorts(23_000)
	defer p.Release()
	addrs, err := p.Take(2)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp4", addrs[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := floor.Listen(addrs[1], 2) // SO_REUSEPORT
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			c.Write([]byte("x"))
			c.Close()
		}
	}()
	c, err := net.Dial("tcp4", addrs[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if n, err := c.Read(make([]byte, 1)); n != 1 {
		t.Error(err)
	}
}

// The kernel gives a held port to no connection, though it is ephemeral. What
// proves it is a range that has few other ports.
func TestNoConnectionGetsAHeldPort(t *testing.T) {
	server, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	facts, err := ReadFacts()
	if err != nil {
		t.Fatal(err)
	}
	p := NewPorts(facts.PortLow)
	defer p.Release()
	held := map[uint16]bool{}
	const span = 40
	addrs, err := p.Take(span / 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		held[a.Port()] = true
	}
	last := addrs[len(addrs)-1].Port()
	connections, to := 0, server.Addr().(*net.TCPAddr).AddrPort()
	for range span {
		fd, err := connectFrom(uint16(facts.PortLow), last+span/2, to)
		if errors.Is(err, unix.ENOPROTOOPT) {
			t.Skip("this kernel has no range of ports for a socket")
		}
		if err != nil {
			break // the range is used up
		}
		defer unix.Close(fd)
		name, err := unix.Getsockname(fd)
		if err != nil {
			t.Fatal(err)
		}
		connections++
		if port := uint16(name.(*unix.SockaddrInet4).Port); held[port] {
			t.Errorf("a connection got the held port %d", port)
		}
	}
	if connections < span/4 {
		t.Errorf("%d connections only", connections)
	}
}

// connectFrom connects from an ephemeral port between low and high.
func connectFrom(low, high uint16, to netip.AddrPort) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	const localPortRange = 51 // IP_LOCAL_PORT_RANGE, Linux 6.3
	err = unix.SetsockoptInt(fd, unix.SOL_IP, localPortRange, int(high)<<16|int(low))
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
