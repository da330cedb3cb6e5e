package handover

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// OldOptions are the parts of the process that serves. Fault, Limits and Log may be
// zero.
type OldOptions struct {
	Socket   *Socket
	Node     Predecessor
	Sessions Giver
	Facts    Facts
	Version  string
	// Spawn starts a successor from binary; "": the file that this process was started
	// from. ended gets the end of the process.
	Spawn  func(binary string) (pid int, ended <-chan error, err error)
	Limits Limits
	Log    *zap.Logger
	Fault  Fault
}

// Old is the process that serves. It waits at its control socket for a successor, or for
// belfry restart.
type Old struct {
	opt   OldOptions
	tally tally
	gone  chan struct{} // closed when a successor serves

	asking sync.WaitGroup // calls of belfry restart
	unread atomic.Int64   // connections whose first frame was not read yet

	mu      sync.Mutex
	busy    string   // why no other hand-over may begin; "": one may
	attempt *attempt // of Restart
}

// attempt is a call of Restart.
type attempt struct {
	tell   func(Progress)
	result chan Result
}

// NewOld returns the old process's side. Run serves it.
func NewOld(o OldOptions) *Old {
	o.Limits.fill()
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return &Old{opt: o, gone: make(chan struct{})}
}

// Gone is closed when a successor serves. This process has to end then.
func (o *Old) Gone() <-chan struct{} { return o.gone }

// Finish waits until belfry restart knows the result. Call it after Gone, before the
// process ends.
func (o *Old) Finish() {
	done := make(chan struct{})
	go func() { o.asking.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(time.Second):
	}
}

// Stats returns the counters. Any goroutine.
func (o *Old) Stats() Stats { return o.tally.snapshot() }

// Run accepts connections until the socket is closed.
func (o *Old) Run() {
	for {
		c, cred, err := o.opt.Socket.accept(func(cred *unix.Ucred) {
			o.opt.Log.Warn("the control socket was opened by another user", zap.Uint32("uid", cred.Uid), zap.Int32("pid", cred.Pid))
		})
		if err != nil {
			return
		}
		if o.unread.Add(1) > maxUnread {
			o.unread.Add(-1)
			_ = c.Close()
			continue
		}
		go o.serve(c, cred)
	}
}

// maxUnread is how many connections may be open that have not said what they are for.
const maxUnread = 16

// serve reads what a connection is for.
func (o *Old) serve(sock *net.UnixConn, cred *unix.Ucred) {
	c := newConn(sock)
	defer c.close()
	_ = sock.SetReadDeadline(time.Now().Add(o.opt.Limits.Hello))
	f, err := c.read()
	o.unread.Add(-1)
	if err != nil {
		return
	}
	CloseAll(f.fds)
	_ = sock.SetReadDeadline(time.Time{})
	switch f.kind {
	case kindHello:
		o.take(c, cred, f.payload)
	case kindRestart:
		o.restart(c, f.payload)
	}
}

// take runs a hand-over to the successor at the other end of c.
func (o *Old) take(c *conn, cred *unix.Ucred, payload []byte) {
	var h hello
	if err := json.Unmarshal(payload, &h); err != nil {
		_ = c.write(kindRefusal, mustJSON(&Refusal{"", "the hello cannot be read: " + err.Error()}))
		return
	}
	a, why := o.begin(fmt.Sprintf("a hand-over to the process %d is in progress: wait for its end", cred.Pid))
	if why != "" {
		_ = c.write(kindRefusal, mustJSON(&Refusal{"", why}))
		return
	}
	t := newTransfer(o, c, &h, int(cred.Pid), a.tell)
	r := t.run()
	o.tally.add(&r)
	o.end(&r, a)
}

// begin says that a hand-over begins, as part of a Restart if there is one; why is why
// it may not.
func (o *Old) begin(as string) (a *attempt, why string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.busy != "" {
		return nil, o.busy
	}
	o.busy = as
	if a = o.attempt; a == nil {
		a = &attempt{func(Progress) {}, make(chan Result, 1)}
	}
	return a, ""
}

// end is the reverse of begin.
func (o *Old) end(r *Result, a *attempt) {
	a.result <- *r // first: who waits must not take the end of the process for the reason
	if r.Outcome == Served {
		close(o.gone) // busy stays: this process serves nothing any more
	} else {
		o.mu.Lock()
		o.busy = ""
		o.mu.Unlock()
	}
}

// Restart starts a successor and hands over to it. tell is called with what has been
// done, from another goroutine. It returns when the successor serves, or this process
// goes on.
func (o *Old) Restart(binary string, tell func(Progress)) Result {
	fail := func(err error) Result {
		o.opt.Log.Error("hot restart: not done; this process goes on", zap.Int("pid", os.Getpid()), zap.Error(err))
		r := Result{Outcome: Aborted, Error: err.Error()}
		o.tally.add(&r)
		return r
	}
	a := &attempt{tell, make(chan Result, 1)}
	o.mu.Lock()
	if o.busy != "" || o.attempt != nil {
		why := o.busy
		o.mu.Unlock()
		if why == "" {
			why = "another restart is in progress: wait for its end"
		}
		return fail(errors.New(why))
	}
	o.attempt = a
	o.mu.Unlock()
	defer func() {
		o.mu.Lock()
		o.attempt = nil
		o.mu.Unlock()
	}()
	if err := o.opt.Socket.restore(); err != nil {
		return fail(err)
	}
	pid, ended, err := o.opt.Spawn(binary)
	if err != nil {
		return fail(err)
	}
	o.opt.Log.Info("hot restart: the successor was started", zap.Int("pid", os.Getpid()), zap.Int("successor", pid))
	tell(Progress{Phase: PhaseStarted, PID: pid})
	return o.awaitResult(a, pid, ended, fail)
}

// awaitResult waits for the hand-over to the process pid, which may end before it has
// said hello.
func (o *Old) awaitResult(a *attempt, pid int, ended <-chan error, fail func(error) Result) Result {
	late := time.NewTimer(o.opt.Limits.Ready)
	defer late.Stop()
	for {
		select {
		case r := <-a.result:
			return r
		case err := <-ended:
			if ended = nil; o.isBusy() {
				continue // the hand-over notices it
			}
			if err == nil {
				err = errors.New("exit status 0")
			}
			return fail(fmt.Errorf("the successor (process %d) ended before it connected: %w; the reason is on the node's standard error", pid, err))
		case <-late.C:
			if o.isBusy() {
				continue
			}
			if p, err := openProcess(pid); err == nil {
				_ = p.kill()
				p.close()
			}
			return fail(fmt.Errorf("the successor (process %d) has not connected within %v: is --binary a belfry? It was killed", pid, o.opt.Limits.Ready))
		}
	}
}

func (o *Old) isBusy() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.busy != ""
}
