package push

import (
	"bytes"
	"errors"
	"io"
)

// errLineTooLong is returned once for a line above the limit. The rest of the line
// is skipped.
var errLineTooLong = errors.New("line too long")

// lineSlack is the smallest number of bytes by which the buffer grows, and the
// largest number by which it may exceed the longest line.
const lineSlack = 4096

// lineReader splits a stream into lines. It reads only if its buffer has no
// complete line, so that answers can be flushed before it waits.
type lineReader struct {
	src        io.Reader
	beforeRead func() // called before every read
	beforeLine func() // called before the first read of a line, or of the rest
	max        int    // bytes of a line without its newline
	buf        []byte // buf[start:end] was read and is not yet returned
	start, end int
	searched   int       // buf[start:searched] has no newline
	reading    bool      // beforeLine was called for this line, or for the rest
	held       heldBytes // the bytes by which buf grew
	skipping   bool      // the next bytes are the rest of a line that was too long
	err        error
}

// next returns the next line without its newline, borrowed until the next call.
// The last line needs no newline. A line that is interrupted by an error other
// than io.EOF is not returned.
func (r *lineReader) next() ([]byte, error) {
	for {
		if i := bytes.IndexByte(r.buf[r.searched:r.end], '\n'); i >= 0 {
			line := r.buf[r.start : r.searched+i]
			r.start = r.searched + i + 1
			r.searched = r.start
			r.reading = false
			if r.skipping {
				r.skipping = false
				continue
			}
			if len(line) > r.max {
				return nil, errLineTooLong
			}
			return bytes.TrimSuffix(line, []byte{'\r'}), nil
		}
		r.searched = r.end
		if r.skipping || r.end-r.start > r.max {
			r.start, r.end, r.searched = 0, 0, 0
			if !r.skipping {
				r.skipping = true
				return nil, errLineTooLong
			}
		}
		if r.err != nil {
			line := r.buf[r.start:r.end]
			r.start = r.end
			if r.err == io.EOF && len(line) > 0 {
				return line, nil
			}
			return nil, r.err
		}
		r.fill()
	}
}

// rest reads to the end of the stream, but not much more than most bytes. It
// reports whether it reached the end.
func (r *lineReader) rest(most int) bool {
	r.reading = false
	for read := 0; r.err == nil && read < most; read += r.end {
		r.start, r.end, r.searched = 0, 0, 0
		r.fill()
	}
	return r.err == io.EOF
}

// fill reads once into buf, and grows buf if it is full.
func (r *lineReader) fill() {
	if r.start > 0 {
		copy(r.buf, r.buf[r.start:r.end])
		r.end -= r.start
		r.start, r.searched = 0, r.end
	}
	if r.end == len(r.buf) {
		size := max(min(2*len(r.buf), r.max+lineSlack), len(r.buf)+lineSlack)
		if r.err = r.held.take(size - len(r.buf)); r.err != nil {
			return
		}
		grown := make([]byte, size)
		copy(grown, r.buf[:r.end])
		r.buf = grown
	}
	r.beforeRead()
	if !r.reading {
		r.reading = true
		r.beforeLine()
	}
	for range 100 { // a reader that returns no bytes a hundred times is broken
		n, err := r.src.Read(r.buf[r.end:])
		r.end += n
		if r.err = err; n > 0 || err != nil {
			return
		}
	}
	r.err = io.ErrNoProgress
}
