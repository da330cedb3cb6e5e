package bench

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// Stats are the counters of a client, from its start unless a field says
// otherwise.
type Stats struct {
	Open      int            `json:"open"`
	Slow      int            `json:"slow"`             // of these, told to stop reading; the tallies exclude them since then
	Failed    map[string]int `json:"failed,omitempty"` // connections never made, by cause
	Ended     map[string]int `json:"ended,omitempty"`  // open connections lost, by cause
	Broadcast Tally          `json:"broadcast"`
	Direct    Tally          `json:"direct"`
	Slowed    Tally          `json:"slowed"`  // of both streams, on connections that were told to stop reading
	Corrupt   uint64         `json:"corrupt"` // payloads, or where nothing else is expected messages, not as they were sent
	Misled    uint64         `json:"misled"`  // direct messages that arrived at another user
	Other     uint64         `json:"other"`   // messages without a payload, where these are expected
	Pings     uint64         `json:"pings"`
	Pongs     uint64         `json:"pongs"`      // sent in answer
	PongsLost uint64         `json:"pongs_lost"` // not sent: the socket was full
	Bytes     uint64         `json:"bytes"`      // received

	LastBroadcast int64 `json:"last_broadcast"` // stamps of the latest receipts
	LastDirect    int64 `json:"last_direct"`

	// From Mark on.
	Handshakes *Histogram `json:"handshakes"`  // connect(2) → 101, or the message that says it is ready
	Broadcasts *Histogram `json:"broadcasts"`  // stamp in the payload → receipt
	Directs    *Histogram `json:"directs"`     // stamp in the payload → receipt
	Gap        int64      `json:"gap_ns"`      // longest time that received data waited for the client to read it
	MinPings   uint32     `json:"min_pings"`   // of the open connection that got the fewest; the largest uint32 if none is open
	CPU        int64      `json:"cpu_ns"`      // of the client's process, since its start
	RunDelay   int64      `json:"rundelay_ns"` // time that its thread was ready to run and had no processor, since its start
	At         int64      `json:"at"`          // stamp of these counters

	Missing uint64 `json:"missing"` // broadcasts sent but not received, over all open connections that read
}

func newStats() Stats {
	return Stats{Failed: make(map[string]int), Ended: make(map[string]int), MinPings: ^uint32(0),
		Handshakes: NewHistogram(), Broadcasts: NewHistogram(), Directs: NewHistogram()}
}

// Stats returns the counters. next is the broadcast number that follows the
// last one sent; 0 leaves Missing at 0. The histograms are shared: the client
// continues to fill them.
func (c *Client) Stats(next uint32) Stats {
	s := c.Counters()
	s.Handshakes, s.Broadcasts, s.Directs = c.stats.Handshakes, c.stats.Broadcasts, c.stats.Directs
	for i := range c.conns {
		k := &c.conns[i]
		if k.state != connOpen || k.slow {
			continue
		}
		s.MinPings = min(s.MinPings, k.pings)
		if n := k.broadcast.Next(); n < next {
			s.Missing += uint64(next - n)
		}
	}
	return s
}

// Counters returns the counters that cost nothing: no histograms, and neither
// MinPings nor Missing. It may be called often.
func (c *Client) Counters() Stats {
	s := c.stats
	s.Failed, s.Ended = maps.Clone(s.Failed), maps.Clone(s.Ended)
	s.Handshakes, s.Broadcasts, s.Directs = nil, nil, nil
	s.MinPings = ^uint32(0)
	s.Gap, s.At = c.gap, c.clock.Now()
	if cpu, err := ProcessCPU(os.Getpid()); err == nil {
		s.CPU = int64(cpu)
	}
	if q, err := ReadRunQueue("/proc/thread-self/schedstat"); err == nil {
		s.RunDelay = q.Waited
	}
	return s
}

// Mark begins a measurement: histograms, read gap and the pings of every
// connection count from 0.
func (c *Client) Mark() {
	for i := range c.conns {
		c.conns[i].pings = 0
	}
	c.gap, c.polled = 0, 0
	c.stats.Handshakes.Reset()
	c.stats.Broadcasts.Reset()
	c.stats.Directs.Reset()
}

// SumStats adds up the counters of clients. CPU is the sum, Gap the longest, At
// and the stamps of receipts the latest, MinPings the fewest.
func SumStats(stats []Stats) Stats {
	sum := newStats()
	for i := range stats {
		sum.add(&stats[i])
	}
	return sum
}

func (s *Stats) add(o *Stats) {
	s.Open += o.Open
	s.Slow += o.Slow
	s.Broadcast.Add(o.Broadcast)
	s.Direct.Add(o.Direct)
	s.Slowed.Add(o.Slowed)
	s.Corrupt += o.Corrupt
	s.Misled += o.Misled
	s.Other += o.Other
	s.Pings += o.Pings
	s.Pongs += o.Pongs
	s.PongsLost += o.PongsLost
	s.Bytes += o.Bytes
	s.LastBroadcast = max(s.LastBroadcast, o.LastBroadcast)
	s.LastDirect = max(s.LastDirect, o.LastDirect)
	s.Handshakes.Merge(o.Handshakes)
	s.Broadcasts.Merge(o.Broadcasts)
	s.Directs.Merge(o.Directs)
	s.Gap = max(s.Gap, o.Gap)
	s.MinPings = min(s.MinPings, o.MinPings)
	s.CPU += o.CPU
	s.RunDelay += o.RunDelay
	s.At = max(s.At, o.At)
	s.Missing += o.Missing
	for cause, n := range o.Failed {
		s.Failed[cause] += n
	}
	for cause, n := range o.Ended {
		s.Ended[cause] += n
	}
}

// Faults returns an error about messages that were lost, doubled, reordered,
// damaged or sent to the wrong user, nil if there were none. Ended connections
// are counted in Ended, not here.
func (s *Stats) Faults() error {
	if s.Broadcast.Faults()+s.Direct.Faults()+s.Corrupt+s.Misled+s.Missing == 0 {
		return nil
	}
	return fmt.Errorf("broadcasts %+v, direct %+v, corrupt %d, to the wrong user %d, missing %d",
		s.Broadcast, s.Direct, s.Corrupt, s.Misled, s.Missing)
}

// Verify returns the error of Faults, or an error if the number of open
// connections that read is not the given one.
func (s *Stats) Verify(open int) error {
	faults := s.Faults()
	if faults == nil && s.Open-s.Slow == open {
		return nil
	}
	population := fmt.Sprintf("open %d of %d, ended: %s", s.Open-s.Slow, open, Causes(s.Ended))
	if faults == nil {
		return errors.New(population)
	}
	return fmt.Errorf("%w; %s", faults, population)
}

// Lost returns how many open connections ended.
func (s *Stats) Lost() int { return total(s.Ended) }

func total(m map[string]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}

// Causes prints counts by cause, most frequent first: "EOF 3, timeout 1".
func Causes(m map[string]int) string {
	if len(m) == 0 {
		return "none"
	}
	keys := slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		if m[a] != m[b] {
			return m[b] - m[a]
		}
		return strings.Compare(a, b)
	})
	for i, k := range keys {
		keys[i] = fmt.Sprintf("%s %d", k, m[k])
	}
	return strings.Join(keys, ", ")
}

// Busy returns the share of one processor that the client used between two
// readings of its counters. Starved returns the share of the time that it
// waited for one.
func Busy(before, after Stats) (busy, starved float64) {
	took := float64(max(after.At-before.At, int64(time.Microsecond)))
	return float64(after.CPU-before.CPU) / took, float64(after.RunDelay-before.RunDelay) / took
}
