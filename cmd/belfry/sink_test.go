package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// gate is a file whose writes wait until the test lets them pass.
type gate struct {
	bytes.Buffer
	begun  chan struct{}
	result chan error
}

func newGate() *gate { return &gate{begun: make(chan struct{}), result: make(chan error)} }

func (g *gate) Write(p []byte) (int, error) {
	g.begun <- struct{}{}
	if err := <-g.result; err != nil {
		return 0, err
	}
	return g.Buffer.Write(p)
}

// takes lets one write pass.
func (g *gate) takes(err error) {
	<-g.begun
	g.result <- err
}

func tellLost(n uint64) []byte { return fmt.Appendf(nil, "%d lost\n", n) }

func TestSinkLosesWhatDoesNotFit(t *testing.T) {
	g := newGate()
	s := newSink(g, 20, tellLost)
	s.Write([]byte("one\n"))
	<-g.begun // the writer stays in the write
	for _, line := range []string{"two\n", "three\n", "a line that is too long\n", "four\n"} {
		if n, err := s.Write([]byte(line)); n != len(line) || err != nil {
			t.Errorf("%q: %d, %v", line, n, err)
		}
	}
	if lost := s.lost.Load(); lost != 1 {
		t.Errorf("%d lost; want 1", lost)
	}
	s.Flush(time.Millisecond) // returns although nothing is written
	g.result <- nil
	for range 2 { // the lines that waited, then the line about losses
		g.takes(nil)
	}
	s.Flush(waitLimit)
	if got := g.String(); got != "one\ntwo\nthree\nfour\n1 lost\n" {
		t.Errorf("got %q", got)
	}
}

func TestSinkTellsOfFailedWrites(t *testing.T) {
	g := newGate()
	s := newSink(g, 100, tellLost)
	s.Write([]byte("one\ntwo\n"))
	g.takes(errors.New("closed"))
	s.Flush(waitLimit)
	s.Write([]byte("three\n")) // with the line about losses, and both are lost
	g.takes(errors.New("closed"))
	s.Flush(waitLimit)
	s.Write([]byte("four\n"))
	g.takes(nil)
	s.Flush(waitLimit)
	if got := g.String(); got != "3 lost\nfour\n" {
		t.Errorf("got %q", got)
	}
	if lost, failed := s.lost.Load(), s.failed.Load(); lost != 3 || failed != 2 {
		t.Errorf("%d lost, %d failed; want 3, 2", lost, failed)
	}
}

func TestSinkKeepsNoLargeBuffer(t *testing.T) {
	var out bytes.Buffer
	s := newSink(&out, 1<<20, nil)
	for range 8 {
		s.Write([]byte(strings.Repeat("x", keptBuffer) + "\n"))
	}
	s.Flush(waitLimit)
	for range 2 { // each of the two buffers
		s.Write([]byte("y\n"))
		s.Flush(waitLimit)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := cap(s.waiting.data); n > keptBuffer {
		t.Errorf("%d bytes are kept", n)
	}
}
