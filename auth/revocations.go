package auth

import (
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"belfry/message"
)

// Revocations remembers tokens that are not valid any more although they have not
// expired: those of a user, or of everybody, that were issued before a time. A
// revocation is kept until the tokens have expired. All methods may be called from
// any goroutine; Revoked takes no lock while no user's tokens are revoked.
//
// Nodes share their revocations: for each user, and for everybody, the latest time
// counts. So two sets merge to the same set in any order, and merging twice does no
// harm. Nothing is written to a disk: when all nodes have restarted the revocations
// are forgotten.
type Revocations struct {
	lifetime time.Duration
	most     int

	everybody atomic.Int64  // tokens issued before this time are revoked: nanoseconds since 1970, 0 for none
	listed    atomic.Int64  // len(users)
	refused   atomic.Uint64 // revocations refused because the list was full

	mu    sync.RWMutex // guards this group
	users map[string]int64
	sum   uint64 // of the entries of users, see entrySum
}

// revocationSlack is how long a revocation is kept beyond the lifetime of its
// tokens: clocks of nodes and of who issues tokens may differ.
const revocationSlack = 5 * time.Minute

// Defaults of NewRevocations.
const (
	DefaultMaxLifetime    = 24 * time.Hour
	DefaultMaxRevocations = 65536
)

// NewRevocations returns an empty set. Tokens live for at most lifetime from when
// they were issued (0: DefaultMaxLifetime). The tokens of at most users users are
// revoked at the same time (0: DefaultMaxRevocations).
func NewRevocations(lifetime time.Duration, users int) *Revocations {
	if lifetime == 0 {
		lifetime = DefaultMaxLifetime
	}
	if users == 0 {
		users = DefaultMaxRevocations
	}
	return &Revocations{lifetime: lifetime, most: users, users: make(map[string]int64)}
}

// ErrRevocationsFull says that the tokens of no further user can be revoked.
var ErrRevocationsFull = errors.New("too many revocations")

// Revocation revokes the tokens of a user that were issued before a time; without
// a uid, those of everybody.
type Revocation struct {
	UID    string
	Before time.Time
}

// maxAhead is how far the time of a revocation may be ahead of this node's clock. A
// revocation in the future refuses every new token until then.
const maxAhead = time.Minute

// Check returns a *message.FieldError unless the revocation is valid.
func (v Revocation) Check(now time.Time) error {
	if v.UID != "" {
		if err := message.CheckUID(v.UID); err != nil {
			return err
		}
	}
	if v.Before.After(now.Add(maxAhead)) {
		return &message.FieldError{Field: "issued_before", Detail: fmt.Sprintf(
			"%s is more than %v ahead of this node's clock, which is at %s: tokens that do not exist yet cannot be revoked",
			v.Before.UTC().Format(time.RFC3339), maxAhead, now.UTC().Format(time.RFC3339))}
	}
	if v.Before.Unix() <= 0 {
		return &message.FieldError{Field: "issued_before", Detail: "allowed are times after 1970"}
	}
	return nil
}

// Revoked reports whether a token of uid that was issued at that time is revoked. A
// token that does not say when it was issued (the zero time) counts as older than
// every revocation; a token without a user has the uid "".
func (r *Revocations) Revoked(uid string, issued time.Time) bool {
	if before := r.everybody.Load(); before != 0 && issued.Before(time.Unix(0, before)) {
		return true
	}
	if r.listed.Load() == 0 {
		return false
	}
	r.mu.RLock()
	before, listed := r.users[uid]
	r.mu.RUnlock()
	return listed && issued.Before(time.Unix(0, before))
}

// Add adds a revocation that Check has found valid. added is false if it changes
// nothing: a later one is there, or its tokens have expired. Beyond the limit on
// users Add returns ErrRevocationsFull and changes nothing.
func (r *Revocations) Add(v Revocation, now time.Time) (added bool, err error) {
	return r.add(v, now, r.most)
}

// merge is Add for a revocation that another node has taken. It has room for twice
// as many users: several nodes may have taken the last place at the same time.
func (r *Revocations) merge(v Revocation, now time.Time) (added bool, err error) {
	return r.add(v, now, 2*r.most)
}

