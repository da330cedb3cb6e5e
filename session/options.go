package session

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"go.uber.org/zap"

	"belfry/message"
	"belfry/poller"
	"belfry/wire"
	"belfry/ws"
)

// Options configure a Server. Every field has a default that works. Durations are
// rounded up to whole seconds; 0 turns a time limit off unless a default is given.
// What a client does counts from the start of that second, so an idle session may
// be closed up to a second early.
type Options struct {
	// Poller is passed on to package poller. The Server sets some of its fields;
	// MaxConns is MaxSessions + MaxPending.
	Poller poller.Options

	Node uint32   // number of this node in the cluster; session ids carry it
	Key  [32]byte // of session ids and table hashes; zero: random

	MaxHead        int             // bytes of a request's line and header; 0: 8 KiB; passed: 431 or 414
	Origins        *ws.Origins     // pages that may connect; nil: pages of the same host; others: 403
	Endpoints      []wire.Endpoint // what clients may speak, and at which paths; nil: defaultEndpoint()
	UpgradeTime    time.Duration   // from accept to a complete head, and again from there to the answer; 0: 10 s
	MaxPending     int             // connections without a complete head; 0: 16384; beyond: 503; beyond half of them from one address, its oldest gets 429
	MaxWaiting     int             // upgrades that wait for authenticator or bus; 0: 16384; beyond: 503
	MaxSessions    int             // 0: 1<<20; beyond: 503
	MaxCredentials int             // bytes of the credentials in a command; 0: 4 KiB; beyond: an error of the command
	RetryAfter     time.Duration   // Retry-After of a 503; 0: 5 s
	Echo           bool            // serve /echo by the first endpoint, for conformance suites
	Authenticator  Authenticator   // nil: &Open{}
	Interest       Interest        // nil: there is no bus
	Events         Events          // nil: nobody is told of sessions
	// Changed is told which sessions of users open and close, at most once in a turn of
	// each shard, on its goroutine: it must neither block nor panic, and p is borrowed
	// until it returns. nil: nobody is told, and it costs nothing.
	Changed   func(p Changes)
	Observer  Observer
	KeepAgent bool // Client.Agent of every session; false: only of those with a route

	LastSeen      time.Duration // how long it is remembered when the last session of a user ended; 0: not at all
	LastSeenUsers int           // users of whom that is remembered, about; 0: 1<<17; beyond: of others it is forgotten earlier

	NodeLimits

	MaxPerAddress  int          // connections of one address (IPv6: of its /64); 0: any number; beyond: 429
	RatePerAddress int          // new ones a second, with twice as many at once; 0: any number; beyond: 429, or a refusal of Admit
	Proxy          ProxyOptions // proxies that are believed about addresses
	Adopts         bool         // Server.Adopt is used: the addresses of its clients are kept
	Healthy        func() bool  // answers requests for HealthPath; must not block; nil: 404

	Limits       ws.Limits
	Rates        Rates
	MessageTime  time.Duration // from the first byte of a client's message to its last; 0: no limit
	MaxTopics    int           // subscriptions of a session; 0: 128
	MaxPerUser   int           // sessions of a user; beyond, the oldest is closed; 0: any number
	RefuseNewest bool          // a session beyond MaxPerUser or MaxPerClass is refused with 429 or 4006; the oldest goes on
	RefuseClient bool          // close with 1008 on a message of an encoding without commands, instead of dropping it

	// MaxPerClass limits the sessions of a user by Grant.DeviceClass, besides MaxPerUser;
	// classes that it does not name have no limit of their own. At most 64, 1 to 1<<20.
	MaxPerClass map[string]int
	// Places is asked about a session of a user before it is admitted, if RefuseNewest is
	// set; nil: only the sessions of this node count.
	Places Places

	MailboxBytes int64 // of messages that wait for shards; 0: 256 MiB; beyond: message.OverloadedError

	// Subscribe and Publishable are patterns (message.CheckPattern) of the topics that
	// every client may subscribe and publish to by command, beside those of its Grant.
	// To users, sessions and all a client may publish only with the pattern *.
	Subscribe, Publishable []string
	// Subscriptions decides about topics that no pattern permits; nil refuses them.
	Subscriptions Subscriptions
	// MaxDeciding is how many of its decisions may be awaited; 0: 4096. Further topics
	// get the error "undecided".
	MaxDeciding int
	// TopicPresence answers clients who ask who is subscribed to a topic that matches
	// the patterns in Presence; nil refuses them.
	TopicPresence TopicPresence
	Presence      []string
	// MaxAsking is how many of its answers may be awaited; 0: 256. Further commands get
	// the error "unavailable".
	MaxAsking int

	// TopicWatcher is told who subscribes to and leaves the topics that match the
	// patterns in JoinLeave, which have no {uid}; nil: nobody is.
	TopicWatcher TopicWatcher
	JoinLeave    []string

	// MaxAcks is how many acknowledgements of clients may be awaited
	// (message.ReportRequest.Ack); 0: 1<<17. Further sessions are not asked.
	MaxAcks int
	// MaxSpreads is how many messages with a Message.Spread may be under way at once;
	// 16. Beyond it a message is refused.
	MaxSpreads int

	// Heritage is what the server takes over from that of another process; nil: nothing.
	Heritage *Heritage

	// Publish publishes what clients send by command. It is called on one goroutine
	// for each shard, and may wait for w.Time while the shards of the message are
	// behind; nil refuses such commands.
	Publish func(m *message.Message, w message.Wait) error
	// PublishQueue is how many messages of a shard's clients may wait for Publish;
	// 0: 1024. Further ones get the error "unavailable".
	PublishQueue int

	BacklogTime  time.Duration // how long a client may read nothing while messages wait for it; 0: no limit
	PingInterval time.Duration // time without input after which a client is pinged; 0: no pings
	PongTimeout  time.Duration // time for the answer to a ping; 0: pongs are not awaited
	IdleRead     time.Duration // time in which nothing was received, after which the session ends
	IdleWrite    time.Duration // time in which nothing was sent
	Idle         time.Duration // time in which nothing was received or sent
	CloseTime    time.Duration // for the peer's answer to a close frame; 0: 5 s

	// Lifetime is how old a session becomes; 0: as old as it likes. LifetimeSpread is how
	// much earlier or later it may be for a session, which its id decides; less than
	// Lifetime, unless that is 0.
	Lifetime, LifetimeSpread time.Duration

	ReconnectAfter  time.Duration // least delay advised to clients that are to come back; 0: 1 s; below 0: none
	ReconnectSpread time.Duration // what is added to it at most by Shed and Lifetime; at shutdown it is an argument

	Log *zap.Logger // nil: none

	clock  func() time.Time     // by which grants expire; nil: time.Now
	uptime func() time.Duration // Server.clock; nil: the time since New
}

