package idempotency

import (
	"encoding/binary"
	"time"
)

// Heritage returns the keys that this node knows, for a process that goes on as the same
// node. No request of this node is in progress any more.
//
// An entry is, all numbers big-endian: id of the key (16) · hash of the request (16) ·
// owner (4) · number of the claim (8) · time in nanoseconds since 1970 (8) · flags (1:
// done, 2: firm) · length (4) · answer as in a command. The number of the last claim (8)
// and the time when a node came or went (8) come first.
func (k *Keys) Heritage() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.store.expire(time.Now())
	p := binary.BigEndian.AppendUint64(nil, k.number)
	p = binary.BigEndian.AppendUint64(p, uint64(k.changed.UnixNano()))
	for e := k.store.oldest; e != nil; e = e.newer {
		p = append(append(p, e.id[:]...), e.print[:]...)
		p = binary.BigEndian.AppendUint32(p, e.owner)
		p = binary.BigEndian.AppendUint64(p, e.claim)
		p = binary.BigEndian.AppendUint64(p, uint64(e.since.UnixNano()))
		flags, answer := byte(0), []byte(nil)
		if e.done {
			flags, answer = flags|flagDone, appendAnswer(nil, &e.answer)
		}
		if e.firm {
			flags |= flagFirm
		}
		p = binary.BigEndian.AppendUint32(append(p, flags), uint32(len(answer)))
		p = append(p, answer...)
	}
	return p
}

const (
	flagDone = 1
	flagFirm = 2

	entryHead = len(ID{}) + len(Print{}) + 4 + 8 + 8 + 1 + 4
)

// Inherit takes over the keys that Heritage returned in the process before. Keys beyond
// MaxKeys and MaxBytes are forgotten, the oldest first, and counted.
func (k *Keys) Inherit(p []byte) error {
	if len(p) < 16 {
		return errBody
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.number = max(k.number, binary.BigEndian.Uint64(p))
	k.inherited = time.Unix(0, int64(binary.BigEndian.Uint64(p[8:])))
	for p = p[16:]; len(p) > 0; {
		if len(p) < entryHead {
			return errBody
		}
		e := new(entry)
		n := copy(e.id[:], p)
		n += copy(e.print[:], p[n:])
		e.owner = binary.BigEndian.Uint32(p[n:])
		e.claim = binary.BigEndian.Uint64(p[n+4:])
		e.since = time.Unix(0, int64(binary.BigEndian.Uint64(p[n+12:])))
		flags, size := p[n+20], int(binary.BigEndian.Uint32(p[n+21:]))
		if p = p[entryHead:]; size > len(p) {
			return errBody
		}
		e.done, e.firm = flags&flagDone != 0, flags&flagFirm != 0
		if e.done {
			var err error
			if e.answer, err = readAnswer(p[:size]); err != nil {
				return err
			}
		}
		p = p[size:]
		if k.store.entries[e.id] == nil {
			k.store.put(e)
		}
	}
	return nil
}

// Settled says that this node knows the members that the process before knew: it need not
// wait for them, and no key is known to other nodes only. It is called after Inherit.
func (k *Keys) Settled() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.started, k.changed = k.inherited, k.inherited
}
