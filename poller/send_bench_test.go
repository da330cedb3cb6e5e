package poller

import (
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkSend sends a shared frame to many connections. They are UDP sockets
// whose receiver does not read: the kernel drops the bytes that it takes, so
// nothing ever waits and the benchmark needs no reader.
func BenchmarkSend(b *testing.B) {
	for _, way := range []struct {
		name string
		o    Options
	}{{"io_uring", Options{}}, {"sendto", Options{NoRing: true}}} {
		b.Run(way.name, func(b *testing.B) {
			const conns = 1024
			var ids []ID
			r := backlogRig(b, way.o)
			to := silentReceiver(b)
			for range conns {
				fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
				if err != nil {
					b.Fatal(err)
				}
				if err := unix.Connect(fd, to); err != nil {
					b.Fatal(err)
				}
				ids = append(ids, r.adopt(0, Socket{FD: fd}))
			}
			p := Shared(NewFrames(numbered(1, 100, 0)))
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += conns {
				r.on(0, func(s *Shard) {
					for _, id := range ids[:min(conns, b.N-n)] {
						s.Send(id.Slot(), p, Data)
					}
				})
			}
		})
	}
}

// silentReceiver returns the address of a UDP socket that is not read.
func silentReceiver(b *testing.B) unix.Sockaddr {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { unix.Close(fd) })
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1); err != nil {
		b.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		b.Fatal(err)
	}
	to, err := unix.Getsockname(fd)
	if err != nil {
		b.Fatal(err)
	}
	return to
}
