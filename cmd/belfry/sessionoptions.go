package main

import (
	"belfry/config"
	"belfry/session"
	"belfry/ws"
)

func (n *belfry) sessionOptions() (session.Options, error) {
	c := n.cfg
	n.newRevocations()
	authenticator, err := n.authenticator()
	if err != nil {
		return session.Options{}, err
	}
	origins, err := origins(c)
	if err != nil {
		return session.Options{}, err
	}
	endpoints, err := n.endpoints()
	if err != nil {
		return session.Options{}, err
	}
	subscriptions, err := n.subscriptions()
	if err != nil {
		return session.Options{}, err
	}
	o := session.Options{
		Heritage:       n.restart.sessions(),
		Poller:         pollerOptions(c, &n.memory),
		Node:           n.bus.NodeID(),
		MaxHead:        int(c.Upgrade.MaxHead),
		Origins:        origins,
		Endpoints:      endpoints,
		UpgradeTime:    c.Upgrade.Timeout,
		MaxPending:     c.Upgrade.MaxPending,
		MaxPerAddress:  c.Upgrade.MaxPerAddress,
		RatePerAddress: c.Upgrade.RatePerAddress,
		Proxy:          proxyOptions(c),
		Adopts:         c.TLS.On(),
		MaxSessions:    c.MaxConnections,
		MaxCredentials: int(c.Auth.MaxToken),
		RetryAfter:     c.Upgrade.RetryAfter,
		Echo:           c.Dev,
		Authenticator:  authenticator,
		Subscriptions:  subscriptions,
		Interest:       interest{n.bus, n.directory, n.restart.heir},
		MailboxBytes:   int64(c.Fanout.MailboxBytes),
		BacklogTime:    c.Backlog.Timeout,
		KeepAgent:      c.Session.KeepAgent,
		PublishQueue:   c.Session.PublishQueue,
		ReconnectAfter: orNone(c.Shutdown.ReconnectAfter),
		Log:            n.log.Named("session"),
	}
	addAdjustable(&o, c)
	addTimes(&o, c)
	addUserLimits(&o, c)
	n.addPresence(&o)
	n.addCalls(&o)
	return o, nil
}

// addAdjustable adds what a reload can change (session.Server.Adjust).
func addAdjustable(o *session.Options, c *config.Config) {
	o.Rates, o.NodeLimits, o.MaxWaiting = rates(c), nodeLimits(c), c.Upgrade.MaxWaiting
	o.Limits = ws.Limits{MaxMessage: int(c.Session.MaxMessage), MaxFragments: c.Session.MaxFragments}
	o.MessageTime, o.CloseTime, o.MaxTopics = c.Session.MessageTimeout, c.Session.CloseTimeout, c.Session.MaxTopics
	o.MaxDeciding, o.MaxAcks, o.MaxAsking = c.Session.MaxDeciding, c.Session.MaxAcks, c.Session.MaxPresence
	o.RefuseClient = c.Session.ClientMessages == "refuse"
	o.Subscribe, o.Publishable, o.Presence = c.Auth.Subscribe, c.Auth.Publish, c.Session.Presence
}

// addUserLimits adds how many sessions a user may have, and how many messages are spread.
func addUserLimits(o *session.Options, c *config.Config) {
	o.MaxSpreads = c.Fanout.MaxSpreads
	o.MaxPerUser, o.MaxPerClass = c.Session.MaxPerUser, c.Session.PerUserClass()
	o.RefuseNewest = c.Session.PerUserPolicy == "refuse-newest"
}

// addPresence adds what clients learn of the other subscribers of a topic.
func (n *belfry) addPresence(o *session.Options) {
	o.TopicPresence, o.JoinLeave = topicPresence{n}, n.cfg.Session.JoinLeave
}

// addTimes adds how long sessions may be silent, and are remembered.
func addTimes(o *session.Options, c *config.Config) {
	o.PingInterval, o.PongTimeout = c.Session.PingInterval, c.Session.PongTimeout
	o.IdleRead, o.IdleWrite, o.Idle = c.Session.IdleRead, c.Session.IdleWrite, c.Session.Idle
	o.Lifetime, o.LifetimeSpread = c.Session.Lifetime, c.Session.LifetimeSpread
	o.ReconnectSpread = c.Shutdown.ReconnectJitter
	o.LastSeen, o.LastSeenUsers = c.Session.LastSeen, c.Session.LastSeenUsers
}

// publishes says whether a client may be permitted to publish: by a setting, a token or
// the webhook.
func (n *belfry) publishes() bool {
	return len(n.cfg.Auth.Publish) > 0 || n.auth != nil || n.hooks.connect != nil
}

// addCalls adds what sessions call, as far as the settings want it.
func (n *belfry) addCalls(o *session.Options) {
	if n.publishes() {
		o.Publish = n.publish
	}
	if n.gateway != nil {
		o.Events = n.gateway
	}
	if n.directory != nil {
		o.Changed = n.directory.changed
		o.Places = places{n.directory}
	}
	if n.announcer != nil {
		o.TopicWatcher = n.announcer
	}
	if n.events != nil {
		o.Observer = n.events.Observer()
	}
	if n.cfg.Upgrade.Health {
		o.Healthy = n.serves
	}
}

func nodeLimits(c *config.Config) session.NodeLimits {
	return session.NodeLimits{
		ConnectRate: c.Upgrade.Rate, ConnectBurst: c.Upgrade.Burst,
		WaitingBytes: int64(c.Upgrade.WaitingBytes),
		ClosingBytes: int(c.Session.ClosingBytes), HalfClosedBytes: int(c.Session.HalfClosed),
	}
}

func rates(c *config.Config) session.Rates {
	s := &c.Session
	return session.Rates{
		Messages: s.MessageRate, MessageBurst: s.MessageBurst,
		Bytes: int(s.ByteRate), ByteBurst: int(s.ByteBurst),
		Commands: s.CommandRate, CommandBurst: s.CommandBurst,
		Grace:        s.RateGrace,
		UserMessages: s.UserMessageRate, UserMessageBurst: s.UserMessageBurst,
		UserBytes: int(s.UserByteRate), UserByteBurst: int(s.UserByteBurst),
	}
}
