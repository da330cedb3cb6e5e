package cluster

import (
	"hash/maphash"

	"belfry/broadcast"
	"belfry/message"
	"belfry/offheap"
)

// entry is one session of a user, outside the Go heap. No Go pointers.
type entry struct {
	key    message.SessionKey
	holder uint16      // index in store.lists
	since  uint32      // Unix time in seconds, and millis
	uid    offheap.Str // shared by the sessions of the user
	older  uint32      // neighbours in the list of the user's sessions, + 1; 0: none
	newer  uint32
	prev   uint32 // neighbours in the list of the holder's sessions of the bucket, + 1
	next   uint32
	millis uint16 // and flags
	class  uint8  // index in store.classes
	route  uint8  // index in store.routes
}

// Flags in entry.millis, whose value is below 1000.
const (
	flagTold  = 1 << 15 // its holder was told to close it (caps)
	flagKeyed = 1 << 14 // it is in store.keys
)

// told reports whether the holder was told to close the session.
func (e *entry) told() bool { return e.millis&flagTold != 0 }

func (e *entry) setTold(told bool) {
	e.millis &^= flagTold
	if told {
		e.millis |= flagTold
	}
}

// list is what one holder has in one bucket: the sessions, and a digest of them that
// does not depend on their order.
type list struct {
	head  uint32 // + 1; 0: empty
	count uint32
	sum   uint64
}

// listKey names a list: the holder's index and the bucket.
type listKey uint32

func keyOf(holder, bucket uint16) listKey { return listKey(holder)<<12 | listKey(bucket) }

// store has the sessions that a Directory knows. Its owner locks it.
type store struct {
	entries *offheap.Records[entry]
	table   *offheap.Table // by hash of the uid: the youngest session of the user
	keys    *offheap.Table // by hash of the key: sessions of users who have, or had, several
	uids    *offheap.Strs
	seed    maphash.Seed
	lists   map[listKey]list              // those that are not empty
	edge    func(uid []byte, online bool) // told of a user's first session, and that the last one was taken out; nil: nobody is
	classes names                         // of devices
	routes  names                         // of the gateway
}

func newStore(owner *offheap.Owner, most int) (s *store, err error) {
	s = &store{table: offheap.NewTable(owner), keys: offheap.NewTable(owner), seed: maphash.MakeSeed(), lists: make(map[listKey]list), classes: names{""}, routes: names{""}}
	if s.entries, err = offheap.NewRecords[entry](owner, most); err != nil {
		return nil, err
	}
	if s.uids, err = offheap.NewStrs(owner, most); err != nil {
		s.entries.Close()
		return nil, err
	}
	return s, nil
}

func (s *store) close() {
	s.entries.Close()
	s.table.Close()
	s.keys.Close()
	s.uids.Close()
}

// trim gives memory back that is not used any more.
func (s *store) trim() {
	s.entries.Trim()
	s.table.Trim()
	s.keys.Trim()
	s.uids.Trim()
}

func (s *store) hash(uid []byte) uint32 { return uint32(maphash.Bytes(s.seed, uid)) }

// first returns the youngest session of uid.
func (s *store) first(hash uint32, uid []byte) (slot uint32, ok bool) {
	for p := s.table.Probe(hash); p.Next(); {
		if string(s.uids.Get(s.entries.At(p.Val()).uid)) == string(uid) {
			return p.Val(), true
		}
	}
	return 0, false
}

// each calls f for the sessions of uid, the youngest first.
func (s *store) each(uid []byte, f func(*entry)) {
	s.until(uid, func(e *entry) bool { f(e); return false })
}

// until is each that ends when f returns true.
func (s *store) until(uid []byte, f func(*entry) bool) {
	at, ok := s.first(s.hash(uid), uid)
	for ok {
		e := s.entries.At(at)
		if f(e) {
			return
		}
		at, ok = e.older-1, e.older != 0
	}
}

// find returns a session. It does not walk over the sessions of the user, who may have
// very many.
func (s *store) find(uid []byte, holder uint16, key *message.SessionKey) (slot uint32, ok bool) {
	slot, ok = s.first(s.hash(uid), uid)
	if !ok {
		return 0, false
	}
	if e := s.entries.At(slot); e.holder == holder && e.key == *key || e.older == 0 {
		return slot, e.holder == holder && e.key == *key
	}
	for p := s.keys.Probe(s.keyHash(key)); p.Next(); {
		if e := s.entries.At(p.Val()); e.holder == holder && e.key == *key && string(s.uids.Get(e.uid)) == string(uid) {
			return p.Val(), true
		}
	}
	return 0, false
}

func (s *store) keyHash(key *message.SessionKey) uint32 { return s.hash(key[:]) }

// enterKey has find find a session of a user with several. It returns false if there is
// no room.
func (s *store) enterKey(slot uint32, e *entry) bool {
	if e.millis&flagKeyed == 0 {
		if s.keys.Insert(s.keyHash(&e.key), slot) != nil {
			return false
		}
		e.millis |= flagKeyed
	}
	return true
}

