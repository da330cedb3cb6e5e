package session

import (
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
	ls.sets, err = offheap.NewRecords[seenSet](e.opt.Poller.Memory.Owner("last_seen"), (e.opt.LastSeenUsers+each-1)/each)
	return err
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
	if ls.sets == nil {
		return
	}
	at, hash := ls.find(uid)
	if !ls.sets.Live(at) {
		if !ls.sets.AllocAt(at) {
			ls.counters.limit(limitMemory)
			return
		}
		*ls.sets.At(at) = seenSet{}
	}
	set, oldest := ls.sets.At(at), 0
	for i := range set {
		if set[i].hash == hash {
			oldest = i
			break
		}
		if set[i].at < set[oldest].at {
			oldest = i
		}
	}
	if e := &set[oldest]; e.hash != hash && ls.valid(e) {
		ls.counters.limit(limitLastSeen)
	}
	set[oldest] = seenUser{hash, unixSeconds(ls.opt.now())}
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
