package push

import (
	"bytes"
	"strconv"
	"sync/atomic"
)

// framing follows the requests on a connection in the bytes that are read, because
// net/http hides two facts. First, net/http drops a Content-Length that comes
// together with a Transfer-Encoding, and a Transfer-Encoding of HTTP/1.0. In both
// cases the connection must be closed after the request (RFC 9112 §6.1), because a
// proxy may have read the message in another way. Second, net/http does not say
// whether a body is already in its buffer.
//
// If framing cannot follow the bytes, it sets ambiguous. This closes the connection
// after the answer, and no request is refused.
type framing struct {
	state   frameState
	began   bool     // the request line was read
	line    [64]byte // the beginning of the line
	n       int      // bytes of the line so far
	last    byte     // last byte of the line except '\r'
	old     bool     // HTTP/1.0
	chunked bool
	length  int64 // of the body; -1 without a Content-Length
	left    int64 // bytes that are missing of the body or the chunk

	ambiguous atomic.Bool   // never reset
	done      atomic.Uint64 // requests read to their end
}

type frameState uint8

const (
	frameHead frameState = iota
	frameBody
	frameChunkSize
	frameChunk
	frameTrailer
	frameAmbiguous // the bytes are not followed any more
)

// scan takes the bytes that were read.
func (f *framing) scan(p []byte) {
	for len(p) > 0 {
		switch f.state {
		case frameAmbiguous:
			return
		case frameBody, frameChunk:
			n := min(f.left, int64(len(p)))
			f.left -= n
			if p = p[n:]; f.left == 0 {
				f.endData()
			}
		default:
			end := bytes.IndexByte(p, '\n')
			if end < 0 {
				f.collect(p)
				return
			}
			f.collect(p[:end])
			p = p[end+1:]
			f.endLine()
			f.n, f.last = 0, 0
		}
	}
}

// collect keeps the beginning and the last byte of a line that comes in parts.
func (f *framing) collect(part []byte) {
	if f.n < len(f.line) {
		copy(f.line[f.n:], part)
	}
	f.n += len(part)
	for i := len(part) - 1; i >= 0; i-- {
		if part[i] != '\r' {
			f.last = part[i]
			return
		}
	}
}

// endData runs at the end of a body or a chunk.
func (f *framing) endData() {
	if f.state == frameChunk {
		f.state = frameChunkSize
		return
	}
	f.endRequest()
}

func (f *framing) endRequest() {
	f.state, f.began = frameHead, false
	f.done.Add(1)
}

func (f *framing) setAmbiguous() {
	f.state = frameAmbiguous
	f.ambiguous.Store(true)
}

// endLine runs at the end of a line outside of bodies.
func (f *framing) endLine() {
	empty := f.last == 0 // the line has nothing except carriage returns
	switch f.state {
	case frameHead:
		switch {
		case !f.began && empty: // RFC 9112 §2.2
		case !f.began:
			f.began, f.old, f.chunked, f.length = true, f.last == '0', false, -1
		case empty:
			f.endHead()
		default:
			f.field()
		}
	case frameChunkSize:
		size, ok := f.number(0, 16)
		switch {
		case !ok:
			f.setAmbiguous()
		case size == 0:
			f.state = frameTrailer
		default:
			f.state, f.left = frameChunk, size+2 // with its CR LF
		}
	case frameTrailer:
		if empty {
			f.endRequest()
		}
	}
}

// endHead runs at the end of a request head.
func (f *framing) endHead() {
	if f.chunked && (f.old || f.length >= 0) {
		f.ambiguous.Store(true)
	}
	switch {
	case f.chunked && !f.old:
		f.state = frameChunkSize
	case f.length > 0:
		f.state, f.left = frameBody, f.length
	default:
		f.endRequest()
	}
}

// field reads a line of the head if it is Content-Length or Transfer-Encoding.
func (f *framing) field() {
	line := f.line[:min(f.n, len(f.line))]
	switch line[0] {
	case 'c', 'C':
		const name = "content-length:"
		if len(line) < len(name) || !bytes.EqualFold(line[:len(name)], []byte(name)) {
			return
		}
		n, ok := f.number(len(name), 10)
		if !ok {
			f.setAmbiguous() // net/http refuses it, or reads it in another way
			return
		}
		f.length = n
	case 't', 'T':
		const name = "transfer-encoding:"
		if len(line) >= len(name) && bytes.EqualFold(line[:len(name)], []byte(name)) {
			f.chunked = true
		}
	}
}

// number returns the number in the line at the offset at. Blanks before its digits
// are skipped, and everything after them is ignored.
func (f *framing) number(at, base int) (n int64, ok bool) {
	if f.n > len(f.line) && base == 10 {
		return 0, false
	}
	line := f.line[:min(f.n, len(f.line))]
	for at < len(line) && (line[at] == ' ' || line[at] == '\t') {
		at++
	}
	digits := line[at:]
	end := bytes.IndexFunc(digits, func(r rune) bool {
		return (r < '0' || r > '9') && (base == 10 || (r < 'a' || r > 'f') && (r < 'A' || r > 'F'))
	})
	if end >= 0 {
		digits = digits[:end]
	}
	n, err := strconv.ParseInt(string(digits), base, 62) // 62 bits: the caller can add to it
	return n, err == nil
}
