package session

import (
	"fmt"
	"runtime"
	"time"

	"go.uber.org/zap"

	"belfry/message"
	"belfry/poller"
	"belfry/wire"
	"belfry/ws"
)

// Options configure a Server. Every field has a default that works; durations
// are rounded up to whole seconds, and 0 turns off what they time unless a
// default is given. What a client did counts from the begin of its second, so
// that an idle session may be closed up to a second early.
type Options struct {
	// Poller is passed on, with what the Server decides filled in. Its
	// MaxConns is derived from MaxSessions and MaxPending.
	Poller poller.Options

	Node uint32   // which node of the cluster this is; session ids carry it
	Key  [32]byte // of session ids and table hashes; zero: random

	MaxHead       int             // bytes of a request's line and header; 0: 8 KiB; passed: 431 or 414
	Origins       *ws.Origins     // pages that may connect; nil: those of the same host; others: 403
	Endpoints     []wire.Endpoint // what clients may speak, and at which paths; nil: DefaultEndpoint()
	UpgradeTime   time.Duration   // from accept to a complete head, and from there to the answer; 0: 10 s
	MaxPending    int             // connections without a complete head; 0: 16384; of one address half of them, beyond its oldest gets 429; all taken: 503
	MaxWaiting    int             // upgrades that wait for authenticator or bus; 0: 16384; beyond: 503
	MaxSessions   int             // 0: 1<<20; beyond: 503
	RetryAfter    time.Duration   // advised with a 503; 0: 5 s
	Echo          bool            // serve /echo by the first endpoint, for conformance suites
	Authenticator Authenticator   // nil: &Open{}
	Interest      Interest        // nil: there is no bus

	MaxPerAddress  int          // connections of one address (IPv6: of its /64); 0: any number; beyond: 429
	RatePerAddress int          // new ones a second, with twice as many at once; 0: any number; beyond: 429
	Proxy          ProxyOptions // whose word is taken for where clients come from
	Healthy        func() bool  // told at HealthPath; must not block; nil: nothing is served there

	Limits       ws.Limits
	Rates        Rates
	MessageTime  time.Duration // from the first byte of a client's message to its last; 0: any time
	MaxTopics    int           // subscriptions of a session; 0: 128
	MaxPerUser   int           // sessions of a user, the oldest gives way; 0: any number
	RefuseClient bool          // close with 1008 on a client message that nobody wants, instead of dropping it

	MailboxBytes int64 // of messages that wait for shards; 0: 256 MiB; beyond: message.OverloadedError

	// MaySubscribe rules over belfry.v1 "sub" commands; nil refuses all.
	MaySubscribe func(topic string) bool
	// Publish is given what belfry.v1 "pub" commands send, on a goroutine of
	// its own for each shard; nil refuses them.
	Publish func(*message.Message) error

	BacklogTime  time.Duration // how long a client may take nothing of what waits for it; 0: for ever
	PingInterval time.Duration // silence before a ping; 0: no pings
	PongTimeout  time.Duration // silence after a ping that ends the session; 0: pongs are not awaited
	IdleRead     time.Duration // nothing received
	IdleWrite    time.Duration // nothing sent
	Idle         time.Duration // neither
	CloseTime    time.Duration // for the peer's answer to a close frame; 0: 5 s

	ReconnectAfter time.Duration // least delay advised at shutdown; 0: 1 s

	Log *zap.Logger // nil: none
}

func (o *Options) setDefaults() {
	dur := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	num := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	dur(&o.UpgradeTime, 10*time.Second)
	dur(&o.RetryAfter, 5*time.Second)
	dur(&o.CloseTime, 5*time.Second)
	dur(&o.ReconnectAfter, time.Second)
	if o.MailboxBytes == 0 {
		o.MailboxBytes = 256 << 20
	}
	num(&o.Poller.Shards, runtime.NumCPU())
	num(&o.MaxPending, 1<<14)
	num(&o.MaxWaiting, 1<<14)
	num(&o.MaxSessions, 1<<20)
	num(&o.MaxTopics, 128)
	num(&o.Limits.MaxMessage, ws.DefaultMaxMessage)
	num(&o.Limits.MaxFragments, ws.DefaultMaxFragments)
	num(&o.MaxHead, ws.DefaultMaxHead)
	if o.Poller.InboundBytes == 0 {
		o.Poller.InboundBytes = 256 << 20
	}
	if o.Endpoints == nil {
		o.Endpoints = []wire.Endpoint{DefaultEndpoint()}
	}
	if o.Authenticator == nil {
		o.Authenticator = &Open{}
	}
	if o.Interest == nil {
		o.Interest = noInterest{}
	}
	if o.MaySubscribe == nil {
		o.MaySubscribe = func(string) bool { return false }
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
}

func (o *Options) check() error {
	between := func(name string, v, lo, hi int) error {
		if v < lo || v > hi {
			return &message.FieldError{Field: name, Problem: fmt.Sprintf("%d; allowed are %d to %d", v, lo, hi)}
		}
		return nil
	}
	for _, err := range []error{
		between("max_head", o.MaxHead, ws.MinMaxHead, poller.MaxUnread),
		between("max_sessions", o.MaxSessions, 1, 1<<25),
		between("max_pending", o.MaxPending, 1, 1<<20),
		between("max_waiting", o.MaxWaiting, 1, 1<<20),
		between("max_per_address", o.MaxPerAddress, 0, 1<<24),
		between("rate_per_address", o.RatePerAddress, 0, 1<<20),
		between("max_topics", o.MaxTopics, 1, 1<<14),
		between("max_per_user", o.MaxPerUser, 0, 1<<20),
		between("max_message", o.Limits.MaxMessage, 1, 1<<30),
		between("max_fragments", o.Limits.MaxFragments, 1, 1<<30),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

// ticks returns d in seconds of a shard's clock, rounded up.
func ticks(d time.Duration) uint32 { return uint32((d + time.Second - 1) / time.Second) }
