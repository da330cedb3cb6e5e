package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"belfry/message"
)

// RevocationKind is the kind of the command with which nodes ask each other for
// revocations.
const RevocationKind = "revocations"

// SyncOptions configure a RevocationSync. Ask is required.
type SyncOptions struct {
	// Ask asks another node, by its id, for revocations (RevocationKind).
	Ask func(ctx context.Context, node uint32, body []byte) (answer []byte, err error)
	// Apply is called, by the goroutine of Run, with each revocation that this
	// node learned from another one, so that its sessions are expired. It may
	// be nil.
	Apply func(Revocation)
	// Alone says that no other node can exist: then there is nothing to wait for.
	Alone bool
	Log   *zap.Logger // nil: nothing is logged
}

// Times of a RevocationSync.
const (
	// startWait is how long a node waits at its start for the revocations of
	// another node before it is ready without them.
	startWait = 5 * time.Second
	// compareEvery is how often a node compares its revocations with those of one
	// other node, in turn, in case that a command was lost.
	compareEvery = time.Minute
	// askTime is how long a node waits for one answer.
	askTime = 2 * time.Second
)

const (
	pageUsers  = 1024     // users in one answer
	pageBytes  = 48 << 10 // of their entries in one answer; a command has room for 64 KiB
	maxWaiting = 4096     // nodes that wait to be asked

	attempts   = 3 // times that a node is asked when it appears
	retryAfter = time.Second
)

// RevocationSync keeps the revocations of this node the same as those of the other
// nodes. It asks each node that appears, and compares with one after the other
// every minute; the other node asks too, so each learns what it lacks.
type RevocationSync struct {
	set   *Revocations
	opt   SyncOptions
	log   *zap.Logger
	asked chan hint // nodes to be asked
	ready atomic.Bool
	peers map[uint32]int // owned by Run: nodes that have been there, and how often each failed since

	learned, failed, overflow atomic.Uint64
}

// NewRevocationSync returns the sync of set. Run starts it.
func NewRevocationSync(set *Revocations, o SyncOptions) *RevocationSync {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	s := &RevocationSync{set: set, opt: o, log: o.Log, asked: make(chan hint, maxWaiting), peers: make(map[uint32]int)}
	s.ready.Store(o.Alone)
	return s
}

// hint says that a node should be asked.
type hint struct {
	node  uint32
	first bool // only if it was not asked before
}

// PeerUp says that another node is there, or is back. It does not block.
func (s *RevocationSync) PeerUp(node uint32) { s.hint(hint{node: node}) }

func (s *RevocationSync) hint(h hint) {
	select {
	case s.asked <- h:
	default: // it is asked in its turn
	}
}

// Ready returns false at the start, until this node has the revocations of another
// one, or has waited for them for five seconds. A node that is alone is ready at
// once.
func (s *RevocationSync) Ready() bool { return s.ready.Load() }

// Run asks other nodes until ctx is done.
func (s *RevocationSync) Run(ctx context.Context) {
	start := time.NewTimer(startWait)
	defer start.Stop()
	compare := time.NewTicker(compareEvery)
	defer compare.Stop()
	for {
		select {
		case h := <-s.asked:
			if _, known := s.peers[h.node]; !known || !h.first {
				s.ask(ctx, h.node)
			}
		case <-start.C:
			if !s.ready.Swap(true) {
				s.log.Info("no other node has sent its revocations: this node begins without any")
			}
		case now := <-compare.C:
			s.set.Sweep(now)
			for node := range s.peers { // any one: the order of a map is random
				s.ask(ctx, node)
				break
			}
		case <-ctx.Done():
			return
		}
	}
}

// ask takes the revocations of a node. It tries again a little later if the node
// does not answer, and gives up after some attempts: OnPeer says when it is back.
func (s *RevocationSync) ask(ctx context.Context, node uint32) {
	err := s.fetch(ctx, node)
	switch {
	case err == nil:
		s.peers[node] = 0
		s.ready.Store(true)
		return
	case ctx.Err() != nil:
		return
	}
	s.failed.Add(1)
	s.log.Warn("revocations of another node could not be read", zap.Uint32("node", node), zap.Error(err))
	if s.peers[node]++; s.peers[node] < attempts {
		time.AfterFunc(retryAfter, func() { s.PeerUp(node) })
		return
	}
	delete(s.peers, node)
}

