package main

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// sink stands between what writes lines and a file that may be full or closed:
// a pipe whose reader has stopped, a disk without room. A goroutine of its own
// writes to the file, so that Write never waits. Lines that find no room are
// lost, counted, and told in the file as soon as there is room again.
//
// zapcore.BufferedWriteSyncer has another purpose, fewer system calls: its
// Write waits for the file when the buffer is full.
type sink struct {
	file         io.Writer
	room         int                 // bytes that may wait, with those being written
	lossLine     func(uint64) []byte // the line that says how many lines were lost; nil: none does
	wake         chan struct{}       // holds one token while the writer has work
	lost, failed atomic.Uint64       // lines lost; writes that failed

	mu         sync.Mutex // guards what follows, and is never held while anything waits
	waiting    batch
	writing    int             // bytes
	unreported uint64          // lines lost since the file was told last
	empty      []chan struct{} // closed when nothing waits
}

// batch is what is written at once.
type batch struct {
	data     []byte
	lines    uint64 // in data, without those about losses
	reported uint64 // losses that data tells of
}

// newSink starts the writer, which lives as long as the process: nothing can
// end a write to a pipe that nobody reads. tell may be nil.
func newSink(file io.Writer, room int, tell func(uint64) []byte) *sink {
	s := &sink{file: file, room: room, lossLine: tell, wake: make(chan struct{}, 1)}
	go s.run()
	return s
}

// Write takes lines. It neither waits nor fails.
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

// Sync implements zapcore.WriteSyncer. zap calls it behind a line, where
// nothing may wait; Flush is for the end.
func (s *sink) Sync() error { return nil }

// notice returns the line about what was lost, if anything was. The caller
// holds the lock.
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

// Flush waits until everything is written, or for so long at most.
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

// keptBuffer is how large a buffer may be that is kept for the next lines.
const keptBuffer = 64 << 10

// next takes what waits and leaves spare to be filled.
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

// written notes how a write went. The file is told of losses once everything
// else is written; not behind a failure, which would fail for ever.
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
