package handover

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// transfer is one hand-over in the old process. The goroutine that runs it owns what no
// comment gives to others.
type transfer struct {
	*Old
	c       *conn // control
	hello   *hello
	pid     int // of the successor
	process *process
	tell    func(Progress)
	log     *zap.Logger
	lived   *lived
	streams []*stream
	marks   *Marks // what the successor does to sessions
	began   time.Time
	step    Step // the last one
	given   bool // the successor has descriptors
	moving  bool // sessions may have left
	soft    bool // the successor is asked to give back

	failOnce sync.Once
	failed   chan error    // gets the first failure of any goroutine
	frames   chan frame    // control frames that run waits for
	emptied  chan struct{} // closed when every shard has said what cannot move yet
	workers  sync.WaitGroup
	link     link

	// Written by streams and shards.
	committed atomic.Bool    // the commit was sent
	left      []atomic.Int64 // sessions that cannot move yet, by shard; -1: not known
	unknown   atomic.Int64   // shards of which it is not known
	handed    atomic.Int64   // sessions that were acknowledged
	progress  atomic.Int64   // lived time of the last acknowledgement
	silence   atomic.Int64   // longest, in ns
	asked     sync.Once      // everything back
	killed    sync.Once
}

func newTransfer(o *Old, c *conn, h *hello, pid int, tell func(Progress)) *transfer {
	t := &transfer{Old: o, c: c, hello: h, pid: pid, tell: tell, began: time.Now(),
		failed: make(chan error, 1), frames: make(chan frame, 16), emptied: make(chan struct{}),
		left: make([]atomic.Int64, o.opt.Facts.Shards)}
	t.log = o.opt.Log.With(zap.Int("pid", os.Getpid()), zap.Int("successor", pid))
	t.link = link{t: t, joined: map[string]int{}}
	t.unknown.Store(int64(len(t.left)))
	for i := range t.left {
		t.left[i].Store(-1)
	}
	return t
}

// run hands over, and takes back if something fails.
func (t *transfer) run() Result {
	t.lived = startLived()
	defer t.lived.close()
	defer t.stop()
	err := t.open()
	for _, part := range []func() error{t.move, t.overlap, t.finish, t.export, t.commit} {
		if err == nil {
			err = part()
		}
	}
	if err != nil {
		return t.abort(err)
	}
	return t.leave()
}

// stop ends the goroutines of t.
func (t *transfer) stop() {
	t.c.close()
	for _, s := range t.streams {
		s.close()
	}
	t.workers.Wait()
	if t.process != nil {
		t.process.close()
	}
	if t.marks != nil {
		t.marks.Close()
	}
}

// fail ends the hand-over. Any goroutine; the first failure counts.
func (t *transfer) fail(err error) {
	t.failOnce.Do(func() { t.failed <- err })
}

// at says that a step is done.
func (t *transfer) at(s Step) error {
	t.step = s
	t.log.Debug("hot restart", zap.String("step", string(s)))
	return t.opt.Fault.at(s)
}

// open checks the successor and lets it open everything. Nothing has changed here yet.
func (t *transfer) open() error {
	if err := t.check(); err != nil {
		return err
	}
	if err := t.at(OldHello); err != nil {
		return err
	}
	format, refusal := t.hello.format(t.opt.Version)
	if refusal == nil {
		refusal = t.opt.Facts.differ(&t.hello.Facts)
	}
	if refusal != nil {
		return refusal
	}
	t.log.Info("hot restart: a successor opens", zap.String("version", t.hello.Version), zap.Int("format", format))
	t.tell(Progress{Phase: PhaseOpening, PID: t.pid})
	if err := t.bequeath(format); err != nil {
		return err
	}
	if err := t.at(OldInherit); err != nil {
		return err
	}
	if _, err := t.await(kindReady, t.opt.Limits.Ready, "to open (control.ready_timeout)"); err != nil {
		return err
	}
	return t.at(OldReady)
}

// check makes sure that the successor is what it says and can be killed: two processes
// that serve one socket are worse than none.
func (t *transfer) check() (err error) {
	if t.process, err = openProcess(t.pid); err != nil {
		return err
	}
	if t.hello.PID != t.pid {
		return &Refusal{"", fmt.Sprintf("the successor says that it is the process %d and is %d: start it in the same PID namespace", t.hello.PID, t.pid)}
	}
	if err := t.process.mayKill(); err != nil {
		return &Refusal{"", fmt.Sprintf("the process that serves could not kill its successor %d if it hung (%v): start it as the same user", t.pid, err)}
	}
	return nil
}

