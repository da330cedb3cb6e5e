package bench

import (
	"fmt"
	"net/netip"
)

// Limits of one client process.
const (
	spareFiles    = 100    // descriptors that are not connections
	perSource     = 14_000 // connections of one loopback address to one server port
	firstSource   = 2      // 127.0.0.2: the server is at 127.0.0.1
	maxProcesses  = 200
	defaultWindow = 256
)

// Share is what one client process connects.
type Share struct {
	Source netip.Addr // its own loopback address
	First  int        // index of its first connection
	Count  int
}

// Plan spreads conns connections over client processes: at least processes of
// them, more if openFiles a process or the ports of one source address would
// not do. Of the 28,232 ephemeral ports the kernel gives the first half
// quickly and then begins to search, hence perSource.
func Plan(conns, processes, openFiles int) ([]Share, error) {
	room := min(openFiles-spareFiles, perSource)
	switch {
	case conns < 1:
		return nil, fmt.Errorf("connections: %d; at least 1", conns)
	case processes < 1:
		return nil, fmt.Errorf("client processes: %d; at least 1", processes)
	case room < 1:
		return nil, fmt.Errorf("open files: the limit is %d; at least %d", openFiles, spareFiles+1)
	}
	processes = min(max(processes, (conns+room-1)/room), conns)
	if processes > maxProcesses {
		return nil, fmt.Errorf("%d connections need %d client processes of %d; at most %d", conns, processes, room, maxProcesses)
	}
	shares := make([]Share, processes)
	first := 0
	for i := range shares {
		count := (conns - first) / (processes - i)
		shares[i] = Share{
			Source: netip.AddrFrom4([4]byte{127, 0, 0, byte(firstSource + i)}),
			First:  first,
			Count:  count,
		}
		first += count
	}
	return shares, nil
}

// Part returns the share's connections among those with index from to to, a
// Count of 0 if there are none. It is how a population grows in steps: every
// process grows by its part.
func (s Share) Part(from, to, total int) Share {
	begin, end := s.First, s.First+s.Count
	cut := func(n int) int { return begin + int(int64(end-begin)*int64(n)/int64(total)) }
	return Share{Source: s.Source, First: cut(from), Count: cut(to) - cut(from)}
}

// Dial returns the command that makes the share's connections.
func (s Share) Dial(server netip.AddrPort, path string, topics int, next uint32, timeout int64) Dial {
	return Dial{Addr: server, Source: s.Source, Path: path, First: s.First, Count: s.Count,
		Topics: topics, Window: defaultWindow, Next: next, Timeout: timeout}
}
