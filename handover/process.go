package handover

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// process is another process, held by a descriptor: its number cannot come to mean
// another one (man 2 pidfd_open).
type process struct {
	pid int
	fd  int
}

func openProcess(pid int) (*process, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("handover: process %d: %w", pid, err)
	}
	return &process{pid, fd}, nil
}

func (p *process) close() { _ = unix.Close(p.fd) }

// mayKill returns an error if this process may not kill p.
func (p *process) mayKill() error { return unix.PidfdSendSignal(p.fd, 0, nil, 0) }

// ended waits up to d for the end of the process and says whether it has come. A zombie
// has ended: its sockets are closed.
func (p *process) ended(d time.Duration) bool {
	for until := time.Now().Add(d); ; {
		left := max(time.Until(until), 0)
		fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int((left+time.Millisecond-1)/time.Millisecond))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return err == nil && n > 0
	}
}

// killTime is how long a process may take to end after SIGKILL. Thousands of sockets
// are closed meanwhile.
const killTime = 10 * time.Second

// kill ends the process and waits for its end.
func (p *process) kill() error {
	if p.ended(0) {
		return nil
	}
	if err := unix.PidfdSendSignal(p.fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("handover: process %d cannot be killed: %w", p.pid, err)
	}
	if !p.ended(killTime) {
		return fmt.Errorf("handover: process %d has not ended %v after SIGKILL", p.pid, killTime)
	}
	return nil
}
