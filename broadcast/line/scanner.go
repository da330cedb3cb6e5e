package line

import (
	"bytes"
	"errors"
)

// maxLine is the longest control line that a scanner takes. Lines of the server's INFO
// are the longest: they name every server of a cluster.
const maxLine = 1 << 20

var (
	errLongLine = errors.New("line: a NATS control line is longer than 1 MiB")
	errNoSize   = errors.New("line: a NATS control line does not end with the size of its payload")
)

// scanner finds the boundaries between the operations of the NATS client protocol, in
// one direction of a connection. An operation is a control line that ends with LF; MSG
// and HMSG, PUB and HPUB are followed by a payload and CRLF.
// https://docs.nats.io/reference/reference-protocols/nats-protocol
type scanner struct {
	payload int    // bytes to come of the payload and its CRLF
	partial []byte // the beginning of a control line whose end has not come
}

// aligned reports whether the last operation is complete.
func (s *scanner) aligned() bool { return s.payload == 0 && len(s.partial) == 0 }

// need returns the number of bytes that can be read without reading beyond the present
// operation. The end of a control line is only known when it comes.
func (s *scanner) need() int { return max(s.payload, 1) }

// step takes the front of p, which is not empty, and returns the number of bytes that
// it took: to the end of a control line, or to the end of a payload. With the end of a
// control line it returns the line, which is valid until the next call.
func (s *scanner) step(p []byte) (n int, line []byte, err error) {
	if s.payload > 0 {
		n = min(s.payload, len(p))
		s.payload -= n
		return n, nil, nil
	}
	end := bytes.IndexByte(p, '\n')
	if end < 0 {
		if len(s.partial)+len(p) > maxLine {
			return 0, nil, errLongLine
		}
		s.partial = append(s.partial, p...)
		return len(p), nil, nil
	}
	n, line = end+1, p[:end+1]
	if len(s.partial) > 0 {
		line = append(s.partial, line...)
		s.partial = line[:0]
		if cap(s.partial) > 4096 {
			s.partial = nil
		}
	}
	if hasPayload(line) {
		size, ok := lastNumber(line)
		if !ok {
			return 0, nil, errNoSize
		}
		s.payload = size + len("\r\n")
	}
	return n, line, nil
}

// all takes p without looking at its lines, except that it calls look with each control
// line that has no payload.
func (s *scanner) all(p []byte, look func(line []byte)) error {
	for len(p) > 0 {
		n, line, err := s.step(p)
		if err != nil {
			return err
		}
		if line != nil && s.payload == 0 {
			look(line)
		}
		p = p[n:]
	}
	return nil
}

// hasPayload reports whether a payload follows a control line. The names of operations
// are not case-sensitive.
func hasPayload(line []byte) bool {
	if len(line) < 4 {
		return false
	}
	if line[0]|0x20 == 'h' { // HMSG, HPUB
		line = line[1:]
	}
	if len(line) < 4 || line[3] != ' ' && line[3] != '\t' {
		return false
	}
	switch [3]byte{line[0] | 0x20, line[1] | 0x20, line[2] | 0x20} {
	case [3]byte{'m', 's', 'g'}, [3]byte{'p', 'u', 'b'}:
		return true
	}
	return false
}

// lastNumber returns the number at the end of a control line.
func lastNumber(line []byte) (v int, ok bool) {
	end := len(line)
	for end > 0 && (line[end-1] == '\n' || line[end-1] == '\r' || line[end-1] == ' ' || line[end-1] == '\t') {
		end--
	}
	begin := end
	for begin > 0 && '0' <= line[begin-1] && line[begin-1] <= '9' {
		begin--
	}
	if begin == end || end-begin > 10 || begin == 0 || line[begin-1] != ' ' && line[begin-1] != '\t' {
		return 0, false
	}
	for _, c := range line[begin:end] {
		v = v*10 + int(c-'0')
	}
	return v, true
}

// is reports whether a control line is the operation op, which is in lower case.
func is(line []byte, op string) bool {
	if len(line) <= len(op) || line[len(op)] > ' ' {
		return false
	}
	for i := range len(op) {
		if line[i]|0x20 != op[i] {
			return false
		}
	}
	return true
}
