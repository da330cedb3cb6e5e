package push

import (
	"bytes"
	"strconv"
	"sync/atomic"
)

// framing follows the requests on a connection, byte by byte as they are read,
// since net/http hides two things. It drops a Content-Length that comes
// together with a Transfer-Encoding, and a Transfer-Encoding of HTTP/1.0: after
// either the connection has to be closed (RFC 9112 §6.1), because a proxy in
// front may have understood the message in another way. And it does not tell
// whether a body is in its buffer or still on its way.
//
// Where framing cannot follow it says faulty, which costs a connection and no
// request.
type framing struct {
	state   frameState
	began   bool     // the head has its request line
	line    [64]byte // how the line begins
	n       int      // bytes of the line so far
	last    byte     // of the line, '\r' aside
	old     bool     // HTTP/1.0
	chunked bool
	length  int64 // of the body; -1 without a Content-Length
	left    int64 // bytes of the body or the chunk still to come

	ambiguous atomic.Bool   // for good
	done      atomic.Uint64 // requests read to their end
}

type frameState uint8

const (
	frameHead frameState = iota
	frameBody
	frameChunkSize
	frameChunk
	frameTrailer
	frameAmbiguous // faulty; nothing is followed any more
)

// scan follows what was read.
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

// collect keeps how a line begins and ends.
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

func (f *framing) endLine() {
	empty := f.last == 0 // at most carriage returns
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
			f.state, f.left = frameChunk, size+2 // and its CR LF
		}
	case frameTrailer:
		if empty {
			f.endRequest()
		}
	}
}

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

// field looks at a line of the head for the two fields that decide.
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
			f.setAmbiguous() // net/http refuses it, or reads it otherwise
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

// number reads digits of the line from a place on, blanks before them aside.
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
	n, err := strconv.ParseInt(string(digits), base, 62) // room for what is added to it
	return n, err == nil
}
