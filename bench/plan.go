package bench

import (
	"fmt"
	"net/netip"
)

// Limits of one client process.
const (
	spareFiles    = 100    // descriptors that are not connections
	perSource     = 14_000 // connections of one address to one server port for which the kernel finds ports quickly
	allPorts      = 28_000 // and the most that are possible (man 7 ip, ip_local_port_range)
	firstSource   = 2      // 127.0.0.2: the server is at 127.0.0.1
	maxProcesses  = 200
	defaultWindow = 256
)

// Share is the connections of one client process.
type Share struct {
	Sources []netip.Addr // its own loopback addresses
	First   int          // number of its first connection
	Count   int
}

// Plan spreads conns connections to a number of different targets over client
// processes: at least the given number, and more if openFiles per process are
// too few, each with as many loopback addresses as it needs. Of the 28,232
// ephemeral ports that an address has to each target, the kernel gives the
// first half quickly and then begins to search, hence perSource.
func Plan(conns, processes, openFiles, targets int) ([]Share, error) {
	room := openFiles - spareFiles
	switch {
	case conns < 1:
		return nil, fmt.Errorf("connections: %d; at least 1", conns)
	case processes < 1:
		return nil, fmt.Errorf("client processes: %d; at least 1", processes)
	case targets < 1:
		return nil, fmt.Errorf("targets: %d; at least 1", targets)
	case room < 1:
		return nil, fmt.Errorf("open files: the limit is %d; at least %d", openFiles, spareFiles+1)
	}
	processes = min(max(processes, ceil(conns, room)), conns)
	if processes > maxProcesses {
		return nil, fmt.Errorf("%d connections need %d client processes of %d; at most %d (raise the limit of open files)", conns, processes, room, maxProcesses)
	}
	sources := ceil(ceil(conns, processes), targets*perSource)
	shares := make([]Share, processes)
	first := 0
	for i := range shares {
		count := (conns - first) / (processes - i)
		shares[i] = Share{First: first, Count: count}
		for j := range sources {
			shares[i].Sources = append(shares[i].Sources, loopback(i*sources+j))
		}
		first += count
	}
	return shares, nil
}

func ceil(a, b int) int { return (a + b - 1) / b }

// loopback returns the i-th source address: 127.0.0.2 to 127.0.0.251, then
// 127.0.1.2 and so on.
func loopback(i int) netip.Addr {
	const perNet = 250
	return netip.AddrFrom4([4]byte{127, byte(i / perNet >> 8), byte(i / perNet), byte(firstSource + i%perNet)})
}

// Part returns the share's connections with numbers from to to; Count is 0 if
// there are none. With it a population grows in steps, every process by its
// part.
func (s Share) Part(from, to, total int) Share {
	begin, end := s.First, s.First+s.Count
	cut := func(n int) int { return begin + int(int64(end-begin)*int64(n)/int64(total)) }
	return Share{Sources: s.Sources, First: cut(from), Count: cut(to) - cut(from)}
}
