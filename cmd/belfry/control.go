package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"belfry/auth"
	"belfry/broadcast"
	"belfry/message"
	"belfry/push"
)

// Kinds of commands with which nodes change each other's sessions. docs/bus.md
// describes them.
const (
	kindExpire = "sessions.expire"
	kindPermit = "sessions.permit"
	kindEnd    = "sessions.end"
	kindJoin   = "sessions.join"
	kindLeave  = "sessions.leave"
)

// order is the body of a command about sessions: of one session, of a user, or of
// everybody.
type order struct {
	SID       string   `json:"sid,omitempty"`
	UID       string   `json:"uid,omitempty"`
	Before    int64    `json:"before,omitempty"` // nanoseconds since 1970; of an expiry without SID
	Subscribe []string `json:"subscribe,omitempty"`
	Publish   []string `json:"publish,omitempty"`
	Code      uint16   `json:"code,omitempty"` // of an end
	Reason    string   `json:"reason,omitempty"`
	Topic     string   `json:"topic,omitempty"` // of a join or a leave
}

// orderFunc carries out an order on this node.
type orderFunc func(context.Context, *order) (done, error)

// done is the answer to an order.
type done struct {
	Sessions int `json:"sessions"`
	Full     int `json:"full,omitempty"` // that had no room
}

// sessionControl ends sessions and changes their permissions on all nodes. It
// implements push.Sessions, and serves the commands of other nodes.
type sessionControl struct{ *belfry }

// newRevocations makes what remembers revoked tokens.
func (n *belfry) newRevocations() {
	lifetime := n.cfg.Auth.MaxLifetime
	if lifetime == 0 {
		lifetime = longestLifetime
	}
	n.revocations = auth.NewRevocations(lifetime, n.cfg.Auth.MaxRevocations)
}

// longestLifetime is how long revocations are kept if tokens may live for ever.
const longestLifetime = 365 * 24 * time.Hour

// joinControl connects sessions and revocations with the other nodes. It is called
// before the bus starts.
func (n *belfry) joinControl() {
	c, s := n.bus.Control(), sessionControl{n}
	c.Handle(kindExpire, s.handle(s.expire))
	c.Handle(kindPermit, s.handle(s.permit))
	c.Handle(kindEnd, s.handle(s.end))
	c.Handle(kindJoin, s.handle(s.join))
	c.Handle(kindLeave, s.handle(s.leave))
	n.sync = auth.NewRevocationSync(n.revocations, auth.SyncOptions{
		Ask: func(ctx context.Context, node uint32, body []byte) ([]byte, error) {
			return c.Ask(ctx, node, auth.RevocationKind, body)
		},
		Apply: s.learned,
		Alone: c.Alone(),
		Log:   n.log.Named("auth"),
	})
	c.Handle(auth.RevocationKind, func(_ context.Context, from broadcast.Peer, body []byte) ([]byte, error) {
		return n.sync.Answer(from.ID, body)
	})
	c.OnPeer(func(p broadcast.Peer) { n.sync.PeerUp(p.ID) })
}

// revocationsReady returns why a node that checks tokens should get no traffic yet,
// "" if it may.
func (n *belfry) revocationsReady() string {
	if n.sync == nil || n.sync.Ready() || !n.cfg.Auth.JWT.Configured() {
		return ""
	}
	return "auth: waiting for the revocations of another node, for at most 5 s"
}

// applyTime is how long the sessions of a learned revocation may take to end.
const applyTime = 10 * time.Second

// learned ends the sessions that a revocation of another node concerns.
func (s sessionControl) learned(v auth.Revocation) {
	ctx, cancel := context.WithTimeout(context.Background(), applyTime)
	defer cancel()
	_, _ = s.expireRevoked(ctx, v) // without an answer they end when the shards get to it
}

// handle makes a handler for commands of other nodes.
func (s sessionControl) handle(do orderFunc) broadcast.Handler {
	return func(ctx context.Context, _ broadcast.Peer, body []byte) ([]byte, error) {
		o := new(order)
		if err := json.Unmarshal(body, o); err != nil {
			return nil, fmt.Errorf("malformed order: %w", err)
		}
		if !s.restart.moving.TryRLock() {
			return nil, errMoving
		}
		defer s.restart.moving.RUnlock()
		d, err := do(ctx, o)
		if err != nil {
			return nil, err
		}
		return json.Marshal(d)
	}
}

// expire ends sessions of this node. It revokes first, so that none opens in
// between.
func (s sessionControl) expire(ctx context.Context, o *order) (d done, err error) {
	if o.SID != "" {
		met, err := s.sessions.Expire(ctx, o.SID)
		return oneMet(met), err
	}
	v := auth.Revocation{UID: o.UID, Before: time.Unix(0, o.Before)}
	now := time.Now()
	if err := v.Check(now); err != nil {
		return d, err
	}
	if _, err := s.revocations.Add(v, now); errors.Is(err, auth.ErrRevocationsFull) {
		return d, &push.FullError{Detail: fmt.Sprintf("the tokens of %d users are revoked, as many as allowed (auth.max_revocations); "+
			"POST /v1/tokens/expire revokes those of all users and needs no place", s.cfg.Auth.MaxRevocations)}
	}
	d.Sessions, err = s.expireRevoked(ctx, v)
	return d, err
}

func (s sessionControl) expireRevoked(ctx context.Context, v auth.Revocation) (int, error) {
	if v.UID != "" {
		return s.sessions.ExpireUser(ctx, v.UID, v.Before)
	}
	return s.sessions.ExpireIssuedBefore(ctx, v.Before)
}

