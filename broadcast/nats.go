package broadcast

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"belfry/message"
)

// Times and limits of the connection to NATS.
const (
	connectTimeout   = 2 * time.Second
	reconnectWait    = 250 * time.Millisecond // after all servers were tried
	reconnectJitter  = 500 * time.Millisecond // so that the nodes do not all reconnect at the same moment
	pingInterval     = 5 * time.Second        // two unanswered pings end the connection
	writeTimeout     = 10 * time.Second
	minPendingLength = 64 // messages
)

// NATS is the Bus over NATS.
type NATS struct {
	opt    Options
	id     uint32
	self   string                 // belfry.node.<id>
	router atomic.Pointer[Router] // nil: pushes to users go to all nodes. Not changed after Start

	relaySubject string      // belfry.relay.<id>
	log          *zap.Logger // sampled, so that a flood of bad messages does not flood the log
	ids          *identity
	server       *embedded // nil with an external cluster
	nc           *nats.Conn
	box          *outbox
	in           chan *nats.Msg // the messages of all other subscriptions, in order

	commands chan *nats.Msg // control messages for Control: pushes cannot delay them
	control  ControlReceiver

	lateCommands *filter                         // after Take of a node that has joined; owned by the goroutine that takes control messages
	started      atomic.Pointer[ControlReceiver] // the same as control, for the sender; nil before StartControl
	count        counters
	faults       *faults

	sender   *sender
	receiver *receiver
	interest *interest
	pauses   pauses
	passing  passing // a connection that another process goes on with
	stop     chan struct{}
	wg       sync.WaitGroup

	// Written by nats.go's callback goroutine.
	connected     atomic.Bool
	maxMessage    atomic.Int64           // the server's max_payload, 0 if never connected
	connectErr    atomic.Pointer[string] // why there is no connection
	permissionErr atomic.Pointer[string] // the last permission that NATS refused on this connection
	unusable      atomic.Pointer[string] // why this server cannot be used, nil if it can; see probe.go
	noHeaders     atomic.Pointer[string] // why no message can be sent through this server, nil if messages can
	publishDenied atomic.Pointer[string] // the refused permission to publish; nil again when the sender sees it granted

	upFor        atomic.Uint64 // number of the last connection for which up has run, plus 1
	inspected    atomic.Bool   // the permissions of a connection were checked
	reachable    atomic.Bool   // at some time messages could reach other nodes
	conditionLog conditionLog
}

// openNATS connects to NATS. It starts the embedded server first if there are no
// URLs.
func openNATS(o Options, id uint32, instance string, start time.Time, ids *identity) (*NATS, error) {
	b := &NATS{
		opt: o, id: id, self: nodeSubject(id), relaySubject: relaySubject(id), ids: ids, log: sampled(o.Log),
		box:  newOutbox(o.OutboxMessages, o.OutboxBytes),
		in:   make(chan *nats.Msg, max(o.PendingBytes/o.MaxPayload, minPendingLength)),
		stop: make(chan struct{}), commands: make(chan *nats.Msg, maxCommands),
	}
	b.faults = newFaults(o.Log, &b.count.faults)
	b.conditionLog.bus = b
	b.sender = newSender(b, instance, start)
	b.interest = newInterest(b, start)
	b.receiver = &receiver{
		bus: b, instance: instance, recent: newRecent(),
		relays: relayInbox{make(map[uint32]*relayIn)}, marks: marks{make(map[uint32]map[uint64]*mark)}, order: inOrder{make(map[uint32]*placesOf)},
		decoder: decoder{node: id, maxPayload: o.MaxPayload, nodeOf: o.NodeOf},
		gaps: gapTracker{
			since: b.interest.since, beacon: o.Beacon, log: b.log, swept: start,
			nodes: make(map[uint32]*peerStreams), gaps: &b.count.gaps,
		},
		roster: newRoster(id, o.Beacon, start, b.log, &b.count.peers),
	}
	b.receiver.roster.up = func(p Peer) {
		b.Beacon() // so that the other node need not wait to learn of this one
		b.control.PeerUp(p)
	}
	b.pauses = newPauses()
	if len(o.URLs) == 0 {
		b.server = newEmbedded(&o)
	}
	if o.Held {
		b.box.closeFor("taking over")
		b.setConnectErr(errHeld)
		return b, nil
	}
	if err := b.open(instance); err != nil {
		return nil, err
	}
	b.wg.Add(2)
	go b.sender.run()
	go b.interest.run()
	return b, nil
}

