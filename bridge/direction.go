package bridge

import "sync/atomic"

// direction is one of the two ways through a connection: up to the shard, or down to
// the client. At most one goroutine runs it at a time, and none while it is idle.
type direction struct {
	c     *conn
	state atomic.Int32
	fd    int32      // that poll watches
	next  *direction // of workers: behind this one in the queue

	detached bool // of the goroutine that runs it
}

// States of a direction.
const (
	stateOff     = iota // before start, and when it has ended
	stateIdle           // until the socket that it reads has something
	stateQueued         // until a worker is free
	stateRunning        //
	stateWoken          // running, and more has come meanwhile
)

// outcome is what a run ends with.
type outcome uint8

const (
	over outcome = iota // nothing more comes in this direction
	idle                // everything was read
	more                // others are to have their turn
)

// rounds is how many reads a direction may make before others have their turn.
const rounds = 8

// start queues a direction for the first time: bytes may have come before poll
// watched the socket.
func (d *direction) start() {
	d.state.Store(stateQueued)
	d.c.srv.workers.add(d)
}

// wake makes a direction run, or run once more if it does already. Any goroutine.
func (d *direction) wake() {
	for {
		switch d.state.Load() {
		case stateIdle:
			if d.state.CompareAndSwap(stateIdle, stateQueued) {
				d.c.srv.workers.add(d)
				return
			}
		case stateRunning:
			if d.state.CompareAndSwap(stateRunning, stateWoken) {
				return
			}
		default: // queued or woken: a run that reads begins after this
			return
		}
	}
}

// run runs a direction that was in the queue. It says whether the goroutine is no
// worker any more.
func (d *direction) run() (detached bool) {
	d.state.Store(stateRunning)
	d.detached = false
	o := d.pass()
	detached = d.detached // before another worker may run d
	switch {
	case o == over:
		d.state.Store(stateOff)
		d.c.ended()
	case o == idle && d.state.CompareAndSwap(stateRunning, stateIdle):
	default:
		d.start()
	}
	return detached
}

// pass passes bytes on. A panic ends the direction.
func (d *direction) pass() (o outcome) {
	defer d.c.recovered()
	if d == &d.c.up {
		return d.c.passUp()
	}
	return d.c.passDown()
}

// detach is called before the direction waits for a socket: another worker takes
// this goroutine's place, which ends with the run.
func (d *direction) detach() {
	if !d.detached {
		d.detached = true
		d.c.srv.workers.start()
	}
}
