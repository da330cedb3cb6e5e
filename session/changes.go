package session

import (
	"encoding/binary"

	"belfry/message"
)

// Changes says which sessions of users have opened and closed, in the order in which
// it happened on one shard. Sessions without a user are not in it.
type Changes []byte

// A change is a byte (1: opened), the length and bytes of the uid, the key, and two
// bytes with the route.

// Each calls f for each change. uid is borrowed until f returns. route is that of
// Events.Match, 0 for a session that has closed.
func (c Changes) Each(f func(opened bool, uid []byte, key message.SessionKey, route Route)) {
	for len(c) > 0 {
		end := 2 + int(c[1])
		key := message.SessionKey(c[end:])
		rest := c[end+len(key):]
		f(c[0] == 1, c[2:end:end], key, Route(binary.BigEndian.Uint16(rest)))
		c = rest[2:]
	}
}

// append appends a change.
func (c Changes) append(opened bool, uid []byte, key *message.SessionKey, route Route) Changes {
	head := [2]byte{0, byte(len(uid))} // a uid has at most 128 bytes
	if opened {
		head[0] = 1
	}
	c = append(append(append(c, head[:]...), uid...), key[:]...)
	return binary.BigEndian.AppendUint16(c, uint16(route))
}

// changeFeed collects the changes of a shard during a turn for Options.Changed. Owned
// by the shard.
type changeFeed struct {
	env
	users  *users
	events *eventing
	batch  Changes
}

func (f *changeFeed) init(e *env, us *users, ev *eventing) { f.env, f.users, f.events = *e, us, ev }

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
	route := Route(0)
	if r := f.events.of(slot, rec); opened && r != nil {
		route = r.route
	}
	f.batch = f.batch.append(opened, f.users.uid(rec), &key, route)
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
