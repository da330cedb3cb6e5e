package bench

import (
	"fmt"
	"net/netip"
)

// Limits of one client process.
const (
	SpareFiles    = 100    // descriptors that are not connections
	perSource     = 14_000 // connections of one address to one server port for which the kernel finds ports quickly
	allPorts      = 28_000 // and the most that are possible (man 7 ip, ip_local_port_range)
	firstSource   = 2      // 127.0.0.2: the server is at 127.0.0.1
	maxProcesses  = 200
	defaultWindow = 256
)

// Share is the connections of one client process.
type Share struct {
	Targets []netip.AddrPort `json:"-"` // those of PoolOptions if there are none
	Sources []netip.Addr     `json:"sources"`
	First   int              `json:"first"` // number of its first connection
	Count   int              `json:"count"`
}

// Spread says how many connections to share between client processes.
type Spread struct {
	Connections int
	First       int // number of the first connection
	Processes   int // at least
	OpenFiles   int // that a process may have
	Targets     int // different ones that each process connects to
	PerSource   int // connections of one source address to one target; 0 is 14,000
	FirstSource int // index of the first loopback address
}

// Shares spreads connections over client processes: at least the given number,
// and more if the open files are too few, each with as many loopback addresses
// as it needs. Of the 28,232 ephemeral ports that an address usually has to each
// target, the kernel gives the first half quickly and then begins to search,
// hence PerSource.
func (s Spread) Shares() ([]Share, error) {
	room := s.OpenFiles - SpareFiles
	switch {
	case s.Connections < 1:
		return nil, fmt.Errorf("connections: %d; at least 1", s.Connections)
	case s.Processes < 1:
		return nil, fmt.Errorf("client processes: %d; at least 1", s.Processes)
	case s.Targets < 1:
		return nil, fmt.Errorf("targets: %d; at least 1", s.Targets)
	case room < 1:
		return nil, fmt.Errorf("open files: the limit is %d; at least %d", s.OpenFiles, SpareFiles+1)
	}
	if s.PerSource == 0 {
		s.PerSource = perSource
	}
	processes := min(max(s.Processes, ceil(s.Connections, room)), s.Connections)
	if processes > maxProcesses {
		return nil, fmt.Errorf("%d connections need %d client processes of %d; at most %d (raise the limit of open files)", s.Connections, processes, room, maxProcesses)
	}
	sources := ceil(ceil(s.Connections, processes), s.Targets*s.PerSource)
	shares := make([]Share, processes)
	made := 0
	for i := range shares {
		shares[i] = Share{First: s.First + made, Count: (s.Connections - made) / (processes - i)}
		for j := range sources {
			shares[i].Sources = append(shares[i].Sources, loopback(s.FirstSource+i*sources+j))
		}
		made += shares[i].Count
	}
	return shares, nil
}

func ceil(a, b int) int { return (a + b - 1) / b }

// loopback returns the i-th source address: 127.0.0.2 to 127.0.0.251, then
// 127.0.1.2 and so on. All of 127.0.0.0/8 is this host (RFC 1122 §3.2.1.3).
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
	return s.between(cut(from), cut(to))
}

// Cut returns those of the share's connections with numbers from to to. With it
// a population grows process after process.
func (s Share) Cut(from, to int) Share {
	begin, end := s.First, s.First+s.Count
	return s.between(min(max(from, begin), end), min(max(to, begin), end))
}

func (s Share) between(first, end int) Share { s.First, s.Count = first, end-first; return s }
