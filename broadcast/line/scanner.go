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
		if s.payload == 0 && len(s.partial) == 0 {
			if size := whole(p); size > 0 && size <= len(p) { // nearly all that comes
				p = p[size:]
				continue
			}
		}
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

// The first four bytes of operations with a payload, as servers and nats.go write them.
const (
	opMsg  = 'M' | 'S'<<8 | 'G'<<16 | ' '<<24
	opHMsg = 'H' | 'M'<<8 | 'S'<<16 | 'G'<<24
	opPub  = 'P' | 'U'<<8 | 'B'<<16 | ' '<<24
	opHPub = 'H' | 'P'<<8 | 'U'<<16 | 'B'<<24
)

// whole returns the size of the operation at the front of p with its payload, which may
// be more than len(p). It returns 0 if step has to tell: the operation has no payload, is
// written in another way, or its control line does not end in p.
func whole(p []byte) int {
	if len(p) < 8 {
		return 0
	}
	switch uint32(p[0]) | uint32(p[1])<<8 | uint32(p[2])<<16 | uint32(p[3])<<24 {
	case opMsg, opPub:
	case opHMsg, opHPub:
		if p[4] != ' ' {
			return 0
		}
	default:
		return 0
	}
	end := bytes.IndexByte(p, '\n')
	if end < 8 || p[end-1] != '\r' {
		return 0
	}
	size, unit := 0, 1
	i := end - 2
	for ; p[i]-'0' <= 9; i-- { // ends at the blank before, which is there
		size += int(p[i]-'0') * unit
		if unit *= 10; unit > 1e9 {
			return 0
		}
	}
	if unit == 1 || p[i] != ' ' {
		return 0
	}
	return end + 1 + size + len("\r\n")
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
