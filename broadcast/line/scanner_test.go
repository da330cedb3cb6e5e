package line

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

// seeds are inputs with every kind of operation, also written in unusual ways.
func seeds() [][]byte {
	return [][]byte{
		[]byte("INFO {\"a\":1}\r\nMSG a 1 5\r\nhello\r\nPING\r\n"),
		[]byte("MSG a 1 reply 0\r\n\r\nHMSG a 1 12 17\r\nNATS/1.0\r\n\r\nhello\r\n+OK\r\n"),
		[]byte("SUB a 1\r\nSUB a queue 2\r\nPUB a 3\r\nMSG\r\nHPUB a 12 14\r\nNATS/1.0\r\n\r\nhi\r\nUNSUB 1 5\r\nUNSUB 2\r\nPONG\r\n"),
		[]byte("msg a 1\t 2 \t\r\nab\r\npub\ta 1\na\r\nmSg a 1 0000000002\r\nab\r\n-ERR 'x'\r\n"),
		[]byte("MSG a 1 x\r\nMSG 12345678901\r\nPUB \r\nHMSGS a 1 1\r\n"),
		[]byte("PUB a 1234567890\r\n"), []byte("MSG a 5"), []byte("\n\n\r\nMSG 7\r\nPONG\r\n\r\n"),
	}
}

// scanned is what a scanner makes of an input.
type scanned struct {
	lines   []string // without a payload
	payload int
	partial string
	failed  bool
}

func scan(pieces ...[]byte) (r scanned) {
	var s scanner
	for _, p := range pieces {
		if err := s.all(p, func(line []byte) { r.lines = append(r.lines, string(line)) }); err != nil {
			return scanned{failed: true, lines: r.lines}
		}
	}
	r.payload, r.partial = s.payload, string(s.partial)
	return r
}

func (r scanned) equal(o scanned) bool {
	return slices.Equal(r.lines, o.lines) && r.payload == o.payload && r.partial == o.partial && r.failed == o.failed
}

// A scanner finds the same however its input is divided.
func FuzzScanner(f *testing.F) {
	for _, s := range seeds() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) > 1<<12 {
			return
		}
		one := scan(p)
		var single [][]byte
		for i := range p {
			single = append(single, p[i:i+1])
			if two := scan(p[:i], p[i:]); !two.equal(one) {
				t.Fatalf("divided at %d: %+v, and in one piece: %+v", i, two, one)
			}
		}
		if many := scan(single...); !many.equal(one) {
			t.Fatalf("byte by byte: %+v, and in one piece: %+v", many, one)
		}
	})
}

// inheritor is a connection that has inherited two subscriptions.
func inheritor() *Conn {
	c := inherit(&State{Generation: 3, Subs: []Sub{{Subject: "a", SID: "4-1"}, {Subject: "a", Queue: "queue", SID: "9"}}}, nil)
	c.greeting, c.skip = nil, 1
	c.in.ready = nil
	return c
}

// translated returns what an inherited connection makes of an input, in each direction.
func translated(pieces ...[]byte) (out, in []byte, err error) {
	c := inheritor()
	for _, p := range pieces {
		out = append(out, c.translateOut(p)...)
	}
	c.hold.Store(nil)
	for _, p := range pieces {
		c.in.raw = p
		if err := c.translateIn(); err != nil {
			return nil, nil, err
		}
		in = append(in, c.in.ready...)
	}
	return out, in, nil
}

// An inherited connection translates the same however its input is divided.
func FuzzTranslation(f *testing.F) {
	for _, s := range seeds() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) > 1<<10 {
			return
		}
		if scan(p).failed {
			return // nats.go and the server do not write that
		}
		out, in, err := translated(p)
		if err != nil {
			t.Fatal(err)
		}
		for i := range p {
			out2, in2, err := translated(p[:i], p[i:])
			if err != nil || !bytes.Equal(out, out2) || !bytes.Equal(in, in2) {
				t.Fatalf("divided at %d: %q %q %v, and in one piece: %q %q", i, out2, in2, err, out, in)
			}
		}
	})
}

// A boundary is behind the payload and its line end, and nowhere else.
func TestBoundaries(t *testing.T) {
	p := []byte("PING\r\nMSG a 1 5\r\na\r\nb\n\r\nHMSG a 1 12 17\r\nNATS/1.0\r\n\r\nhello\r\nPONG\r\n")
	var s scanner
	var at []int
	for i := range p {
		if err := s.all(p[i:i+1], func([]byte) {}); err != nil {
			t.Fatal(err)
		}
		if s.aligned() {
			at = append(at, i+1)
		}
	}
	if want := []int{6, 24, 59, 65}; !slices.Equal(at, want) {
		t.Errorf("boundaries at %v, want %v", at, want)
	}
	if got := fmt.Sprint(scan(p).lines); got != "[PING\r\n PONG\r\n]" {
		t.Errorf("lines without a payload: %q", got)
	}
}