// fill sets the defaults of options that are 0 or nil, and checks ranges.
func (o *Options) fill() error {
	o.fillParts()
	return errors.Join(o.fillNumbers(), o.fillTimes(), o.NodeLimits.fill(), checkPerClass(o.MaxPerClass))
}

func (o *Options) fillNumbers() error {
	return errors.Join(
		fill("Poller.Shards", &o.Poller.Shards, runtime.NumCPU(), 1, poller.MaxShards),
		fill("Poller.InboundBytes", &o.Poller.InboundBytes, 256<<20, 1, 1<<50),
		fill("MaxHead", &o.MaxHead, ws.DefaultMaxHead, ws.MinMaxHead, poller.MaxUnread),
		fill("MaxPending", &o.MaxPending, 1<<14, 1, 1<<20),
		fill("MaxWaiting", &o.MaxWaiting, 1<<14, 1, 1<<20),
		fill("MaxCredentials", &o.MaxCredentials, 4<<10, 1, 1<<20),
		fill("MaxSessions", &o.MaxSessions, 1<<20, 1, 1<<25),
		fill("MaxPerAddress", &o.MaxPerAddress, 0, 0, 1<<24),
		fill("RatePerAddress", &o.RatePerAddress, 0, 0, 1<<20),
		fill("Limits.MaxMessage", &o.Limits.MaxMessage, ws.DefaultMaxMessage, 1, 1<<30),
		fill("Limits.MaxFragments", &o.Limits.MaxFragments, ws.DefaultMaxFragments, 1, 1<<30),
		fill("MaxTopics", &o.MaxTopics, 128, 1, maxTopicsOfSession),
		fill("MaxDeciding", &o.MaxDeciding, 1<<12, 1, 1<<20),
		fill("MaxAsking", &o.MaxAsking, 1<<8, 1, 1<<20),
		fill("MaxAcks", &o.MaxAcks, 1<<17, 1, 1<<24),
		fill("MaxSpreads", &o.MaxSpreads, 16, 1, 1024),
		fill("LastSeenUsers", &o.LastSeenUsers, 1<<17, 1, 1<<25),
		fill("MaxPerUser", &o.MaxPerUser, 0, 0, 1<<20),
		fill("MailboxBytes", &o.MailboxBytes, 256<<20, 1, 1<<50),
		fill("PublishQueue", &o.PublishQueue, 1024, 1, 1<<16),
	)
}

