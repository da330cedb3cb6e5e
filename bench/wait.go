package bench

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// shortWait is how long EpollWait waits without telling the Go scheduler.
const shortWait = 5 * time.Millisecond

// EpollWait is unix.EpollWait, in whole milliseconds, for a busy loop. If the
// Go runtime knows of a wait, it takes the processor (the P) away and gives it
// back, for which its monitor wakes every 20 µs. With a wait for every few
// messages this took a tenth of all processor time of clients and server
// together. So the first moment is a raw system call. The error may be EINTR.
func EpollWait(epfd int, events []unix.EpollEvent, timeout time.Duration) (n int, err error) {
	first := min(timeout, shortWait)
	r, _, e := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epfd), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), ms(first), 0, 0)
	switch {
	case e != 0:
		return 0, e
	case r > 0 || timeout <= shortWait:
		return int(r), nil
	}
	return unix.EpollWait(epfd, events, int(ms(timeout-shortWait)))
}

// ms rounds up.
func ms(d time.Duration) uintptr { return uintptr((d + time.Millisecond - 1) / time.Millisecond) }
