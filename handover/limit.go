package handover

import (
	"sync/atomic"
	"time"
)

// Limits are how long steps may take. What is 0 gets the default. Time in which this
// process was stopped (SIGSTOP, a virtual machine that was moved) does not count.
type Limits struct {
	Hello  time.Duration // from the connection to the hello, and to its answer; 5 s
	Ready  time.Duration // until the successor has opened everything; 30 s
	Ack    time.Duration // until a batch is served; 5 s
	Finish time.Duration // for the sessions that could not move at once; 10 s
	Export time.Duration // for the state of the node, on each side; 10 s
	Commit time.Duration // until the successor serves; 30 s
	Return time.Duration // for giving everything back; 10 s
}

func (l *Limits) fill() {
	for _, d := range []struct {
		limit *time.Duration
		def   time.Duration
	}{{&l.Hello, 5 * time.Second}, {&l.Ready, 30 * time.Second}, {&l.Ack, 5 * time.Second}, {&l.Finish, 10 * time.Second},
		{&l.Export, 10 * time.Second}, {&l.Commit, 30 * time.Second}, {&l.Return, 10 * time.Second}} {
		if *d.limit == 0 {
			*d.limit = d.def
		}
	}
}

// resolution is the unit of lived time.
const resolution = 20 * time.Millisecond

// lived is a clock of the time in which this process ran: after it was stopped for an
// hour, the clock is at most one tick further.
type lived struct {
	ticks atomic.Int64
	each  chan struct{} // gets a value at each tick, if somebody waits
	stop  chan struct{}
}

func startLived() *lived {
	l := &lived{each: make(chan struct{}), stop: make(chan struct{})}
	go func() {
		t := time.NewTicker(resolution)
		defer t.Stop()
		for {
			select {
			case <-l.stop:
				return
			case <-t.C:
			}
			l.ticks.Add(1)
			select {
			case l.each <- struct{}{}:
			default:
			}
		}
	}()
	return l
}

func (l *lived) now() time.Duration { return time.Duration(l.ticks.Load()) * resolution }

func (l *lived) close() { close(l.stop) }
