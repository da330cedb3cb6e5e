package idempotency

import "time"

// ID is the hash of a key and of what it is unique in.
type ID [16]byte

// Print is the hash of a request: with the same key it must be the same request.
type Print [16]byte

// Answer is what the first request was answered.
type Answer struct {
	Status int
	Body   []byte // at most MaxBody bytes
}

// entry is a key that was claimed.
type entry struct {
	id     ID
	print  Print
	owner  uint32 // the node whose request has it
	claim  uint64 // number of the claim, of this owner
	since  time.Time
	done   bool
	firm   bool // of a claim of this node: it was granted
	answer Answer

	older, newer *entry
}

// entryBytes is about what an entry takes without its answer, in bytes.
const entryBytes = 256

// store has the keys of one window, bounded in number and bytes. It has no lock.
type store struct {
	self     uint32
	window   time.Duration
	maxKeys  int
	maxBytes int

	entries        map[ID]*entry
	oldest, newest *entry
	bytes          int
	overKeys       uint64 // keys forgotten before their time, or not taken, because of maxKeys
	overBytes      uint64 // the same, because of maxBytes
}

func newStore(self uint32, o *Options) *store {
	return &store{self: self, window: o.Window, maxKeys: o.MaxKeys, maxBytes: o.MaxBytes, entries: map[ID]*entry{}}
}

// get returns the entry of a key, nil if there is none.
func (s *store) get(id ID, now time.Time) *entry {
	s.expire(now)
	return s.entries[id]
}

// expire forgets keys whose window is over.
func (s *store) expire(now time.Time) {
	for e := s.oldest; e != nil && now.Sub(e.since) >= s.window; e = s.oldest {
		s.remove(e)
	}
}

// put takes a new entry. It returns false if there is no room.
func (s *store) put(e *entry) bool {
	if !s.room(1, entryBytes+len(e.answer.Body)) {
		return false
	}
	s.entries[e.id] = e
	s.bytes += entryBytes + len(e.answer.Body)
	if e.older = s.newest; e.older != nil {
		e.older.newer = e
	} else {
		s.oldest = e
	}
	s.newest = e
	return true
}

// maxSkipped is how many requests in progress are skipped while room is made.
const maxSkipped = 256

// room makes room: the oldest keys are forgotten, but none whose request is in progress.
func (s *store) room(keys, bytes int) bool {
	skipped := 0
	for e := s.oldest; len(s.entries)+keys > s.maxKeys || s.bytes+bytes > s.maxBytes; {
		over := &s.overBytes
		if len(s.entries)+keys > s.maxKeys {
			over = &s.overKeys
		}
		if e == nil || skipped > maxSkipped {
			*over++
			return false
		}
		next := e.newer
		if e.done {
			s.remove(e)
			*over++
		} else {
			skipped++
		}
		e = next
	}
	return true
}

// finish stores the answer. If there is no room for its body, the key is forgotten.
func (s *store) finish(e *entry, a Answer) {
	if e.done || s.entries[e.id] != e {
		return
	}
	if s.room(0, len(a.Body)) {
		e.done, e.answer = true, a
		s.bytes += len(a.Body)
	} else {
		s.remove(e)
	}
}

func (s *store) remove(e *entry) {
	delete(s.entries, e.id)
	s.bytes -= entryBytes + len(e.answer.Body)
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		s.oldest = e.newer
	}
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		s.newest = e.older
	}
	e.older, e.newer = nil, nil
}
