package session

import (
	"crypto/rand"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/minio/highwayhash"

	"belfry/message"
	"belfry/poller"
	"belfry/wire"
	"belfry/ws"
)

var errNoRoom = errors.New("session: table is full")

// Server holds the sessions of a node. Its methods may be called from any
// goroutine but a shard's, unless they say more.
type Server struct {
	opt    Options
	loop   *poller.Loop
	shards []*shard

	protocols protocols
	origins   atomic.Pointer[ws.Origins] // replaced by SetOrigins; read once for each upgrade
	permitted atomic.Pointer[permitted]  // replaced by Adjust; read once for each name
	joinLeave *message.Patterns          // topics of which Options.TopicWatcher is told

	// Shared by all shards.
	sessions   atomic.Int64   // in the tables
	pending    atomic.Int64   // connections without a complete request head
	waiting    atomic.Int64   // connections with a complete head that were not answered yet
	faults     atomic.Uint64  // panics caught outside the shards
	mailBytes  atomic.Int64   // of messages that wait for shards or are being sent
	acks       atomic.Int64   // acknowledgements that the shards await
	spreading  atomic.Int64   // messages that are being spread
	conns      atomic.Int64   // all connections, ending ones included
	perVariant []atomic.Int64 // sessions, by variant
	perUser    userVariants   // sessions that have a user
	pushes     [message.ScopeSessions + 1]atomic.Uint64
	pubBytes   atomic.Int64  // of clients' messages that wait to be published
	nextShard  atomic.Uint32 // of Adopt, modulo the shards
	revoked    revoked
	deciding   atomic.Int64 // decisions of Options.Subscriptions that are awaited
	asking     atomic.Int64 // answers of Options.TopicPresence that are awaited

	// cut is held for reading while a message is put into the bulk queues of the
	// shards, and for writing while marks are (relocation). Nothing blocks under it.
	cut sync.RWMutex

	upgrades  pool       // of *upgrade
	writers   sync.Pool  // of *wire.Writer
	addresses *addresses // nil: no limit on addresses

	connectRate  atomic.Pointer[connectRate] // nil: no limit; replaced by Adjust
	early        [limitCount]atomic.Uint64   // hits of limits by connections that no shard has seen: Admit
	waitingBytes atomic.Int64                // that authenticators hold

	clock func() time.Duration

	done     chan struct{} // closed when the shards are being stopped
	once     sync.Once
	emptying atomic.Bool   // Shutdown waits for the last connection to end
	handed   atomic.Bool   // a successor serves; see CommitHandOver
	empty    chan struct{} // closed when the last connection has ended
	emptied  sync.Once
	helpers  sync.WaitGroup // publishers
}

// pool is a sync.Pool, or a test's pool that counts.
type pool interface {
	Get() any
	Put(any)
}

// New makes a server and binds its listeners. It accepts no connection before
// Start.
func New(o Options) (*Server, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	if o.Heritage != nil {
		o.Key = o.Heritage.Key
	}
	if o.Key == ([32]byte{}) {
		rand.Read(o.Key[:])
	}
	s := &Server{opt: o, revoked: revoked{keep: 2 * o.UpgradeTime}, clock: o.uptime, done: make(chan struct{}), empty: make(chan struct{})}
	s.SetOrigins(o.Origins)
	var err error
	if s.protocols, err = newProtocols(&s.opt); err != nil {
		return nil, err
	}
	all, err := compilePermitted(&s.opt)
	if err != nil {
		return nil, err
	}
	s.permitted.Store(all)
	if s.joinLeave, err = compileJoinLeave(s.opt.JoinLeave); err != nil {
		return nil, err
	}
	s.perVariant = make([]atomic.Int64, len(s.protocols.variants))
	s.perUser = newUserVariants(len(s.protocols.variants))
	s.connectRate.Store(newConnectRate(&s.opt.NodeLimits))
	if s.addresses, err = newAddresses(&s.opt); err != nil {
		return nil, err
	}
	s.writers.New = func() any { return new(wire.Writer) }
	s.upgrades = &sync.Pool{New: func() any { return &upgrade{} }}
	p, err := s.pollerOptions()
	if err != nil {
		return nil, err
	}
	var failed error
	p.NewHandler = func(ps *poller.Shard) poller.Handler {
		h, err := newShard(s, ps)
		if err != nil {
			failed = errors.Join(failed, err)
			return nil
		}
		s.shards = append(s.shards, h)
		return h
	}
	loop, err := poller.New(p)
	if err != nil {
		s.addresses.close()
	}
	if err == nil && failed != nil {
		err = errors.Join(failed, loop.Discard())
	}
	if err != nil {
		return nil, err
	}
	s.loop = loop
	return s, nil
}

// pollerOptions returns the options of the loop, without its handlers.
func (s *Server) pollerOptions() (poller.Options, error) {
	o := &s.opt
	p := o.Poller
	if in := o.Heritage; in != nil {
		if err := in.check(s.Variants()); err != nil {
			return p, err
		}
		p.Heritage = &in.Poller
	}
	p.RecordSize = recordSize
	p.MaxConns = o.MaxSessions + o.MaxPending
	p.Log = o.Log
	return p, nil
}

// Start makes the server accept connections.
func (s *Server) Start() error {
	if err := s.loop.Start(); err != nil {
		return err
	}
	if s.opt.Publish != nil {
		for _, h := range s.shards {
			s.helpers.Add(1)
			go h.pubs.run()
		}
	}
	return nil
}

// Addrs returns the addresses that the server listens on.
func (s *Server) Addrs() []netip.AddrPort { return s.loop.Addrs() }

// Loop returns the server's reactor.
func (s *Server) Loop() *poller.Loop { return s.loop }

// homeOf returns the shard of a user's sessions, and the hash of the user in that
// shard's table. The two use different bits.
func (s *Server) homeOf(uid string) (shard int, hash uint32) {
	sum := highwayhash.Sum64([]byte(uid), s.opt.Key[:])
	return int((sum >> 32) % uint64(len(s.shards))), uint32(sum)
}

// SetOrigins puts other origins in the place of Options.Origins, for upgrades that
// follow. Sessions that are open stay.
func (s *Server) SetOrigins(o *ws.Origins) { s.origins.Store(o) }
