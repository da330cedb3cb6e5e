package session

import (
	"github.com/minio/highwayhash"

	"belfry/offheap"
)

// userBuckets are the token buckets of the users of a shard whose sessions sent
// lately. They belong to the uid and not to a session: to come back does not fill
// them. Owned by the shard.
type userBuckets struct {
	env
	users  *users
	rates  [userRates]rate
	limits bool // some rate is a limit; else nothing is kept
	table  *offheap.Table
	all    *offheap.Records[userBucket]
	cursor uint32 // where the sweep goes on
}

// userBucket is what the sessions of a user have left. No Go pointers.
type userBucket struct {
	hash   [2]uint32 // of the uid; the first half is the hash in the table
	tokens [userRates]int32
	at     uint32 // tick to which the tokens are counted
}

func (ub *userBuckets) init(e *env, us *users, owner *offheap.Owner, rates []rate) (err error) {
	ub.env, ub.users = *e, us
	copy(ub.rates[:], rates)
	most := 1 // none is kept, so no address space is needed
	for _, r := range rates {
		if r.perSecond > 0 {
			ub.limits, most = true, e.opt.MaxSessions+e.opt.MaxPending
		}
	}
	ub.table = offheap.NewTable(owner)
	ub.all, err = offheap.NewRecords[userBucket](owner, most)
	return err
}

func (ub *userBuckets) close() {
	ub.table.Close()
	ub.all.Close()
}

// hashOf returns the hash of the session's user, in 64 bits: two users of a node do
// not share buckets by chance, and the hash is keyed.
func (ub *userBuckets) hashOf(rec *record) [2]uint32 {
	sum := highwayhash.Sum64(ub.users.uid(rec), ub.opt.Key[:])
	return [2]uint32{uint32(sum), uint32(sum >> 32)}
}

func (ub *userBuckets) find(hash [2]uint32) (at uint32, ok bool) {
	for p := ub.table.Probe(hash[0]); p.Next(); {
		if ub.all.At(p.Val()).hash == hash {
			return p.Val(), true
		}
	}
	return 0, false
}

// tokens sets left to what the session's user has left now.
func (ub *userBuckets) tokens(rec *record, left []int32) {
	for i, r := range ub.rates {
		left[i] = r.burst
	}
	if !ub.limits {
		return
	}
	if rec.uid == 0 {
		for i := range left {
			left[i] = unlimited
		}
		return
	}
	if at, ok := ub.find(ub.hashOf(rec)); ok {
		k := ub.all.At(at)
		ub.refill(k, ub.ps.Now())
		copy(left, k.tokens[:])
	}
}

func (ub *userBuckets) refill(k *userBucket, now uint32) (full bool) {
	passed := now - k.at
	k.at = now
	return refill(k.tokens[:], ub.rates[:], int64(passed))
}

// charge stores what the session's user has left after what the session has sent.
func (ub *userBuckets) charge(rec *record, left []int32) {
	if !ub.limits || rec.uid == 0 {
		return
	}
	hash := ub.hashOf(rec)
	at, ok := ub.find(hash)
	if !ok {
		if at, ok = ub.all.Alloc(); !ok {
			return // the users of sessions that have ended hold all of them for now
		}
		if ub.table.Insert(hash[0], at) != nil {
			ub.all.Free(at)
			return
		}
		*ub.all.At(at) = userBucket{hash: hash, at: ub.ps.Now()}
	}
	copy(ub.all.At(at).tokens[:], left)
}

// tick frees the buckets that are full again, a part of them each second.
func (ub *userBuckets) tick(now uint32) {
	for range max(1024, ub.all.Len()/32) {
		at, ok := ub.all.Next(ub.cursor)
		if !ok {
			ub.cursor = 0
			break
		}
		ub.cursor = at + 1
		if k := ub.all.At(at); ub.refill(k, now) {
			ub.table.Delete(k.hash[0], at)
			ub.all.Free(at)
		}
	}
	ub.table.Trim()
	ub.all.Trim()
}
