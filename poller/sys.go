package poller

import (
	"net/netip"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls of the hot path are raw: the Go scheduler is not told. They do
// not wait, because every descriptor is non-blocking (only sysEpollWait waits for
// a moment), and telling the scheduler costs as much as a third of a small send.
// Other goroutines have their own processors (see Processors).

// sendFlags: with MSG_NOSIGNAL a send to a closed connection is an error and not
// SIGPIPE; with MSG_DONTWAIT a descriptor that was adopted and is in blocking mode
// cannot stop a shard (man 2 send).
const sendFlags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL

func sysSend(fd int32, p []byte) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), sendFlags, 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), 0
}

func sysRecv(fd int32, p []byte) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), unix.MSG_DONTWAIT, 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), 0
}

func sysAccept(fd int32) (int32, syscall.Errno) {
	n, _, e := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if e != 0 {
		return -1, e
	}
	return int32(n), 0
}

// sysPeerName returns the peer of a connection that was reset, for which
// getpeername returns ENOTCONN. It uses SO_PEERNAME, which man 7 socket does not
// mention (asm-generic/socket.h).
func sysPeerName(fd int32) netip.AddrPort {
	var sa unix.RawSockaddrInet6
	for _, size := range []uintptr{unix.SizeofSockaddrInet6, unix.SizeofSockaddrInet4} {
		// A buffer longer than the address is EINVAL.
		n := uint32(size)
		_, _, e := syscall.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERNAME,
			uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&n)), 0)
		if e != 0 {
			continue
		}
		port := (*[2]byte)(unsafe.Pointer(&sa.Port))
		at := uint16(port[0])<<8 | uint16(port[1])
		switch sa.Family {
		case unix.AF_INET:
			v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&sa))
			return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), at)
		case unix.AF_INET6:
			return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), at)
		}
	}
	return netip.AddrPort{}
}

func sysClose(fd int32) { syscall.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

func sysShutdownWrite(fd int32) {
	syscall.RawSyscall(unix.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_WR, 0)
}

// sysEpollWait waits for whole milliseconds, and with 0 not at all. It is raw too,
// so it keeps its processor (P) while it waits; the runtime interrupts it with a
// signal to stop the world.
func sysEpollWait(epfd int32, evs []epollEvent, wait time.Duration) int {
	n, _, e := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epfd), uintptr(unsafe.Pointer(&evs[0])), uintptr(len(evs)), uintptr(wait.Milliseconds()), 0, 0)
	if e != 0 {
		return 0
	}
	return int(n)
}

// sysEpollWaitTold is sysEpollWait that tells the Go scheduler, which may use the
// processor meanwhile.
func sysEpollWaitTold(epfd int32, evs []epollEvent, wait time.Duration) int {
	n, _, e := syscall.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(epfd), uintptr(unsafe.Pointer(&evs[0])), uintptr(len(evs)), uintptr(wait.Milliseconds()), 0, 0)
	if e != 0 {
		return 0
	}
	return int(n)
}

func sysEpollCtl(epfd int32, op int, fd int32, events uint32, key uint64) syscall.Errno {
	ev := epollEvent{events: events}
	ev.setKey(key)
	_, _, e := syscall.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(epfd), uintptr(op), uintptr(fd), uintptr(unsafe.Pointer(&ev)), 0, 0)
	return e
}

// readCount reads and resets the counter of an eventfd or timerfd. It returns 0 if
// there was nothing to read.
func readCount(fd int32) uint64 {
	var v uint64
	_, _, e := syscall.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&v)), 8)
	if e != 0 {
		return 0
	}
	return v
}

func writeCount(fd int32, v uint64) {
	syscall.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&v)), 8)
}