// permit changes the permissions of sessions of this node.
func (s sessionControl) permit(ctx context.Context, o *order) (d done, err error) {
	if o.SID != "" {
		met, err := s.sessions.SetSessionPermissions(ctx, o.SID, o.Subscribe, o.Publish)
		return oneMet(met), err
	}
	d.Sessions, err = s.sessions.SetPermissions(ctx, o.UID, o.Subscribe, o.Publish)
	return d, err
}

func oneMet(met bool) (d done) {
	if met {
		d.Sessions = 1
	}
	return d
}

// ExpireSession implements push.Sessions.
func (s sessionControl) ExpireSession(ctx context.Context, sid string) (push.Outcome, error) {
	return s.one(ctx, kindExpire, &order{SID: sid}, s.expire)
}

// PermitSession implements push.Sessions.
func (s sessionControl) PermitSession(ctx context.Context, sid string, p push.Permissions) (push.Outcome, error) {
	return s.one(ctx, kindPermit, &order{SID: sid, Subscribe: p.Subscribe, Publish: p.Publish}, s.permit)
}

// ExpireUser implements push.Sessions.
func (s sessionControl) ExpireUser(ctx context.Context, uid string, before time.Time) (push.Outcome, error) {
	return s.all(ctx, kindExpire, &order{UID: uid, Before: before.UnixNano()}, s.expire)
}

// ExpireTokens implements push.Sessions.
func (s sessionControl) ExpireTokens(ctx context.Context, before time.Time) (push.Outcome, error) {
	return s.all(ctx, kindExpire, &order{Before: before.UnixNano()}, s.expire)
}

// PermitUser implements push.Sessions.
func (s sessionControl) PermitUser(ctx context.Context, uid string, p push.Permissions) (push.Outcome, error) {
	return s.all(ctx, kindPermit, &order{UID: uid, Subscribe: p.Subscribe, Publish: p.Publish}, s.permit)
}

// one has the node of a session run an order.
func (s sessionControl) one(ctx context.Context, kind string, o *order, here orderFunc) (out push.Outcome, err error) {
	id, err := message.NodeOf(o.SID)
	if err != nil {
		return out, err
	}
	if id == s.bus.NodeID() {
		err = s.local(ctx, o, here, &out)
		return out, err
	}
	name := ""
	for _, p := range s.bus.Control().Peers() {
		if p.ID == id {
			name = p.Name
		}
	}
	if name == "" {
		out.Failed = []push.NodeError{{Node: fmt.Sprintf("%08x", id), Detail: "the node of this session is not there; if it has ended, so has the session"}}
		out.Degraded = s.reach()
		return out, nil
	}
	body, err := json.Marshal(o)
	if err != nil {
		return out, err
	}
	answer, err := s.bus.Control().Ask(ctx, id, kind, body)
	add(&out, broadcast.Answer{Peer: broadcast.Peer{ID: id, Name: name}, Body: answer, Err: err})
	return out, nil
}

// all has every node run an order, this one first: what it refuses, no node does.
func (s sessionControl) all(ctx context.Context, kind string, o *order, here orderFunc) (out push.Outcome, err error) {
	return s.each(ctx, o, here, func(body []byte) []broadcast.Answer { return s.bus.Control().AskAll(ctx, kind, body) })
}

// each has this node run an order, and then the nodes that ask asks.
func (s sessionControl) each(ctx context.Context, o *order, here orderFunc, ask func(body []byte) []broadcast.Answer) (out push.Outcome, err error) {
	if err := s.local(ctx, o, here, &out); err != nil {
		return out, err
	}
	body, err := json.Marshal(o)
	if err != nil {
		return out, err
	}
	for _, a := range ask(body) {
		add(&out, a)
	}
	out.Degraded = s.reach()
	return out, nil
}

// local runs an order on this node. A shard that does not answer in time is not an
// error: it does it when it gets to it.
func (s sessionControl) local(ctx context.Context, o *order, here orderFunc, out *push.Outcome) error {
	if !s.restart.moving.TryRLock() {
		out.Failed = append(out.Failed, push.NodeError{Node: s.bus.Name(), Detail: errMoving.Error()})
		return nil
	}
	defer s.restart.moving.RUnlock()
	d, err := here(ctx, o)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		out.Failed = append(out.Failed, push.NodeError{Node: s.bus.Name(), Detail: "a shard did not answer in time"})
	case err != nil:
		return err
	default:
		out.Nodes++
	}
	out.Sessions += d.Sessions
	out.Full += d.Full
	return nil
}

// add adds the answer of another node.
func add(out *push.Outcome, a broadcast.Answer) {
	var d done
	err := a.Err
	if err == nil {
		err = json.Unmarshal(a.Body, &d)
	}
	detail := ""
	if refused, ok := errors.AsType[*broadcast.RefusedError](err); ok {
		detail = refused.Detail // without the name of the node
	} else if err != nil {
		detail = err.Error()
	}
	if detail != "" {
		out.Failed = append(out.Failed, push.NodeError{Node: a.Name, Detail: detail})
		return
	}
	out.Nodes++
	out.Sessions += d.Sessions
	out.Full += d.Full
}

// reach returns why other nodes may have got nothing.
func (s sessionControl) reach() []string {
	reasons := s.bus.Degraded()
	if err := s.bus.Ready(); err != nil {
		reasons = append(reasons, err.Error())
	}
	return reasons
}
