package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ownPipe opens a pipe a second time, for writes that do not wait, and puts it
// in the place of its descriptor. What the Go runtime writes when it crashes,
// straight to descriptor 2, then ends the process even if nobody reads: the
// description that other processes write to as well stays as it is. Where that
// is not possible (a pipe of another user, a socket) file is returned, and a
// crash waits for its reader.
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
	// A descriptor of its own for Go, which waits for room in its poller.
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
