package session

import (
	"encoding/binary"

	"belfry/message"
)

// Changes says which sessions of users have opened and closed, in the order in which
// it happened on one shard. Sessions without a user are not in it.
type Changes []byte

// A change is a byte (the flags below), the length and bytes of the uid, and the key;
// with changeClassed the length and bytes of the device class, with changeRouted two
// bytes with the route, with changeSince four bytes with Unix seconds.
const (
	changeOpened  = 1 << iota // it has opened; else it has closed
	changeClassed             // it has a device class
	changeRouted              // it has a route
	changeSince               // it opened earlier, in another process
)

// Each calls f for each change. Of a session that has opened, class is the device class,
// empty if it has none, route that of Events.Match, 0 for none, and since when it opened,
// in Unix seconds, 0 for now. uid and class are borrowed until f returns.
func (c Changes) Each(f func(opened bool, uid []byte, key message.SessionKey, class []byte, route Route, since uint32)) {
	for len(c) > 0 {
		flags, end := c[0], 2+int(c[1])
		uid, key := c[2:end:end], message.SessionKey(c[end:])
		c = c[end+len(key):]
		var class []byte
		if flags&changeClassed != 0 {
			end = 1 + int(c[0])
			class, c = c[1:end:end], c[end:]
		}
		var route Route
		if flags&changeRouted != 0 {
			route, c = Route(binary.BigEndian.Uint16(c)), c[2:]
		}
		var since uint32
		if flags&changeSince != 0 {
			since, c = binary.BigEndian.Uint32(c), c[4:]
		}
		f(flags&changeOpened != 0, uid, key, class, route, since)
	}
}

// append appends a change. class, route and since are "" and 0 for a session that has
// closed.
func (c Changes) append(opened bool, uid []byte, key *message.SessionKey, class string, route Route, since uint32) Changes {
	var flags byte
	if opened {
		flags = changeOpened
	}
	if class != "" {
		flags |= changeClassed
	}
	if route != 0 {
		flags |= changeRouted
	}
	if since != 0 {
		flags |= changeSince
	}
	c = append(append(append(c, flags, byte(len(uid))), uid...), key[:]...) // a uid has at most 128 bytes
	if class != "" {
		c = append(append(c, byte(len(class))), class...)
	}
	if route != 0 {
		c = binary.BigEndian.AppendUint16(c, uint16(route))
	}
	if since != 0 {
		c = binary.BigEndian.AppendUint32(c, since)
	}
	return c
}

// changeFeed collects the changes of a shard during a turn for Options.Changed. Owned
// by the shard.
type changeFeed struct {
	env
	users  *users
	grants *grants
	events *eventing
	batch  Changes
}

func (f *changeFeed) init(e *env, us *users, ev *eventing, g *grants) {
	f.env, f.users, f.events, f.grants = *e, us, ev, g
}

// opened is called when a session is open, came when it came from another process, and
// closed while it still has its user.
func (f *changeFeed) opened(slot uint32, rec *record) { f.add(true, slot, rec, 0) }
func (f *changeFeed) came(slot uint32, rec *record)   { f.add(true, slot, rec, rec.openedAt) }
func (f *changeFeed) closed(slot uint32, rec *record) {
	if rec.openedAt != 0 {
		f.add(false, slot, rec, 0)
	}
}

func (f *changeFeed) add(opened bool, slot uint32, rec *record, since uint32) {
	if f.opt.Changed == nil || rec.uid == 0 {
		return
	}
	if len(f.batch) == 0 {
		f.ps.Wake() // sessions close after OnWork
	}
	key, class, route := f.sid(slot).Key(&f.opt.Key), "", Route(0)
	if opened {
		class = f.grants.className(rec)
		if r := f.events.of(slot, rec); r != nil {
			route = r.route
		}
	}
	f.batch = f.batch.append(opened, f.users.uid(rec), &key, class, route, since)
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