func (o *Options) fillTimes() error {
	return errors.Join(
		fill("UpgradeTime", &o.UpgradeTime, 10*time.Second, 1, maxTime),
		fill("RetryAfter", &o.RetryAfter, 5*time.Second, 1, maxTime),
		fill("MessageTime", &o.MessageTime, 0, 0, maxTime),
		fill("Rates.Grace", &o.Rates.Grace, 0, 0, maxTime),
		fill("LastSeen", &o.LastSeen, 0, 0, maxTime),
		fill("BacklogTime", &o.BacklogTime, 0, 0, maxTime),
		fill("PingInterval", &o.PingInterval, 0, 0, maxTime),
		fill("PongTimeout", &o.PongTimeout, 0, 0, maxTime),
		fill("IdleRead", &o.IdleRead, 0, 0, maxTime),
		fill("IdleWrite", &o.IdleWrite, 0, 0, maxTime),
		fill("Idle", &o.Idle, 0, 0, maxTime),
		fill("CloseTime", &o.CloseTime, 5*time.Second, 1, maxTime),
		fill("Lifetime", &o.Lifetime, 0, 0, maxTime),
		fill("LifetimeSpread", &o.LifetimeSpread, 0, 0, o.mostSpread()),
		fill("ReconnectSpread", &o.ReconnectSpread, 0, 0, maxTime),
		fill("ReconnectAfter", &o.ReconnectAfter, time.Second, -1, maxTime),
	)
}

// mostSpread returns the largest LifetimeSpread.
func (o *Options) mostSpread() time.Duration {
	if o.Lifetime <= 0 {
		return maxTime // it does nothing
	}
	return max(o.Lifetime-time.Second, 0)
}

// maxTime is the largest duration in Options.
const maxTime = 365 * 24 * time.Hour

// fill sets an option that is 0 to its default, and returns an error if it is out
// of range.
func fill[T int | int64 | time.Duration](name string, v *T, def, least, most T) error {
	if *v == 0 {
		*v = def
	}
	if *v < least || *v > most {
		return fmt.Errorf("session: %s is %v; allowed are %v to %v", name, *v, least, most)
	}
	return nil
}

// fillParts sets the defaults of parts that are missing.
func (o *Options) fillParts() {
	if o.uptime == nil {
		o.uptime = sinceStart()
	}
	if len(o.Endpoints) == 0 {
		o.Endpoints = []wire.Endpoint{defaultEndpoint()}
	}
	if o.Authenticator == nil {
		o.Authenticator = &Open{}
	}
	if o.Interest == nil {
		o.Interest = noInterest{}
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
}

// ticks returns d in ticks: seconds of a shard's clock, rounded up.
func ticks(d time.Duration) uint32 { return uint32((d + time.Second - 1) / time.Second) }