// bequeath sends what the successor opens with, and starts the streams.
func (t *transfer) bequeath(format int) error {
	in, err := t.opt.Node.Inherit()
	if err != nil {
		return err
	}
	in.Format, in.Version, in.PID = format, t.opt.Version, os.Getpid()
	in.Node, in.Shards = t.opt.Facts.Node, t.opt.Facts.Shards
	defer CloseAll(in.FDs)
	theirs, err := t.pairs()
	defer CloseAll(theirs)
	if err != nil {
		return err
	}
	if t.marks, err = newMarks(in.Shards, t.opt.Facts.Sessions); err != nil {
		return err
	}
	in.Slots = t.opt.Facts.Sessions
	fds := append(theirs[:len(theirs):len(theirs)], t.marks.fd)
	t.given = true
	if err := t.c.write(kindInheritance, mustJSON(in), append(fds, in.FDs...)...); err != nil {
		return broken(err)
	}
	t.start()
	return nil
}

// pairs makes a stream for each shard and returns the successor's ends.
func (t *transfer) pairs() (theirs []int, err error) {
	for shard := range t.opt.Facts.Shards {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return theirs, fmt.Errorf("handover: %w", err)
		}
		theirs = append(theirs, pair[1])
		c, err := connOf(pair[0])
		if err != nil {
			return theirs, err
		}
		t.streams = append(t.streams, newStream(c, shard))
	}
	return theirs, nil
}

// start starts the goroutines that read and write.
func (t *transfer) start() {
	t.workers.Add(1 + 2*len(t.streams))
	go func() { defer t.workers.Done(); t.readControl() }()
	for _, s := range t.streams {
		go func() {
			defer t.workers.Done()
			if err := s.write(func() error { return t.opt.Fault.at(OldBatch) }); err != nil {
				t.fail(err)
			}
		}()
		go func() {
			defer t.workers.Done()
			if err := t.readStream(s); err != nil {
				t.fail(err)
			}
		}()
	}
}

// broken returns the error of a connection to the successor.
func broken(err error) error { return fmt.Errorf("%w: %w", errBroken, err) }

// errLate says that the other process was too slow.
var errLate = errors.New("the successor was too slow")

// await waits for a control frame.
func (t *transfer) await(k kind, limit time.Duration, what string) (frame, error) {
	return t.wait(nil, k, limit, what)
}

// wait waits until done is closed or gets a value, or for a control frame of the kind k;
// for at most limit since it was called or sessions last moved.
func (t *transfer) wait(done <-chan struct{}, k kind, limit time.Duration, what string) (frame, error) {
	t.progress.Store(int64(t.lived.now()))
	told := time.Now()
	for {
		select {
		case <-done:
			return frame{}, nil
		case f := <-t.frames:
			return f, t.expect(f, k)
		case err := <-t.failed:
			select {
			case f := <-t.frames: // it came before the end of the connection
				return f, t.expect(f, k)
			default:
			}
			t.failed <- err // for the next wait
			return frame{}, err
		case <-t.lived.each:
			if err := t.late(limit, what); err != nil {
				return frame{}, err
			}
			if time.Since(told) >= time.Second {
				told = time.Now()
				t.log.Info("hot restart: in progress", zap.Int64("sessions", t.handed.Load()), zap.Int64("waiting", t.waiting()), zap.Duration("took", time.Since(t.began).Round(time.Millisecond)))
				t.tell(Progress{Phase: PhaseMoving, PID: t.pid, Sessions: int(t.handed.Load())})
			}
		}
	}
}

// expect returns an error unless f is of the kind k.
func (t *transfer) expect(f frame, k kind) error {
	CloseAll(f.fds)
	switch f.kind {
	case k:
		return nil
	case kindAbort:
		return fmt.Errorf("the successor gives up: %s", f.payload)
	}
	return fmt.Errorf("handover: a frame of kind %d while %d was awaited", f.kind, k)
}

// waiting returns how many sessions are known not to have moved.
func (t *transfer) waiting() (n int64) {
	for i := range t.left {
		n += max(t.left[i].Load(), 0)
	}
	return n
}

// late returns an error if a limit has passed.
func (t *transfer) late(limit time.Duration, what string) error {
	now := t.lived.now()
	for _, s := range t.streams {
		if s.overdue(now, t.opt.Limits.Ack) {
			return fmt.Errorf("%w: a batch of shard %d was not served within %v", errLate, s.shard, t.opt.Limits.Ack)
		}
	}
	if now-time.Duration(t.progress.Load()) > limit {
		return fmt.Errorf("%w: it had %v %s", errLate, limit, what)
	}
	return nil
}

// during runs f, which ends when its context does, while the hand-over is watched.
func (t *transfer) during(limit time.Duration, what string, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var failed error
	done := make(chan struct{})
	go func() { failed = f(ctx); close(done) }()
	if _, err := t.wait(done, 0, limit, what); err != nil {
		cancel()
		<-done // f must not go on while everything is taken back
		return err
	}
	return failed
}