func (r *Revocations) add(v Revocation, now time.Time, most int) (added bool, err error) {
	before := v.Before.UnixNano()
	r.mu.Lock()
	defer r.mu.Unlock()
	if before < r.oldest(now) || before <= r.everybody.Load() {
		return false, nil
	}
	if v.UID == "" {
		r.everybody.Store(before)
		r.purge(now)
		return true, nil
	}
	had, listed := r.users[v.UID]
	if listed && before <= had {
		return false, nil
	}
	if !listed && len(r.users) >= most {
		if r.purge(now); len(r.users) >= most {
			r.refused.Add(1)
			return false, ErrRevocationsFull
		}
	}
	if listed {
		r.sum -= entrySum(v.UID, had)
	}
	r.users[v.UID] = before
	r.sum += entrySum(v.UID, before)
	r.listed.Store(int64(len(r.users)))
	return true, nil
}

// oldest returns the time before which a revocation has no effect: its tokens have
// expired.
func (r *Revocations) oldest(now time.Time) int64 {
	return now.Add(-r.lifetime - revocationSlack).UnixNano()
}

// purge forgets what has no effect any more. mu is held.
func (r *Revocations) purge(now time.Time) {
	oldest := r.oldest(now)
	if r.everybody.Load() < oldest {
		r.everybody.Store(0)
	}
	oldest = max(oldest, r.everybody.Load()+1)
	for uid, before := range r.users {
		if before < oldest {
			delete(r.users, uid)
			r.sum -= entrySum(uid, before)
		}
	}
	r.listed.Store(int64(len(r.users)))
}

// Sweep forgets revocations whose tokens have expired. It is called now and then.
func (r *Revocations) Sweep(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.purge(now)
}

// entrySum is a hash of one entry. The sum of all entries is the same on nodes with
// the same entries.
func entrySum(uid string, before int64) uint64 {
	h := fnv.New64a()
	h.Write([]byte(uid))
	var b [9]byte
	for i := range 8 {
		b[i+1] = byte(before >> (8 * i))
	}
	h.Write(b[:]) // the first byte is 0, which no uid contains
	return h.Sum64()
}

// RevocationStats are the counters of a Revocations.
type RevocationStats struct {
	Users     int       // now: users with revoked tokens
	Everybody time.Time // now: tokens issued before it are revoked, whosever they are; zero for none
	Refused   uint64    // revocations refused because too many users are listed
}

// Stats returns the counters.
func (r *Revocations) Stats() RevocationStats {
	s := RevocationStats{Users: int(r.listed.Load()), Refused: r.refused.Load()}
	if before := r.everybody.Load(); before != 0 {
		s.Everybody = time.Unix(0, before)
	}
	return s
}

// digest identifies the content of the set: nodes with the same revocations have
// the same digest.
func (r *Revocations) digest() string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return fmt.Sprintf("%x.%x.%x", r.everybody.Load(), len(r.users), r.sum)
}

// page returns up to most revocations of users whose uids come after that one, in
// the order of their uids, and whether more follow.
func (r *Revocations) page(after string, most int) (out []Revocation, more bool) {
	uids := r.next(after, most)
	if len(uids) > most {
		uids, more = uids[:most], true
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, uid := range uids {
		if before, listed := r.users[uid]; listed { // it may have been purged
			out = append(out, Revocation{uid, time.Unix(0, before)})
		}
	}
	return out, more
}

// next returns the first uids after that one, sorted: at least one more than most if
// there are so many. It does not sort the whole list.
func (r *Revocations) next(after string, most int) (uids []string) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	last := "" // no uid beyond it is among the first ones; "" while there are few
	for uid := range r.users {
		if uid <= after || last != "" && uid > last {
			continue
		}
		if uids = append(uids, uid); len(uids) > 4*most {
			slices.Sort(uids)
			uids = uids[:most+1]
			last = uids[most]
		}
	}
	slices.Sort(uids)
	return uids
}
