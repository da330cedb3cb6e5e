package idempotency

import (
	"encoding/binary"
	"errors"

	"belfry/broadcast"
)

// kind is the kind of all commands: one, so that they are handled in the order in which
// they were sent.
const kind = "idem"

// A command is, all numbers big-endian:
//
//	operation (1) · id of the key (16) · hash of the request (16) · number of the claim (8)
//	and with opFinish: status (2) · body of the answer
//
// The answer of an ask has a code (1), and with codeDone: status (2) · body.
type operation byte

const (
	opClaim   operation = 'c' // an ask: claim the key, you are its home
	opKnow    operation = 'k' // an ask: do you know the key? Remember that it is claimed
	opFinish  operation = 'f' // a tell: this is the answer
	opRelease operation = 'r' // a tell: nothing was delivered, the key is free again
)

type code byte

const (
	codeNew      code = 'n' // the key is not known here
	codeUnsure   code = 'u' // so is it here, and other nodes have to be asked
	codeProgress code = 'p' // another request has it
	codeDone     code = 'd'
	codeOther    code = 'o' // it is of another request
	codeNotHome  code = 'h' // this node is not the home, as far as it knows
	codeFull     code = 'x' // there is no room
)

const headSize = 1 + len(ID{}) + len(Print{}) + 8

// MaxBody limits the body of an answer that is remembered, in bytes.
const MaxBody = broadcast.MaxControlBody - headSize - 2

var errBody = errors.New("the body is not valid; all nodes should run the same version")

// command is what one node tells or asks another.
type command struct {
	op     operation
	id     ID
	print  Print
	claim  uint64
	answer Answer // with opFinish
}

func (c *command) encode() []byte {
	p := make([]byte, 0, headSize+2+len(c.answer.Body))
	p = append(append(append(p, byte(c.op)), c.id[:]...), c.print[:]...)
	p = binary.BigEndian.AppendUint64(p, c.claim)
	if c.op == opFinish {
		p = appendAnswer(p, &c.answer)
	}
	return p
}

func decode(p []byte) (c command, err error) {
	if len(p) < headSize {
		return c, errBody
	}
	c.op = operation(p[0])
	n := 1 + copy(c.id[:], p[1:])
	n += copy(c.print[:], p[n:])
	c.claim = binary.BigEndian.Uint64(p[n:])
	rest := p[headSize:]
	switch c.op {
	case opClaim, opKnow, opRelease:
		if len(rest) > 0 {
			return c, errBody
		}
	case opFinish:
		c.answer, err = readAnswer(rest)
	default:
		return c, errBody
	}
	return c, err
}

func appendAnswer(p []byte, a *Answer) []byte {
	return append(binary.BigEndian.AppendUint16(p, uint16(a.Status)), a.Body...)
}

func readAnswer(p []byte) (a Answer, err error) {
	if len(p) < 2 || len(p)-2 > MaxBody {
		return a, errBody
	}
	a.Status = int(binary.BigEndian.Uint16(p))
	if a.Status < 100 || a.Status > 599 {
		return a, errBody
	}
	a.Body = append([]byte(nil), p[2:]...)
	return a, nil
}

// encodeReply is the answer to an ask.
func encodeReply(c code, a *Answer) []byte {
	if c != codeDone {
		return []byte{byte(c)}
	}
	return appendAnswer([]byte{byte(c)}, a)
}

func decodeReply(p []byte) (c code, a Answer, err error) {
	if len(p) == 0 {
		return c, a, errBody
	}
	c = code(p[0])
	switch {
	case c == codeDone:
		a, err = readAnswer(p[1:])
	case len(p) > 1:
		err = errBody
	}
	return c, a, err
}