// sampled returns a logger that writes the first 5 equal lines of each second,
// and then one in 1000.
func sampled(log *zap.Logger) *zap.Logger {
	return log.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(c, time.Second, 5, 1000)
	}))
}

// connect opens the connection. It returns no error if an external server cannot
// be reached: nats.go keeps trying.
func (b *NATS) connect() error {
	o := &b.opt
	first := make(chan struct{})
	opts := []nats.Option{
		nats.NoEcho(),             // messages of this node are delivered here before they are sent
		nats.ReconnectBufSize(-1), // no buffer: the outbox keeps the messages, see sender.go
		nats.MaxReconnects(-1),    // without limit
		nats.RetryOnFailedConnect(true),
		nats.IgnoreAuthErrorAbort(), // an operator may correct the credentials while the node runs
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectJitter, reconnectJitter),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(2),
		nats.FlusherTimeout(writeTimeout),
		nats.ConnectHandler(func(nc *nats.Conn) { b.up(nc, false); close(first) }),
		nats.ReconnectHandler(func(nc *nats.Conn) { b.up(nc, true) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { b.down(err) }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { b.failed(err) }),
		nats.ErrorHandler(b.asyncError),
	}
	if b.server == nil {
		b.passing.dialer.Timeout = connectTimeout
		opts = append(opts, nats.SetCustomDialer(&b.passing.dialer), nats.SkipHostLookup())
	} else {
		opts = append(opts, nats.InProcessServer(b.server))
		if b.server.token != "" {
			opts = append(opts, nats.Token(b.server.token))
		}
	}
	access, err := b.access()
	if err != nil {
		return err
	}
	opts = append(opts, access...)
	b.setConnectErr(errors.New("not connected yet"))
	nc, err := nats.Connect(strings.Join(o.URLs, ","), opts...)
	if err != nil {
		return fmt.Errorf("connect to NATS: %w", err) // without the URLs, which may contain passwords
	}
	b.nc = nc
	if nc.IsConnected() { // then nats.go calls ConnectHandler
		<-first
	}
	return nil
}

// up runs when a connection is established. Like down, failed and asyncError it
// runs on nats.go's callback goroutine.
func (b *NATS) up(nc *nats.Conn, again bool) {
	defer b.faults.caught("connection")
	if b.passing.taking.Load() {
		return // take calls it again
	}
	b.permissionErr.Store(nil)
	b.publishDenied.Store(nil)
	b.inspectServer(nc)
	b.maxMessage.Store(nc.MaxPayload())
	b.connected.Store(true)
	b.upFor.Store(nc.Stats().Reconnects + 1)
	if b.server != nil {
		b.reachable.Store(true)
	}
	if again {
		b.count.reconnects.Add(1)
	}
	server := "embedded" // nats.go would return its default URL, at which another server may run
	if b.server == nil {
		server = nc.ConnectedUrlRedacted()
	}
	b.log.Info("connected to NATS", zap.String("server", server), zap.Bool("again", again))
	wakeUp(b.sender.wake)
	wakeUp(b.interest.wake)
	b.tellUp()
}

// down runs when the connection has ended.
func (b *NATS) down(err error) {
	defer b.faults.caught("connection")
	b.connected.Store(false)
	if err == nil {
		err = errors.New("connection closed")
	}
	b.setConnectErr(err)
	select {
	case <-b.stop:
	default:
		if b.server != nil && b.server.srv.Load() == nil {
			break // the embedded server was ended, see handOver
		}
		b.log.Warn("connection to NATS lost", zap.String("server", b.servers()), zap.Error(err))
	}
	wakeUp(b.interest.wake) // sessions need not wait for subscriptions now
	if r := b.router.Load(); r != nil {
		(*r).Lost()
	}
}

// failed runs when an attempt to connect has failed.
func (b *NATS) failed(err error) {
	defer b.faults.caught("connection")
	if errors.Is(err, nats.ErrNoServers) { // gives no reason; the next attempt within a second does
		return
	}
	b.setConnectErr(err)
	if !b.reachable.Load() {
		b.conditionLog.log(b.opt.clock.now())
	}
}

func (b *NATS) setConnectErr(err error) {
	s := err.Error()
	b.connectErr.Store(&s)
}

