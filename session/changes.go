package session

import "belfry/message"

// Changes says which sessions of users have opened and closed, in the order in which
// it happened on one shard. Sessions without a user are not in it.
type Changes []byte

// A change is a byte (1: opened), the length and bytes of the uid, and the key.

// Each calls f for each change. uid is borrowed until f returns.
func (c Changes) Each(f func(opened bool, uid []byte, key message.SessionKey)) {
	for len(c) > 0 {
		end := 2 + int(c[1])
		key := message.SessionKey(c[end:])
		f(c[0] == 1, c[2:end:end], key)
		c = c[end+len(key):]
	}
}

// append appends a change.
func (c Changes) append(opened bool, uid []byte, key *message.SessionKey) Changes {
	head := [2]byte{0, byte(len(uid))} // a uid has at most 128 bytes
	if opened {
		head[0] = 1
	}
	return append(append(append(c, head[:]...), uid...), key[:]...)
}

// changeFeed collects the changes of a shard during a turn for Options.Changed. Owned
// by the shard.
type changeFeed struct {
	env
	users *users
	batch Changes
}

func (f *changeFeed) init(e *env, us *users) { f.env, f.users = *e, us }

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
	key := f.sid(slot).Key(&f.opt.Key)
	f.batch = f.batch.append(opened, f.users.uid(rec), &key)
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
