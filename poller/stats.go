package poller

import (
	"sync/atomic"
	"time"
)

// Counters are what a shard counts. Only the shard writes them; any goroutine may
// read them.
type Counters struct {
	Accepted        atomic.Uint64 // connections accepted
	AcceptRefused   atomic.Uint64 // closed at once, because no slot was free
	MovedIn         atomic.Uint64 // connections from other shards
	MovedOut        atomic.Uint64
	Adopted         atomic.Uint64
	Detached        atomic.Uint64
	Closed          atomic.Uint64
	ReadBytes       atomic.Uint64
	WrittenBytes    atomic.Uint64
	ShortWrites     atomic.Uint64 // sends of shared frames that the kernel did not take completely
	Overflows       atomic.Uint64 // sends refused at the limit of a connection
	NodeOverflows   atomic.Uint64 // sends refused, and connections evicted, at the limit of the node
	DroppedOldest   atomic.Uint64 // frames dropped by DropOldest, or by LatestOnly at the limit
	DroppedLatest   atomic.Uint64 // frames replaced under LatestOnly
	DroppedExpired  atomic.Uint64 // frames whose time was over (Frame.Expiring)
	Stalls          atomic.Uint64 // times the shard did not run for stallTicks or more
	StalledTicks    atomic.Uint64 // ticks that the clock did not count after stalls
	BehindTicks     atomic.Uint64 // ticks that it did not count because the shard was behind
	Panics          atomic.Uint64
	Reclaimed       atomic.Uint64 // connections that had to give up what they held of Options.InboundBytes
	MovesDeferred   atomic.Uint64 // sockets that waited because the mailbox of the other shard was full
	ControlsDropped atomic.Uint64 // control frames that a newer one replaced, or that were dropped at the limit of the node
	BusyNanos       atomic.Uint64 // time in turns, without waiting for events

	acceptErrors [acceptErrnos]atomic.Uint64
}

// Stats is a snapshot of a Loop.
type Stats struct {
	Accepted, AcceptRefused, MovedIn, MovedOut, Adopted, Detached, Closed     uint64
	ReadBytes, WrittenBytes                                                   uint64
	ShortWrites, Overflows, NodeOverflows                                     uint64
	DroppedOldest, DroppedLatest, DroppedExpired                              uint64
	Stalls, StalledTicks, BehindTicks, Panics, MovesDeferred, ControlsDropped uint64
	Reclaimed                                                                 uint64

	AcceptErrors map[string]uint64 // by errno name
	MailboxFull  map[string]uint64 // by Queue

	Connections  int       // open now
	Backlogged   int       // connections with a backlog
	BacklogBytes int64     // bytes in backlogs, each shared frame counted once
	InboundBytes int64     // bytes of clients' input that are held
	Rings        int       // shards that send through io_uring
	TickAge      float64   // largest of TickAges
	TickAges     []float64 // of each shard: seconds since its last tick
	BusySeconds  []float64 // of each shard: time in turns, without waiting for events
}

// Waiting returns how many bytes are in backlogs or held of clients' input. It
// costs two atomic loads. Any goroutine.
func (l *Loop) Waiting() int64 { return l.nodeBytes.Load() + l.input.held.Load() }

// TickAge returns the time since the last tick of the shard whose last tick is
// oldest. It looks at each shard. Any goroutine.
func (l *Loop) TickAge() (age time.Duration) {
	for _, s := range l.shards {
		age = max(age, s.tickAge())
	}
	return age
}

// Stats adds up the counters of all shards. Any goroutine.
func (l *Loop) Stats() Stats {
	st := Stats{AcceptErrors: map[string]uint64{}, MailboxFull: map[string]uint64{}}
	for _, s := range l.shards {
		c := &s.Counters
		for _, p := range []struct {
			to   *uint64
			from *atomic.Uint64
		}{
			{&st.Accepted, &c.Accepted}, {&st.AcceptRefused, &c.AcceptRefused},
			{&st.MovedIn, &c.MovedIn}, {&st.MovedOut, &c.MovedOut}, {&st.Adopted, &c.Adopted}, {&st.Detached, &c.Detached},
			{&st.Closed, &c.Closed}, {&st.ReadBytes, &c.ReadBytes}, {&st.WrittenBytes, &c.WrittenBytes},
			{&st.ShortWrites, &c.ShortWrites}, {&st.Overflows, &c.Overflows}, {&st.NodeOverflows, &c.NodeOverflows},
			{&st.DroppedOldest, &c.DroppedOldest}, {&st.DroppedLatest, &c.DroppedLatest}, {&st.DroppedExpired, &c.DroppedExpired},
			{&st.Stalls, &c.Stalls}, {&st.StalledTicks, &c.StalledTicks}, {&st.BehindTicks, &c.BehindTicks}, {&st.Panics, &c.Panics},
			{&st.MovesDeferred, &c.MovesDeferred}, {&st.ControlsDropped, &c.ControlsDropped}, {&st.Reclaimed, &c.Reclaimed},
		} {
			*p.to += p.from.Load()
		}
		for i := range c.acceptErrors {
			st.AcceptErrors[acceptErrnoNames[i]] += c.acceptErrors[i].Load()
		}
		for _, q := range Queues() {
			st.MailboxFull[q.String()] += s.box.queues[q].full.Load()
		}
		st.Connections += int(s.live.Load())
		st.Backlogged += int(s.sender.backlogs.slow.Load())
		if s.sender.stage.ringed.Load() {
			st.Rings++
		}
		age := s.tickAge().Seconds()
		st.TickAge = max(st.TickAge, age)
		st.TickAges = append(st.TickAges, age)
		st.BusySeconds = append(st.BusySeconds, float64(c.BusyNanos.Load())/1e9)
	}
	st.BacklogBytes = l.nodeBytes.Load()
	st.InboundBytes = l.input.held.Load()
	return st
}
