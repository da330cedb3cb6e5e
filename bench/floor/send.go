package floor

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"

	"belfry/bench"
)

// sender is one thread that writes.
type sender struct{ jobs chan job }

type job struct {
	fds   []int32
	frame []byte
	wrote chan<- int
}

func startSender() *sender {
	s := &sender{jobs: make(chan job)}
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for j := range s.jobs {
			wrote := 0
			for _, fd := range j.fds {
				if rawWrite(fd, j.frame) {
					wrote++
				}
			}
			j.wrote <- wrote
		}
	}()
	return s
}

// Send writes one frame to every connection and returns when all were written.
// The given number of threads share the connections evenly. It must be called
// from one goroutine.
func (f *Floor) Send(s bench.Send) (bench.Sent, error) {
	if s.Threads < 1 || s.Threads > len(f.senders) {
		return bench.Sent{}, fmt.Errorf("threads: %d; allowed are 1 to %d", s.Threads, len(f.senders))
	}
	if s.Size < bench.MinPayload || s.Size > bench.MaxFrame {
		return bench.Sent{}, fmt.Errorf("size: %d; allowed are %d to %d", s.Size, bench.MinPayload, bench.MaxFrame)
	}
	fds := f.snapshot()
	sent := bench.Sent{Start: f.clock.Now()}
	if s.Stamp == 0 {
		s.Stamp = sent.Start
	}
	f.payload = bench.AppendPayload(f.payload[:0], bench.Broadcast, s.Seq, s.Stamp, s.Size)
	f.frame = bench.AppendTextFrame(f.frame[:0], f.payload)
	wrote := make(chan int, s.Threads)
	for i := range s.Threads {
		part := fds[len(fds)*i/s.Threads : len(fds)*(i+1)/s.Threads]
		f.senders[i].jobs <- job{part, f.frame, wrote}
	}
	for range s.Threads {
		sent.Written += <-wrote
	}
	sent.End = f.clock.Now()
	sent.Failed = len(fds) - sent.Written
	var use unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &use); err != nil {
		return sent, fmt.Errorf("getrusage: %w", err)
	}
	sent.CPU = use.Utime.Nano() + use.Stime.Nano()
	return sent, nil
}

// snapshot returns a copy of the sockets of all shards, because connections may
// still arrive.
func (f *Floor) snapshot() []int32 {
	all := make([]int32, 0, f.Count())
	for _, s := range f.shards {
		s.mu.Lock()
		all = append(all, s.fds...)
		s.mu.Unlock()
	}
	return all
}