// asyncError runs for errors that nats.go finds outside of calls.
func (b *NATS) asyncError(_ *nats.Conn, sub *nats.Subscription, err error) {
	defer b.faults.caught("connection")
	switch {
	case errors.Is(err, nats.ErrSlowConsumer): // interest.run counts the lost messages
		b.log.Warn("messages lost: the receive channel is full", zap.Int("messages", cap(b.in)))
	case errors.Is(err, nats.ErrPermissionViolation):
		b.count.denied.Add(1)
		s := err.Error()
		b.permissionErr.Store(&s)
		if strings.Contains(s, violatesPublish) {
			b.denyPublish(err)
		}
		b.log.Error("NATS refused a permission", zap.Error(err))
	case errors.Is(err, nats.ErrBadHeaderMsg): // the receiver counts the message
	case !b.connected.Load(): // for example, the server refuses the password
		b.failed(err)
	default:
		subject := ""
		if sub != nil {
			subject = sub.Subject
		}
		b.log.Warn("NATS error", zap.String("subject", subject), zap.Error(err))
	}
}

func (b *NATS) stopped() bool {
	select {
	case <-b.stop:
		return true
	default:
		return false
	}
}

// connection returns the number of the present connection: it changes with every
// reconnect.
func (b *NATS) connection() uint64 { return b.nc.Stats().Reconnects }

// Reserve implements Bus.
func (b *NATS) Reserve(m *message.Message) (Reservation, error) {
	if b.Alone() {
		return noReservation{}, b.box.reserve(0, 0) // fails only after closeFor
	}
	ps, err := splitMessage(m, b.id, b.opt.NodeOf)
	if err != nil {
		return nil, err
	}
	if b.connected.Load() {
		if detail := b.cannotPublish(); detail != "" {
			return nil, &message.OverloadedError{What: detail, Unavailable: true, RetryAfter: inspectAgain}
		}
	}
	if m.Report != nil {
		ps = append(ps, part{subject: subjectReport, message: m, size: encodedSize(m, nil) - len(m.Payload)})
	}
	r := &reservation{box: b.box, parts: ps}
	allowed := int(b.maxMessage.Load())
	for i := range ps {
		if allowed > 0 && ps[i].size > allowed {
			return nil, &message.TooLargeError{What: "payload with envelope", Size: ps[i].size, Max: allowed}
		}
		r.bytes += ps[i].size
	}
	if err := b.box.reserve(len(ps), r.bytes); err != nil {
		return nil, err
	}
	return r, nil
}

// noReservation is the reservation of a message that no other process can
// receive.
type noReservation struct{}

func (noReservation) Commit() {}
func (noReservation) Cancel() {}

// Start implements Bus.
func (b *NATS) Start(receive func(*message.Message)) {
	b.receiver.deliver = receive
	b.interest.start()
	if b.opt.Held {
		return // see take
	}
	b.wg.Add(1)
	go b.receiver.run()
}

// Stats implements Bus.
func (b *NATS) Stats(s *Stats) {
	b.count.fill(s)
	s.LostShutdown += b.box.unsent.Load()
	s.OutboxMessages, s.OutboxBytes = b.box.depth()
	s.Buckets = int(b.interest.wanted.Load())
	s.Routes = b.count.routes.stats()
	s.Connected = b.connected.Load()
	view := b.receiver.roster.view.Load()
	for _, p := range view.present {
		s.PeerNames = append(s.PeerNames, p.Name)
	}
	for _, u := range view.unheard {
		s.Unheard = append(s.Unheard, u.name)
	}
}

// Drain implements Bus.
func (b *NATS) Drain(ctx context.Context) error {
	b.box.closeFor("stopping")
	return b.box.waitEmpty(ctx)
}

// Close implements Bus.
func (b *NATS) Close() error {
	b.box.closeFor("stopping")
	close(b.stop)
	nc := b.settled()
	b.sayLeft()
	if nc != nil {
		nc.Close() // this also ends every wait for a PONG
	}
	b.connected.Store(false)
	b.setConnectErr(errors.New("closed"))
	b.wg.Wait()
	b.box.discard()
	if !b.passing.over.Load() { // what waits is otherwise for the next process
		b.count.lostShutdown.Add(uint64(len(b.in)))
	}
	b.server.stop()
	return nil
}

// JoinUser implements Interest.
func (b *NATS) JoinUser(uid []byte, w Waiter, token uint64) bool {
	return b.interest.joinUser(UserBucketOf(uid), w, token)
}

// LeaveUser implements Interest.
func (b *NATS) LeaveUser(uid []byte) { b.interest.leaveUser(UserBucketOf(uid)) }

// JoinTopic implements Interest.
func (b *NATS) JoinTopic(topic []byte, w Waiter, token uint64) bool {
	return b.interest.joinTopic(topic, w, token)
}

// LeaveTopic implements Interest.
func (b *NATS) LeaveTopic(topic []byte) { b.interest.leaveTopic(topic) }
