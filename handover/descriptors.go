package handover

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// Copies returns copies of the descriptors of listeners, which the caller closes. The
// listeners go on: File would make them block.
func Copies(listeners []*net.TCPListener) (fds []int, err error) {
	for _, l := range listeners {
		raw, err := l.SyscallConn()
		if err == nil {
			cerr := raw.Control(func(fd uintptr) {
				var own int
				if own, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0); err == nil {
					fds = append(fds, own)
				}
			})
			err = errors.Join(err, cerr)
		}
		if err != nil {
			CloseAll(fds)
			return nil, fmt.Errorf("handover: copy of the listener at %s: %w", l.Addr(), err)
		}
	}
	return fds, nil
}

// Duplicate returns copies of descriptors, which the caller closes.
func Duplicate(fds []int) (copies []int, err error) {
	for _, fd := range fds {
		own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			CloseAll(copies)
			return nil, fmt.Errorf("handover: copy of descriptor %d: %w", fd, err)
		}
		copies = append(copies, own)
	}
	return copies, nil
}

// Listeners makes listeners of descriptors, which are closed.
func Listeners(fds []int) (all []*net.TCPListener, err error) {
	for _, fd := range fds {
		f := fileOf(fd, "listener")
		if err == nil {
			var l net.Listener
			if l, err = net.FileListener(f); err == nil { // with a copy of the descriptor
				tcp, ok := l.(*net.TCPListener)
				if !ok {
					_ = l.Close()
					err = fmt.Errorf("handover: a listener of %s instead of tcp", l.Addr().Network())
				} else {
					all = append(all, tcp)
				}
			}
		}
		_ = f.Close()
	}
	if err != nil {
		for _, l := range all {
			_ = l.Close()
		}
		return nil, err
	}
	return all, nil
}
