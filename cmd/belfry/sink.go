package main

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// sink is between the writers of lines and a file that may not accept them: a
// pipe whose reader has stopped, or a full disk. A separate goroutine writes to
// the file, so Write never waits. Lines that do not fit into the buffer are
// lost and counted, and the file gets a line about them when it accepts lines
// again.
//
// zapcore.BufferedWriteSyncer is for fewer system calls: its Write waits for
// the file when the buffer is full.
type sink struct {
	file         io.Writer
	room         int                 // bytes that may wait, including those being written
	lossLine     func(uint64) []byte // makes the line about lost lines; nil: there is none
	wake         chan struct{}       // holds one token while the writer has work
	lost, failed atomic.Uint64       // lines lost; writes that failed

	mu         sync.Mutex // guards the fields below; never held while anything waits
	waiting    batch
	writing    int             // bytes
	unreported uint64          // lines lost since the last line about them
	empty      []chan struct{} // closed when nothing waits
}

// batch is the data of one write.
type batch struct {
	data     []byte
	lines    uint64 // lines in data, without those about losses
	reported uint64 // lost lines that data reports
}

// newSink starts the writer, which runs until the process ends, because nothing
// can interrupt a write to a pipe that nobody reads. tell may be nil.
func newSink(file io.Writer, room int, tell func(uint64) []byte) *sink {
	s := &sink{file: file, room: room, lossLine: tell, wake: make(chan struct{}, 1)}
	go s.run()
	return s
}

// Write adds lines to the buffer. It neither waits nor fails.
func (s *sink) Write(lines []byte) (int, error) {
	count := uint64(bytes.Count(lines, []byte("\n")))
	s.mu.Lock()
	defer s.mu.Unlock()
	free := s.room - s.writing - len(s.waiting.data) - len(lines)
	if free < 0 {
		s.lost.Add(count)
		s.unreported += count
		return len(lines), nil
	}
	if notice := s.notice(); len(notice) <= free {
		s.add(notice)
	}
	s.waiting.data = append(s.waiting.data, lines...)
	s.waiting.lines += count
	s.signal()
	return len(lines), nil
}

// Sync implements zapcore.WriteSyncer and does nothing: zap calls it after a
// line, when nothing may wait. Flush is for the end of the process.
func (s *sink) Sync() error { return nil }

// notice returns the line about lost lines, if there are any. The caller holds
// the lock.
func (s *sink) notice() []byte {
	if s.unreported == 0 || s.lossLine == nil {
		return nil
	}
	return s.lossLine(s.unreported)
}

func (s *sink) add(notice []byte) {
	if notice != nil {
		s.waiting.data = append(s.waiting.data, notice...)
		s.waiting.reported += s.unreported
		s.unreported = 0
	}
}

func (s *sink) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Flush waits until everything is written, at most for the given time.
func (s *sink) Flush(limit time.Duration) {
	done := make(chan struct{})
	s.mu.Lock()
	if s.writing == 0 && len(s.waiting.data) == 0 {
		close(done)
	} else {
		s.empty = append(s.empty, done)
	}
	s.mu.Unlock()
	select {
	case <-done:
	case <-time.After(limit):
	}
}

func (s *sink) run() {
	var b batch
	for range s.wake {
		for ok := true; ok; {
			b.data = b.data[:0]
			if b, ok = s.next(b.data); ok {
				_, err := s.file.Write(b.data)
				s.written(&b, err)
			}
		}
	}
}

// keptBuffer is the largest buffer that is kept for the next lines, in bytes.
const keptBuffer = 64 << 10

// next takes the waiting lines and leaves spare as the next buffer.
func (s *sink) next(spare []byte) (batch, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting.data) == 0 {
		for _, done := range s.empty {
			close(done)
		}
		s.empty = nil
		return batch{data: spare}, false
	}
	if cap(spare) > keptBuffer {
		spare = nil
	}
	b := s.waiting
	s.waiting = batch{data: spare}
	s.writing = len(b.data)
	return b, true
}

// written records the result of a write. The line about losses comes when
// everything else is written, but not after a failed write, because it would
// fail for ever.
func (s *sink) written(b *batch, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing = 0
	if err != nil {
		s.failed.Add(1)
		s.lost.Add(b.lines)
		s.unreported += b.lines + b.reported
		return
	}
	if len(s.waiting.data) == 0 {
		s.add(s.notice())
	}
}
