package session

import "belfry/message"

// Changes says which sessions of users have opened and closed, in the order in which
// it happened on one shard. Sessions without a user are not in it.
type Changes []byte

// A change is a byte (changeClosed, changeOpened, changeClassed), the length and bytes of
// the uid, and the key; after changeClassed the length and bytes of the device class.
const (
	changeClosed  = iota
	changeOpened  // a session without a device class
	changeClassed // one with a device class
)

// Each calls f for each change. class is the device class of a session that has opened,
// empty if it has none. uid and class are borrowed until f returns.
func (c Changes) Each(f func(opened bool, uid []byte, key message.SessionKey, class []byte)) {
	for len(c) > 0 {
		op, end := c[0], 2+int(c[1])
		uid, key := c[2:end:end], message.SessionKey(c[end:])
		var class []byte
		if c = c[end+len(key):]; op == changeClassed {
			end = 1 + int(c[0])
			class, c = c[1:end:end], c[end:]
		}
		f(op != changeClosed, uid, key, class)
	}
}

// append appends a change. class is "" for a session that has closed.
func (c Changes) append(opened bool, uid []byte, key *message.SessionKey, class string) Changes {
	head := [2]byte{changeClosed, byte(len(uid))} // a uid has at most 128 bytes
	switch {
	case class != "":
		head[0] = changeClassed
	case opened:
		head[0] = changeOpened
	}
	c = append(append(append(c, head[:]...), uid...), key[:]...)
	if class != "" {
		c = append(append(c, byte(len(class))), class...)
	}
	return c
}

// changeFeed collects the changes of a shard during a turn for Options.Changed. Owned
// by the shard.
type changeFeed struct {
	env
	users  *users
	grants *grants
	batch  Changes
}

func (f *changeFeed) init(e *env, us *users, g *grants) { f.env, f.users, f.grants = *e, us, g }

// opened is called when a session is open, closed while it still has its user.
func (f *changeFeed) opened(slot uint32, rec *record) { f.add(true, slot, rec) }
func (f *changeFeed) closed(slot uint32, rec *record) {
	if rec.openedAt != 0 {
		f.add(false, slot, rec)
	}
}

func (f *changeFeed) add(opened bool, slot uint32, rec *record) {
	if f.opt.Changed == nil || rec.uid == 0 {
		return
	}
	if len(f.batch) == 0 {
		f.ps.Wake() // sessions close after OnWork
	}
	key, class := f.sid(slot).Key(&f.opt.Key), ""
	if opened {
		class = f.grants.className(rec)
	}
	f.batch = f.batch.append(opened, f.users.uid(rec), &key, class)
}

// keptBatch is the room that is kept for the changes of later turns, in bytes.
const keptBatch = 16 << 10

// flush tells what has changed.
func (f *changeFeed) flush() {
	if len(f.batch) == 0 {
		return
	}
	batch := f.batch
	if f.batch = batch[:0]; cap(batch) > keptBatch {
		f.batch = nil
	}
	f.opt.Changed(batch)
}
