package main

import (
	"context"
	"time"

	"belfry/broadcast"
	"belfry/message"
	"belfry/presence"
	"belfry/session"
)

// openPresence makes what reads sessions of all nodes. It is called before the bus
// starts.
func (n *belfry) openPresence() {
	o := presence.Options{
		Self:     broadcast.Peer{ID: n.bus.NodeID(), Name: n.bus.Name()},
		Local:    reads{n},
		Control:  n.bus.Control(),
		Degraded: sessionControl{n}.reach,
	}
	if n.directory != nil {
		o.Holders, o.Members = holders{n.directory}, n.directory.view
	}
	n.presence = presence.New(o)
}

// reads gives presence access to the sessions of this node.
type reads struct{ *belfry }

// Session implements presence.Local.
func (r reads) Session(ctx context.Context, sid string) (*presence.Session, error) {
	if !r.restart.moving.TryRLock() {
		return nil, errMoving
	}
	defer r.restart.moving.RUnlock()
	info, ok, err := r.sessions.Lookup(ctx, sid)
	if err != nil || !ok {
		return nil, err
	}
	s := r.view(&info)
	return &s, nil
}

// UserSessions implements presence.Local.
func (r reads) UserSessions(ctx context.Context, uid string, after message.SID, limit int) ([]presence.Session, int, bool, error) {
	if !r.restart.moving.TryRLock() {
		return nil, 0, false, errMoving
	}
	defer r.restart.moving.RUnlock()
	list, count, more, err := r.sessions.UserSessions(ctx, uid, after, limit)
	views := make([]presence.Session, len(list))
	for i := range list {
		views[i] = r.view(&list[i])
	}
	return views, count, more, err
}

// view is what the API says about a session.
func (r reads) view(i *session.Info) presence.Session {
	s := presence.Session{
		SID: i.ID, UID: i.UID, Node: r.bus.Name(), Since: i.Opened.UTC(), LastActivity: i.Active.UTC(), Agent: i.Agent, DeviceClass: i.DeviceClass,
		Transport: i.Transport, Encoding: i.Encoding, Topics: orEmpty(i.Topics), Subscriptions: i.Subscriptions,
		Backlog: presence.Backlog{Messages: i.BacklogFrames, Bytes: i.BacklogBytes}, Meta: i.Meta,
	}
	if i.Remote.IsValid() {
		s.Address = i.Remote.String()
	}
	return s
}

// Users implements presence.Local.
func (r reads) Users(ctx context.Context, uids []string) ([]presence.UserCount, error) {
	if !r.restart.moving.TryRLock() {
		return nil, errMoving
	}
	defer r.restart.moving.RUnlock()
	list, err := r.sessions.UsersPresence(ctx, uids)
	counts := make([]presence.UserCount, len(list))
	for i, p := range list {
		counts[i] = presence.UserCount(p)
	}
	return counts, err
}

// Subscribers implements presence.Local.
func (r reads) Subscribers(ctx context.Context, topic string) (int, error) {
	if !r.restart.moving.TryRLock() {
		return 0, errMoving
	}
	defer r.restart.moving.RUnlock()
	return r.sessions.Subscribers(ctx, topic)
}

// SubscribersOf implements presence.Local.
func (r reads) SubscribersOf(ctx context.Context, topics []string) ([]int, error) {
	if !r.restart.moving.TryRLock() {
		return nil, errMoving
	}
	defer r.restart.moving.RUnlock()
	return r.sessions.SubscribersOf(ctx, topics)
}

// Members implements presence.Local.
func (r reads) Members(ctx context.Context, topic string, after message.SID, limit int) ([]presence.Member, bool, error) {
	if !r.restart.moving.TryRLock() {
		return nil, false, errMoving
	}
	defer r.restart.moving.RUnlock()
	list, more, err := r.sessions.Members(ctx, topic, after, limit)
	members := make([]presence.Member, len(list))
	for i, m := range list {
		members[i] = presence.Member{SID: m.ID, UID: m.UID}
	}
	return members, more, err
}

// Topics implements presence.Local.
func (r reads) Topics(ctx context.Context, prefix, after string, limit int) ([]presence.TopicCount, bool, error) {
	if !r.restart.moving.TryRLock() {
		return nil, false, errMoving
	}
	defer r.restart.moving.RUnlock()
	list, more, err := r.sessions.Topics(ctx, prefix, after, limit)
	topics := make([]presence.TopicCount, len(list))
	for i, t := range list {
		topics[i] = presence.TopicCount{Topic: t.Name, Count: t.Count}
	}
	return topics, more, err
}

// loadTime is the time over which State measures the load of the shards.
const loadTime = 100 * time.Millisecond

// State implements presence.Local. It takes loadTime.
func (r reads) State(ctx context.Context) presence.NodeState {
	before, begun := r.sessions.Stats().Poller.BusySeconds, time.Now()
	select {
	case <-time.After(loadTime):
	case <-ctx.Done():
	}
	st, took := r.sessions.Stats(), time.Since(begun).Seconds()
	s := presence.NodeState{
		Version: buildVersion(), Uptime: time.Since(r.started).Seconds(),
		Reasons: r.ready(), Degraded: r.degraded(),
		Sessions: st.Sessions, MaxSessions: r.cfg.MaxConnections, Users: st.Users, Topics: st.Topics,
	}
	s.Ready = len(s.Reasons) == 0
	for i, busy := range st.Poller.BusySeconds {
		s.Load = max(s.Load, min((busy-before[i])/took, 1))
	}
	return s
}
