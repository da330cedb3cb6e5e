package push

import (
	"bytes"
	"errors"
	"io"
)

// errLineTooLong is returned once for a line above the limit; the rest of
// that line is skipped.
var errLineTooLong = errors.New("line too long")

// lineSlack is the least by which the buffer grows, and what it may be longer
// by than the longest line.
const lineSlack = 4096

// lineReader cuts a stream into lines. It reads only when it holds no whole
// line, so that what was answered can be flushed before it waits.
type lineReader struct {
	src        io.Reader
	beforeRead func() // before every read
	beforeLine func() // before the first read for a line, or for the rest
	max        int    // bytes of a line without its newline
	buf        []byte // buf[start:end] is read and not yet returned
	start, end int
	searched   int       // buf[start:searched] has no newline
	reading    bool      // a part of the line, or of the rest, was waited for
	held       heldBytes // what buf grew by
	skipping   bool      // in the rest of a line that was too long
	err        error
}

// next returns the next line without its newline, borrowed until the next
// call. The last line needs no newline. A line that breaks off with an error
// other than io.EOF is not returned.
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

// rest reads on to the end, no more than about most bytes, and says whether it
// got there.
func (r *lineReader) rest(most int) bool {
	r.reading = false
	for read := 0; r.err == nil && read < most; read += r.end {
		r.start, r.end, r.searched = 0, 0, 0
		r.fill()
	}
	return r.err == io.EOF
}

// fill reads once.
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
	for range 100 { // a reader that returns nothing for ever is broken
		n, err := r.src.Read(r.buf[r.end:])
		r.end += n
		if r.err = err; n > 0 || err != nil {
			return
		}
	}
	r.err = io.ErrNoProgress
}
