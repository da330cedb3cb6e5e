package session

import (
	"context"
	"time"

	"belfry/wire"
	"belfry/ws"
)

// expire ends a session whose credentials do not hold any more, or refuses its upgrade.
// The client comes back with new ones.
func (h *shard) expire(slot uint32) bool {
	switch rec := h.rec(slot); rec.state {
	case stateOpen:
		h.closer.end(slot, ReasonExpired, "")
	case stateJoin:
		h.refuser.refuse(slot, ws.Unauthorized("the credentials were revoked").WithCause(CauseExpired))
	default:
		return false
	}
	return true
}

// issuedBefore says whether a session's credentials were issued before a time. Those
// whose time is not known count as the oldest.
func (g *grants) issuedBefore(rec *record, t time.Time) bool {
	if t.IsZero() {
		return true
	}
	it := g.of(rec)
	return it == nil || it.issued == 0 || time.Unix(int64(it.issued), 0).Before(t)
}

// Expire ends a session of this node with 4010, as if its credentials had expired, and
// returns whether there was one. It waits for the session's shard. After an error the
// session may end all the same. Any goroutine but a shard's.
func (s *Server) Expire(ctx context.Context, sid string) (bool, error) {
	return s.onSession(ctx, sid, func(h *shard, slot uint32) bool { return h.expire(slot) })
}

// ExpireUser ends the sessions of a user on this node as Expire does, and returns how
// many. With a time, only sessions end whose credentials were issued before it, or
// whose Grant.Issued is not known. Any goroutine but a shard's.
func (s *Server) ExpireUser(ctx context.Context, uid string, issuedBefore time.Time) (int, error) {
	if !issuedBefore.IsZero() {
		s.revoked.add(uid, issuedBefore, s.clock())
	}
	return s.onUser(ctx, uid, func(h *shard, slot uint32) bool {
		return h.grants.issuedBefore(h.rec(slot), issuedBefore) && h.expire(slot)
	})
}

// ExpireIssuedBefore ends all sessions of this node whose credentials were issued
// before t, as ExpireUser does, and returns how many. A session of nobody, to which
// the authenticator granted nothing, has no credentials and goes on. Any goroutine
// but a shard's.
func (s *Server) ExpireIssuedBefore(ctx context.Context, t time.Time) (int, error) {
	s.revoked.add("", t, s.clock())
	return s.onAll(ctx, func(h *shard, slot uint32) bool {
		rec := h.rec(slot)
		return (rec.uid != 0 || rec.grant != 0) && h.grants.issuedBefore(rec, t) && h.expire(slot)
	})
}

// SetPermissions replaces the permissions of a user's sessions on this node, and
// returns how many sessions it met. Topics of commands and of Grant.Asked that are not permitted
// any more are left, and the clients are told; other topics of Grant.Topics stay. A session that is
// renewed gets the permissions of its new Grant. The error is a *message.FieldError for
// lists that are not valid. Any goroutine but a shard's.
func (s *Server) SetPermissions(ctx context.Context, uid string, subscribe, publish []string) (int, error) {
	if err := CheckPermissions(subscribe, publish); err != nil {
		return 0, err
	}
	return s.onUser(ctx, uid, func(h *shard, slot uint32) bool { return h.permissions.set(slot, subscribe, publish) })
}

// SetSessionPermissions is SetPermissions for one session. It returns whether there
// was one.
func (s *Server) SetSessionPermissions(ctx context.Context, sid string, subscribe, publish []string) (bool, error) {
	if err := CheckPermissions(subscribe, publish); err != nil {
		return false, err
	}
	return s.onSession(ctx, sid, func(h *shard, slot uint32) bool { return h.permissions.set(slot, subscribe, publish) })
}

// permitting changes what sessions may do while they are open. Owned by the shard.
type permitting struct {
	env
	events  *eventing
	grants  *grants
	topics  *topics
	answers *answers
}

// set replaces the permissions of a session, also of one whose upgrade waits for the
// bus.
func (p *permitting) set(slot uint32, subscribe, publish []string) bool {
	rec := p.rec(slot)
	if rec.state != stateOpen && rec.state != stateJoin {
		return false
	}
	if p.grants.setPermissions(rec, subscribe, publish) != nil {
		p.counters.limit(limitMemory)
		p.ps.Close(slot) // it must not keep the old ones
		return true
	}
	if left := p.leave(slot, rec, permitDecided); len(left) > 0 {
		p.answers.reply(slot, &wire.Reply{Left: left})
	}
	return true
}

// leave ends the subscriptions of a session that no pattern permits any more, except
// those with a permit above most, and returns their topics.
func (p *permitting) leave(slot uint32, rec *record, most permit) (left []string) {
	for n := rec.topics; n != 0; {
		m := p.topics.links.At(n - 1)
		if name := p.topics.name(m.topic); m.permit() <= most && !p.grants.maySubscribe(rec, view(name)) {
			left = append(left, string(name))
		}
		n = m.next
	}
	told := p.events.wanted(slot, rec)
	for _, name := range left {
		if t, ok := p.topics.find(name); ok {
			p.topics.leave(rec, t)
		}
		if told {
			p.events.unsubscribed(slot, rec, name)
		}
	}
	return left
}
