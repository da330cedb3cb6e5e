package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ownPipe opens a pipe a second time for writes that do not wait, and replaces
// its descriptor. When the Go runtime crashes it writes to descriptor 2
// directly; so the process ends even if nobody reads the pipe. The open file
// description that other processes also use stays unchanged. If this is not
// possible (a pipe of another user, a socket), file is returned, and a crash
// waits for the reader.
func ownPipe(file *os.File) *os.File {
	fd := int(file.Fd())
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return file
	}
	own, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return file
	}
	defer unix.Close(own)
	// Go gets its own descriptor, which waits for room in Go's poller.
	write, err := unix.FcntlInt(uintptr(own), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return file
	}
	if unix.Dup3(own, fd, 0) != nil {
		unix.Close(write)
		return file
	}
	return os.NewFile(uintptr(write), file.Name())
}