// put enters a session, unless it is there. since is a Unix time in milliseconds. It
// returns false if there is no room.
func (s *store) put(uid []byte, holder uint16, key *message.SessionKey, since uint64, class, route []byte) bool {
	if _, ok := s.find(uid, holder, key); ok {
		return true
	}
	slot, ok := s.entries.Alloc()
	if !ok {
		return false
	}
	e := s.entries.At(slot)
	*e = entry{key: *key, holder: holder, since: uint32(since / 1000), millis: uint16(since % 1000), class: s.classes.enter(class), route: s.routes.enter(route)}
	if !s.enter(uid, slot, e) {
		s.forgetKey(slot, e)
		s.entries.Free(slot)
		return false
	}
	at := keyOf(holder, bucketOf(uid))
	l := s.lists[at]
	e.next = l.head
	if l.head != 0 {
		s.entries.At(l.head - 1).prev = slot + 1
	}
	l.head, l.count, l.sum = slot+1, l.count+1, l.sum+e.digest()
	s.lists[at] = l
	return true
}

// enter makes a session the youngest of its user.
func (s *store) enter(uid []byte, slot uint32, e *entry) bool {
	hash := s.hash(uid)
	if first, ok := s.first(hash, uid); ok {
		before := s.entries.At(first)
		if !s.enterKey(first, before) || !s.enterKey(slot, e) {
			return false
		}
		e.uid, e.older, before.newer = before.uid, first+1, slot+1
		s.table.Replace(hash, first, slot)
		return true
	}
	str, err := s.uids.Put(uid)
	if err != nil {
		return false
	}
	if s.table.Insert(hash, slot) != nil {
		s.uids.Free(str)
		return false
	}
	e.uid = str
	if s.edge != nil {
		s.edge(uid, true)
	}
	return true
}

// remove takes a session out, and returns whether it was there.
func (s *store) remove(uid []byte, holder uint16, key *message.SessionKey) bool {
	slot, ok := s.find(uid, holder, key)
	if ok {
		s.free(slot)
	}
	return ok
}

// free takes a session out.
func (s *store) free(slot uint32) {
	e := s.entries.At(slot)
	uid := s.uids.Get(e.uid)
	at := keyOf(e.holder, bucketOf(uid))
	l := s.lists[at]
	if l.count--; l.count == 0 {
		delete(s.lists, at)
	} else {
		if l.sum -= e.digest(); e.prev == 0 {
			l.head = e.next
		}
		s.lists[at] = l
	}
	if e.prev != 0 {
		s.entries.At(e.prev - 1).next = e.next
	}
	if e.next != 0 {
		s.entries.At(e.next - 1).prev = e.prev
	}
	s.leave(uid, slot, e)
	s.entries.Free(slot)
}

// leave takes a session off its user's list.
func (s *store) leave(uid []byte, slot uint32, e *entry) {
	s.forgetKey(slot, e)
	if e.older != 0 {
		s.entries.At(e.older - 1).newer = e.newer
	}
	switch hash := s.hash(uid); {
	case e.newer != 0:
		s.entries.At(e.newer - 1).older = e.older
	case e.older != 0:
		s.table.Replace(hash, slot, e.older-1)
	default:
		s.table.Delete(hash, slot)
		if s.edge != nil {
			s.edge(uid, false)
		}
		s.uids.Free(e.uid)
	}
}

// forgetKey is the reverse of enterKey.
func (s *store) forgetKey(slot uint32, e *entry) {
	if e.millis&flagKeyed != 0 {
		s.keys.Delete(s.keyHash(&e.key), slot)
		e.millis &^= flagKeyed
	}
}

// drop takes out what a holder has in a bucket.
func (s *store) drop(holder, bucket uint16) {
	for l := s.lists[keyOf(holder, bucket)]; l.head != 0; l = s.lists[keyOf(holder, bucket)] {
		s.free(l.head - 1)
	}
}

// eachOf calls f for what a holder has in a bucket.
func (s *store) eachOf(holder, bucket uint16, f func(*entry)) {
	for at := s.lists[keyOf(holder, bucket)].head; at != 0; {
		e := s.entries.At(at - 1)
		at = e.next
		f(e)
	}
}

// names are few names of which entries have the index. [0] is "".
type names []string

// maxNames is how many names of a kind a node knows; further ones are "".
const maxNames = 256

// enter returns the index of a name.
func (all *names) enter(name []byte) uint8 {
	for i, known := range *all {
		if known == string(name) {
			return uint8(i)
		}
	}
	if len(*all) == maxNames {
		return 0
	}
	*all = append(*all, string(name))
	return uint8(len(*all) - 1)
}

// opened returns when a session opened, as a Unix time in milliseconds.
func (e *entry) opened() uint64 { return uint64(e.since)*1000 + uint64(e.millis&^(flagTold|flagKeyed)) }

// digest returns a hash of a session that is the same on all nodes. The key has a
// keyed hash in it, so that clients cannot choose sessions with equal sums.
func (e *entry) digest() (h uint64) {
	for i := 0; i < len(e.key); i += 6 {
		k := e.key[i : i+6]
		h = mix(h ^ uint64(k[0])<<40 ^ uint64(k[1])<<32 ^ uint64(k[2])<<24 ^ uint64(k[3])<<16 ^ uint64(k[4])<<8 ^ uint64(k[5]))
	}
	return h
}

func bucketOf(uid []byte) uint16 { return broadcast.UserBucketOf(uid) }
