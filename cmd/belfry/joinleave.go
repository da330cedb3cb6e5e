package main

import (
	"belfry/cluster"
	"belfry/config"
	"belfry/message"
	"belfry/metrics"
	"belfry/presence"
)

// maxMembersBytes is how long a join or leave may be: a broadcast must not become large
// because user ids are long.
const maxMembersBytes = 32 << 10

func announcerOptions(c *config.Config) presence.AnnouncerOptions {
	return presence.AnnouncerOptions{
		Members: c.Session.JoinLeaveMembers, Rate: c.Session.JoinLeaveRate,
		Bytes: min(int(c.API.MaxPayload), maxMembersBytes), Wait: c.API.NodesWait,
	}
}

// openAnnouncer makes what tells subscribers of each other, if some topics want it. It is
// called before the sessions are made and before the bus starts.
func (n *belfry) openAnnouncer() error {
	topics, err := message.CompilePatterns(n.cfg.Session.JoinLeave)
	if err != nil || len(n.cfg.Session.JoinLeave) == 0 {
		return err
	}
	o := announcerOptions(n.cfg)
	o.Reader, o.Log = n.presence, n.log.Named("joinleave")
	o.Match = func(topic string) bool { return topics.Match(topic, "") }
	// What clients publish and what tells of clients may take the same part of the outbox.
	o.Publish = func(m *message.Message) error { return n.publish(m, message.Wait{}) }
	o.Deliver = n.deliverHere
	n.announcer = presence.NewAnnouncer(o)
	if n.directory != nil {
		n.directory.members.Watch(func(c cluster.Change) {
			if c.State == cluster.Gone || c.Restarted {
				n.announcer.NodeGone()
			}
		})
	}
	return nil
}

// deliverHere delivers a message to the sessions of this node only.
func (n *belfry) deliverHere(m *message.Message) error {
	d, err := n.sessions.Prepare(m)
	if err != nil {
		return err
	}
	return d.Deliver()
}

// startAnnouncer begins to tell. It is called after the bus has started.
func (n *belfry) startAnnouncer() {
	if n.announcer != nil {
		n.announcer.Start()
	}
}

// closeAnnouncer ends it. It is called before the sessions are closed.
func (n *belfry) closeAnnouncer() {
	if n.announcer != nil {
		n.announcer.Close()
	}
}

func (n *belfry) joinLeaveValues(limits map[string]uint64) metrics.JoinLeave {
	st := presence.AnnouncerStats{Told: map[string]uint64{}}
	for k := message.MemberJoin; k <= message.MemberCount; k++ {
		st.Told[k.String()] = 0
	}
	if n.announcer != nil {
		st = n.announcer.Stats()
	}
	limits["session.join_leave_rate"] += st.Dropped
	return metrics.JoinLeave{Messages: st.Told, Failed: st.Failed, Waiting: uint64(st.Waiting)}
}
