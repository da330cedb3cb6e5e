package session

import "belfry/offheap"

// users finds the sessions of a shard's users. The sessions of one user are a
// list in their records, the youngest first: record.older and record.newer.
// The table finds the youngest by the hash of the uid, whose bytes are kept
// once for each user. Owned by the shard.
type users struct {
	records
	interest Interest       // told of each session of a user
	waiter   Waiter         // called by interest when it is ready
	table    *offheap.Table // by hash of the uid: slot of the user's youngest session
	uids     *offheap.Strs
	variants *userVariants // of the server
	seen     lastSeen      // of users without a session
	changed  uint64        // how often a session was entered or taken out
	keeps    bool          // the bus keeps sessions that come and go: another process has them (giving)
}

func (us *users) init(e *env, w Waiter) (err error) {
	owner := e.opt.Poller.Memory.Owner("users")
	us.records, us.interest, us.waiter, us.variants = e.records, e.opt.Interest, w, &e.srv.perUser
	us.table = offheap.NewTable(owner)
	if us.uids, err = offheap.NewStrs(owner, e.opt.MaxSessions+e.opt.MaxPending); err != nil {
		return err
	}
	return us.seen.init(e)
}

func (us *users) close() {
	us.table.Close()
	us.uids.Close()
	us.seen.close()
}

// trim gives memory back that is not used any more.
func (us *users) trim() {
	us.uids.Trim()
	us.table.Trim()
}

// uid returns the user id of a session, nil if it has none. It is valid until
// the user's last session leaves.
func (us *users) uid(rec *record) []byte {
	if rec.uid == 0 {
		return nil
	}
	return us.uids.Get(rec.uid)
}

// find returns the youngest session of uid.
func (us *users) find(hash uint32, uid []byte) (slot uint32, ok bool) {
	for p := us.table.Probe(hash); p.Next(); {
		if string(us.uids.Get(us.rec(p.Val()).uid)) == string(uid) {
			return p.Val(), true
		}
	}
	return 0, false
}

// enter makes slot the youngest session of uid. It fails if there is no memory
// for a new user. The session's variant must not change until it leaves.
func (us *users) enter(slot uint32, rec *record, hash uint32, uid string) error {
	us.changed++
	first, ok := us.find(hash, []byte(uid))
	if !ok {
		str, err := us.uids.Put([]byte(uid))
		if err != nil {
			return err
		}
		if err := us.table.Insert(hash, slot); err != nil {
			us.uids.Free(str)
			return err
		}
		rec.uid = str
	} else {
		old := us.rec(first)
		us.table.Replace(hash, first, slot)
		rec.uid, rec.older, old.newer = old.uid, first+1, slot+1
	}
	rec.userHash = hash
	us.variants.of(hash, rec.variant).Add(1)
	return nil
}

// join tells the bus of a session that was entered. ready is as with
// Interest.JoinUser.
func (us *users) join(slot uint32, rec *record) (ready bool) {
	if us.keeps {
		return true
	}
	return us.interest.JoinUser(us.uids.Get(rec.uid), us.waiter, uint64(us.ps.ID(slot)))
}

// leave takes a session off its user's list, and tells the bus. A session
// without a user is left as it is.
func (us *users) leave(slot uint32, rec *record) {
	if rec.uid == 0 {
		return
	}
	us.changed++
	us.variants.of(rec.userHash, rec.variant).Add(-1)
	if !us.keeps {
		us.interest.LeaveUser(us.uids.Get(rec.uid))
	}
	if rec.older != 0 {
		us.rec(rec.older - 1).newer = rec.newer
	}
	switch {
	case rec.newer != 0:
		us.rec(rec.newer - 1).older = rec.older
	case rec.older != 0:
		us.table.Replace(rec.userHash, slot, rec.older-1)
	default:
		if rec.openedAt != 0 && !us.keeps { // not an upgrade that was refused
			us.seen.left(us.uids.Get(rec.uid))
		}
		us.table.Delete(rec.userHash, slot)
		us.uids.Free(rec.uid)
	}
	rec.uid, rec.older, rec.newer = 0, 0, 0
}

// oldest returns the oldest session of the user whose youngest is first, and how
// many sessions the user has.
func (us *users) oldest(first uint32) (slot uint32, n int) {
	slot, n = first, 1
	for us.rec(slot).older != 0 {
		slot = us.rec(slot).older - 1
		n++
	}
	return slot, n
}
