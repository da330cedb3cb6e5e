package session

import (
	"context"
	"math"
	"slices"
	"time"

	"belfry/message"
	"belfry/poller"
)

// The methods below read what this node has. They wait for the shards concerned, which
// do a chunk of the work at a time between their other work. Their errors are those of
// ctx, and poller.ErrClosed. Any goroutine but a shard's.

// Lookup returns what is told about a session of this node. ok is false if no open
// session has this id.
func (s *Server) Lookup(ctx context.Context, sid string) (info Info, ok bool, err error) {
	var found Info
	ok, err = s.onSession(ctx, sid, func(h *shard, slot uint32) bool {
		if !h.isOpen(slot) {
			return false
		}
		found = h.info(slot)
		return true
	})
	if err != nil || !ok {
		return Info{}, false, err
	}
	return found, true, nil
}

// UserSessions returns how many sessions of a user are open on this node, and the first
// of those behind a place, in the order of message.SID.Compare. more says that there
// are others behind these.
func (s *Server) UserSessions(ctx context.Context, uid string, after message.SID, limit int) (list []Info, count int, more bool, err error) {
	home, hash := s.homeOf(uid)
	from := s.firstSlot(home, after)
	result := make(chan int, 1)
	err = s.begin(ctx, s.shards[home], func(h *shard) *callRun {
		ids := slices.DeleteFunc(h.users.sessionsOf(hash, uid), func(id poller.ID) bool { return !h.isOpen(id.Slot()) })
		count = len(ids)
		ids, more = firstFrom(ids, from, limit)
		return &callRun{ids: ids, result: result, call: func(h *shard, slot uint32) bool {
			if h.isOpen(slot) {
				list = append(list, h.info(slot))
			}
			return true
		}}
	})
	if err == nil {
		_, err = s.await(ctx, result, 1)
	}
	if err != nil {
		return nil, 0, false, err // the shard may still write what it was asked for
	}
	return list, count, more, nil
}

// firstSlot returns the first slot of a shard behind a place in the order of
// message.SID.Compare. It is beyond all slots if the shard is before the place.
func (s *Server) firstSlot(shard int, after message.SID) uint64 {
	here := message.SID{Node: s.opt.Node, Shard: uint16(shard)}
	switch at := (message.SID{Node: after.Node, Shard: after.Shard}).Compare(here); {
	case at > 0:
		return math.MaxUint64
	case at < 0 || after == (message.SID{}):
		return 0
	}
	return uint64(uint32(after.Conn)) + 1
}

// firstFrom returns the first ids in the order of their slots, not below from. It
// changes ids.
func firstFrom(ids []poller.ID, from uint64, limit int) (first []poller.ID, more bool) {
	ids = slices.DeleteFunc(ids, func(id poller.ID) bool { return uint64(id.Slot()) < from })
	slices.SortFunc(ids, func(a, b poller.ID) int { return int(int64(a.Slot()) - int64(b.Slot())) })
	n := min(limit, len(ids))
	return ids[:n], n < len(ids)
}

// UserPresence says whether a user is online at this node.
type UserPresence struct {
	Sessions int       // that are open
	LastSeen time.Time // when the last one ended, if there is none and it is still known; else zero
}

// UsersPresence returns the presence of several users, in their order.
func (s *Server) UsersPresence(ctx context.Context, uids []string) ([]UserPresence, error) {
	all := make([]UserPresence, len(uids))
	type user struct {
		place int // in uids
		hash  uint32
	}
	homes := map[int][]user{}
	for i, uid := range uids {
		home, hash := s.homeOf(uid)
		homes[home] = append(homes[home], user{i, hash})
	}
	result := make(chan int, len(homes))
	for home, list := range homes {
		err := s.begin(ctx, s.shards[home], func(h *shard) *callRun {
			return &callRun{result: result, walk: func(h *shard) bool {
				u := list[0]
				all[u.place] = h.presence(u.hash, uids[u.place])
				list = list[1:]
				return len(list) > 0
			}}
		})
		if err != nil {
			return nil, err
		}
	}
	if _, err := s.await(ctx, result, len(homes)); err != nil {
		return nil, err
	}
	return all, nil
}

func (h *shard) presence(hash uint32, uid string) (p UserPresence) {
	for slot, ok := h.users.find(hash, []byte(uid)); ok; {
		if h.isOpen(slot) {
			p.Sessions++
		}
		older := h.rec(slot).older
		slot, ok = older-1, older != 0
	}
	if p.Sessions == 0 {
		p.LastSeen = h.users.seen.at(uid)
	}
	return p
}
