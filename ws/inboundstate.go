package ws

import (
	"encoding/binary"
	"errors"
)

// AppendState appends the message in progress, so that another process can go on with
// it. It appends nothing if there is none.
func (in *Inbound) AppendState(dst []byte) []byte {
	if !in.Active() {
		return dst
	}
	flags := byte(0)
	for i, set := range []bool{in.compressed, in.inFrame, in.fin} {
		if set {
			flags |= 1 << i
		}
	}
	dst = append(dst, byte(in.op), flags, in.text.need, in.text.lo, in.text.hi, byte(in.pos))
	dst = append(dst, in.mask[:]...)
	dst = binary.AppendUvarint(dst, uint64(in.fragments))
	dst = binary.AppendUvarint(dst, in.remaining)
	return append(dst, in.buf...)
}

var errState = errors.New("ws: the state of a message cannot be read")

// stateHead is how many bytes of a state come before its first number.
const stateHead = 10

// RestoreState makes an Inbound without a message go on with the one that AppendState has
// appended. It fails if the state is malformed, or with ErrNoMemory.
func (in *Inbound) RestoreState(p []byte) error {
	if len(p) < stateHead || in.Active() {
		return errState
	}
	op, flags, text, pos := OpCode(p[0]), p[1], utf8State{p[2], p[3], p[4]}, int(p[5])
	mask := [4]byte(p[6:stateHead])
	fragments, n := binary.Uvarint(p[stateHead:])
	if n <= 0 {
		return errState
	}
	p = p[stateHead+n:]
	remaining, n := binary.Uvarint(p)
	if n <= 0 || op != OpText && op != OpBinary || flags > 7 || text.need > 3 || pos > 3 || fragments == 0 || fragments > 1<<31 || remaining > 1<<62 {
		return errState
	}
	if p = p[n:]; len(p) > 0 && !in.enlarge(len(p)) {
		return ErrNoMemory
	}
	in.buf = append(in.buf[:0], p...)
	in.op, in.fragments, in.text = op, int(fragments), text
	in.compressed, in.inFrame, in.fin = flags&1 != 0, flags&2 != 0, flags&4 != 0
	in.mask, in.pos, in.remaining = mask, pos, remaining
	return nil
}
