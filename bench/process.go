package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Process is a child: a client, a floor, or a server. Children have their own
// process group, so that Ctrl-C reaches only the program that started them,
// which ends them in order. They die with their parent, whatever happens to it
// (PR_SET_PDEATHSIG; Go ends a thread only with a locked goroutine, and the
// figures program has none).
type Process struct {
	cmd    *exec.Cmd
	name   string
	stdin  io.WriteCloser
	stderr tail
	exited chan struct{} // closed when the process was reaped
	err    error         // why it ended; read after exited

	mu      sync.Mutex // guards what follows
	lastID  uint64
	pending map[uint64]chan Reply // nil when no more replies can come
}

// Start starts a child under a name for messages. With control, standard input
// and output speak the control protocol; otherwise its output is kept for error
// messages. It is killed with all its children when ctx is done.
func Start(ctx context.Context, name string, control bool, env []string, path string, args ...string) (*Process, error) {
	p := &Process{name: name, exited: make(chan struct{}), pending: make(map[uint64]chan Reply)}
	p.cmd = exec.CommandContext(ctx, path, args...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	p.cmd.Cancel = func() error { return unix.Kill(-p.cmd.Process.Pid, unix.SIGKILL) }
	p.cmd.WaitDelay = time.Second
	p.cmd.Stderr = &p.stderr
	var stdout io.ReadCloser
	var err error
	if control {
		if p.stdin, err = p.cmd.StdinPipe(); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if stdout, err = p.cmd.StdoutPipe(); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	} else {
		p.cmd.Stdout = &p.stderr
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go p.reap(stdout)
	return p, nil
}

// reap reads replies until there are no more, then the exit status.
func (p *Process) reap(stdout io.Reader) {
	var bad error
	if stdout != nil {
		lines := bufio.NewReader(stdout)
		for {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				break
			}
			var r Reply
			if err := json.Unmarshal(line, &r); err != nil {
				bad = fmt.Errorf("reply %q: %w", line, err)
				_ = p.cmd.Cancel()
				break
			}
			p.mu.Lock()
			if ch := p.pending[r.ID]; ch != nil {
				ch <- r // has room for it
				delete(p.pending, r.ID)
			}
			p.mu.Unlock()
		}
	}
	p.err = errors.Join(bad, p.cmd.Wait())
	close(p.exited)
	p.mu.Lock()
	p.pending = nil
	p.mu.Unlock()
}

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Background lets the process run only when processors are free: SCHED_IDLE for
// all its threads and those that they start (man 7 sched). It is for clients
// that represent clients on other machines, which would not use the server's
// processors.
func (p *Process) Background() error {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.PID()))
	if err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(task.Name())
		if err == nil {
			err = unix.SchedSetAttr(tid, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}, 0)
		}
		if err != nil && err != unix.ESRCH { // ended meanwhile
			return fmt.Errorf("%s: sched_setattr: %w", p.name, err)
		}
	}
	return nil
}

// Exited is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Failure returns how the process ended, with the end of its output.
func (p *Process) Failure() error {
	<-p.exited
	how := "exited"
	if p.err != nil {
		how = p.err.Error()
	}
	return fmt.Errorf("%s: %s; its last output: %s", p.name, how, p.stderr.String())
}

// Go sends a command and returns the function that waits for its reply. A reply
// with Error set is returned as an error.
func (p *Process) Go(cmd Command) (wait func(context.Context) (Reply, error)) {
	ch := make(chan Reply, 1)
	p.mu.Lock()
	p.lastID++
	cmd.ID = p.lastID
	if p.pending != nil {
		p.pending[cmd.ID] = ch
	}
	line, err := json.Marshal(cmd)
	if err == nil {
		_, err = p.stdin.Write(append(line, '\n'))
	}
	p.mu.Unlock()
	return func(ctx context.Context) (Reply, error) {
		if err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, os.ErrClosed) {
			return Reply{}, fmt.Errorf("%s: %s: %w", p.name, cmd.Op, err)
		}
		select {
		case r := <-ch:
			return p.checked(cmd, r)
		case <-ctx.Done():
			return Reply{}, fmt.Errorf("%s: %s: %w", p.name, cmd.Op, context.Cause(ctx))
		case <-p.exited:
		}
		select { // the process may have answered and then ended
		case r := <-ch:
			return p.checked(cmd, r)
		default:
			return Reply{}, p.Failure()
		}
	}
}

func (p *Process) checked(cmd Command, r Reply) (Reply, error) {
	if r.Error != "" {
		return r, fmt.Errorf("%s: %s: %s", p.name, cmd.Op, r.Error)
	}
	return r, nil
}

// Call sends a command and waits for its reply.
func (p *Process) Call(ctx context.Context, cmd Command) (Reply, error) { return p.Go(cmd)(ctx) }

// Stop ends the process: by closing its commands, or with SIGTERM if it has
// none, and with SIGKILL if it still runs after grace.
func (p *Process) Stop(grace time.Duration) {
	if p.stdin != nil {
		p.stdin.Close()
	} else {
		_ = p.cmd.Process.Signal(unix.SIGTERM)
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-timer.C:
		_ = p.cmd.Cancel()
		<-p.exited
	}
}

// tail keeps the end of the written bytes.
type tail struct {
	mu sync.Mutex
	p  []byte
}

// tailSize is how much is kept, in bytes.
const tailSize = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.p = append(t.p, p...)
	if over := len(t.p) - tailSize; over > 0 {
		t.p = append(t.p[:0], t.p[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.p)
}

// CallAll sends a command to every process, cmd(i) to the i-th, and waits for
// all. The replies are in the order of the processes. The reply of a failed
// process is empty, and the error names all of them.
func CallAll(ctx context.Context, processes []*Process, cmd func(i int) Command) ([]Reply, error) {
	waits := make([]func(context.Context) (Reply, error), len(processes))
	for i, p := range processes {
		waits[i] = p.Go(cmd(i))
	}
	replies := make([]Reply, len(waits))
	var errs []error
	for i, wait := range waits {
		var err error
		replies[i], err = wait(ctx)
		errs = append(errs, err)
	}
	return replies, errors.Join(errs...)
}
