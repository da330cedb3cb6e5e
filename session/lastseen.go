package session

import (
	"encoding/binary"
	"time"

	"github.com/minio/highwayhash"

	"belfry/offheap"
)

// lastSeen remembers when the last session of a user ended, for a shard's users that
// have none. It keeps 12 bytes of each: a keyed hash of 64 bits instead of the uid, and
// the time. A user can be in one set only, and in a full set the entry that is oldest
// gives way. So the memory is bounded, nothing is searched, and nothing has to expire.
// Owned by the shard.
type lastSeen struct {
	env
	sets *offheap.Records[seenSet] // nil: nothing is remembered
}

// seenSet are the entries of the users whose hashes lead to it. No Go pointers.
type seenSet [8]seenUser

type seenUser struct {
	hash [2]uint32
	at   uint32 // Unix seconds; 0: the entry is free
}

func (ls *lastSeen) init(e *env) (err error) {
	ls.env = *e
	if e.opt.LastSeen <= 0 || e.opt.LastSeenUsers <= 0 {
		return nil
	}
	each := len(seenSet{}) * e.opt.Poller.Shards
	if ls.sets, err = offheap.NewRecords[seenSet](e.opt.Poller.Memory.Owner("last_seen"), (e.opt.LastSeenUsers+each-1)/each); err != nil {
		return err
	}
	if in := e.opt.Heritage; in != nil && e.index < len(in.LastSeen) {
		ls.restore(in.LastSeen[e.index])
	}
	return nil
}

func (ls *lastSeen) close() {
	if ls.sets != nil {
		ls.sets.Close()
	}
}

// find returns the set of a user, and the user's hash.
func (ls *lastSeen) find(uid []byte) (set uint32, hash [2]uint32) {
	sum := highwayhash.Sum64(uid, ls.opt.Key[:])
	hash = [2]uint32{uint32(sum), uint32(sum >> 32)}
	return hash[0] % uint32(ls.sets.Max()), hash
}

// left is called when the last session of a user has ended.
func (ls *lastSeen) left(uid []byte) {
	if ls.sets != nil {
		_, hash := ls.find(uid)
		ls.enter(seenUser{hash, unixSeconds(ls.opt.now())})
	}
}

// enter puts an entry into its set.
func (ls *lastSeen) enter(one seenUser) {
	at := one.hash[0] % uint32(ls.sets.Max())
	if !ls.sets.Live(at) {
		if !ls.sets.AllocAt(at) {
			ls.counters.limit(limitMemory)
			return
		}
		*ls.sets.At(at) = seenSet{}
	}
	set, oldest := ls.sets.At(at), 0
	for i := range set {
		if set[i].hash == one.hash {
			oldest = i
			break
		}
		if set[i].at < set[oldest].at {
			oldest = i
		}
	}
	if e := &set[oldest]; e.hash != one.hash && ls.valid(e) {
		ls.counters.limit(limitLastSeen)
	}
	set[oldest] = one
}

// valid says whether an entry is not older than Options.LastSeen.
func (ls *lastSeen) valid(e *seenUser) bool {
	return e.at != 0 && ls.opt.now().Sub(time.Unix(int64(e.at), 0)) <= ls.opt.LastSeen
}

// at returns when a user's last session ended, zero if that is not known.
func (ls *lastSeen) at(uid string) (t time.Time) {
	if ls.sets == nil {
		return t
	}
	at, hash := ls.find([]byte(uid))
	if !ls.sets.Live(at) {
		return t
	}
	for _, e := range ls.sets.At(at) {
		if e.hash == hash && ls.valid(&e) {
			return time.Unix(int64(e.at), 0)
		}
	}
	return t
}

// export returns what is remembered, for another process with the same key: the entries,
// each with its hash (8 bytes) and the time (4), big-endian.
func (ls *lastSeen) export() (p []byte) {
	if ls.sets == nil {
		return nil
	}
	for at, ok := ls.sets.Next(0); ok; at, ok = ls.sets.Next(at + 1) {
		for _, e := range ls.sets.At(at) {
			if ls.valid(&e) {
				p = binary.BigEndian.AppendUint32(p, e.hash[0])
				p = binary.BigEndian.AppendUint32(p, e.hash[1])
				p = binary.BigEndian.AppendUint32(p, e.at)
			}
		}
	}
	return p
}

// restore takes what export returned.
func (ls *lastSeen) restore(p []byte) {
	for ; ls.sets != nil && len(p) >= 12; p = p[12:] {
		e := seenUser{[2]uint32{binary.BigEndian.Uint32(p), binary.BigEndian.Uint32(p[4:])}, binary.BigEndian.Uint32(p[8:])}
		if ls.valid(&e) {
			ls.enter(e)
		}
	}
}