// revocationAsk is the body of an ask: the digest of who asks, and the uid after
// which the next page begins.
type revocationAsk struct {
	Digest string `json:"digest"`
	After  string `json:"after,omitempty"`
}

// revocationPage is the body of an answer. Times are nanoseconds since 1970.
type revocationPage struct {
	Same      bool             `json:"same,omitempty"` // the digests are equal; there is nothing else
	Everybody int64            `json:"everybody,omitempty"`
	Users     []userRevocation `json:"users,omitempty"`
	More      bool             `json:"more,omitempty"` // ask again, after the last user
}

type userRevocation struct {
	UID    string `json:"uid"`
	Before int64  `json:"before"`
}

// Answer answers the ask of another node. A node that has just started is known to
// the others before it knows them: it learns of them by their asks.
func (s *RevocationSync) Answer(node uint32, body []byte) ([]byte, error) {
	s.hint(hint{node, true})
	var ask revocationAsk
	if err := json.Unmarshal(body, &ask); err != nil {
		return nil, fmt.Errorf("malformed ask for revocations: %w", err)
	}
	if ask.After == "" && ask.Digest == s.set.digest() {
		return json.Marshal(revocationPage{Same: true})
	}
	page := revocationPage{Everybody: s.set.everybody.Load()}
	users, more := s.set.page(ask.After, pageUsers)
	bytes := 0
	for _, v := range users {
		u := userRevocation{v.UID, v.Before.UnixNano()}
		line, err := json.Marshal(u)
		if err != nil {
			return nil, err
		}
		if bytes += len(line) + 1; bytes > pageBytes {
			more = true
			break
		}
		page.Users = append(page.Users, u)
	}
	page.More = more
	return json.Marshal(page)
}

// fetch takes the revocations of another node, page by page.
func (s *RevocationSync) fetch(ctx context.Context, node uint32) error {
	ask := revocationAsk{Digest: s.set.digest()}
	for {
		page, err := s.fetchPage(ctx, node, ask)
		if err == nil {
			err = s.take(page)
		}
		if err != nil || !page.More || len(page.Users) == 0 {
			return err
		}
		ask.After = page.Users[len(page.Users)-1].UID
	}
}

func (s *RevocationSync) fetchPage(ctx context.Context, node uint32, ask revocationAsk) (*revocationPage, error) {
	body, err := json.Marshal(ask)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	answer, err := s.opt.Ask(ctx, node, body)
	if err != nil {
		return nil, err
	}
	page := new(revocationPage)
	if err := json.Unmarshal(answer, page); err != nil {
		return nil, fmt.Errorf("malformed answer: %w", err)
	}
	for i, u := range page.Users {
		if message.CheckUID(u.UID) != nil || u.UID <= ask.After || i > 0 && u.UID <= page.Users[i-1].UID {
			return nil, errors.New("malformed answer: its users are not in order")
		}
	}
	return page, nil
}

// take merges a page.
func (s *RevocationSync) take(page *revocationPage) error {
	if page.Everybody != 0 {
		if err := s.learn(Revocation{Before: time.Unix(0, page.Everybody)}); err != nil {
			return err
		}
	}
	for _, u := range page.Users {
		if err := s.learn(Revocation{u.UID, time.Unix(0, u.Before)}); err != nil {
			return err
		}
	}
	return nil
}

func (s *RevocationSync) learn(v Revocation) error {
	now := time.Now()
	if v.Before.After(now.Add(time.Hour)) { // a clock that is an hour wrong must not lock everybody out here too
		return fmt.Errorf("a revocation of another node is for tokens issued before %v: its clock, or the one here, is wrong", v.Before.UTC())
	}
	added, err := s.set.merge(v, now)
	if err != nil {
		s.overflow.Add(1)
		return err
	}
	if added {
		s.learned.Add(1)
		if s.opt.Apply != nil {
			s.opt.Apply(v)
		}
	}
	return nil
}

// SyncStats are the counters of a RevocationSync.
type SyncStats struct {
	Learned  uint64 // revocations learned from other nodes
	Failed   uint64 // nodes whose revocations could not be read
	Overflow uint64 // revocations of other nodes for which there was no room
}

// Stats returns the counters.
func (s *RevocationSync) Stats() SyncStats {
	return SyncStats{s.learned.Load(), s.failed.Load(), s.overflow.Load()}
}
