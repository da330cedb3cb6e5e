package main

import (
	"context"
	"errors"
	"io"
	"math"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"belfry/auth"
	"belfry/bridge"
	"belfry/broadcast"
	"belfry/certs"
	"belfry/config"
	"belfry/events"
	"belfry/gateway"
	"belfry/idempotency"
	"belfry/offheap"
	"belfry/presence"
	"belfry/push"
	"belfry/report"
	"belfry/session"
	"belfry/webhook"
	"belfry/wire/websocket"
)

// belfry is a running node. Only here the packages are connected with each
// other.
type belfry struct {
	cfg         *config.Config
	sources     map[string]config.Source // of its values
	log         *zap.Logger
	lines       *sink // the sink of log
	reload      *reloader
	banner      io.Writer // standard output; writing never waits
	bus         *broadcast.Node
	memory      offheap.Owners      // memory of the sessions, outside the Go heap
	deflate     *websocket.Deflate  // nil: compression is off
	auth        *auth.Authenticator // nil: no client proves who it is by a token
	calling     webhook.Gate        // of all that call backends
	hooks       hooks               // backends that decide
	sessions    *session.Server
	gateway     *gateway.Gateway     // nil: there are no routes
	routes      map[string]routeMade // of the gateway; a reload replaces them
	presence    *presence.Reader
	announcer   *presence.Announcer // nil: session.join_leave names no topics
	reports     *report.Reporter
	keys        *idempotency.Keys
	api         *push.Server
	directory   *directory        // nil: no other node can exist
	events      *events.Publisher // nil: none are wanted
	gone        *goneSessions     // nil: no backend is to be told of them
	goneEvents  *goneSessions     // nil: no event tells of them
	revocations *auth.Revocations
	sync        *auth.RevocationSync
	clientCerts *certs.Store   // nil: clients speak no TLS
	apiCerts    *certs.Store   // nil: the API speaks no TLS
	bridge      *bridge.Server // nil: clients speak no TLS
	drain       drain
	balancing   atomic.Bool // a run of rebalance is under way

	restart  restarts
	started  time.Time
	stopping atomic.Bool // the node is shutting down
	noted    atomic.Bool // the service manager was told that the node is ready
}

// run starts a node with resolved settings. It returns when ctx is done and the
// node has stopped, or when the node could not start.
func (n *belfry) run(ctx context.Context) error {
	if err := n.dial(); err != nil {
		return err
	}
	if err := n.open(); err != nil {
		if h := n.restart.heir; h != nil {
			// Nothing is closed: the connections are the old process's, and go with this one.
			h.from.GiveUp(err)
			return err
		}
		return errors.Join(err, n.abandon())
	}
	if n.restart.heir == nil { // else it has done so
		if err := n.openControl(); err != nil {
			return errors.Join(err, n.abandon())
		}
	}
	serving, stopServing := context.WithCancel(context.Background())
	defer stopServing()
	served := make(chan error, 1)
	go func() { served <- n.api.Serve(serving) }()
	go n.announce(ctx)
	go n.sync.Run(serving)
	go n.reload.run(ctx)
	go scavenge(serving, n.sessions.Loop().Waiting)
	n.watchCerts(serving)
	go n.rebalance(serving)

	var failed error
	select {
	case <-ctx.Done():
		n.delayShutdown(served)
	case <-n.handedOver():
		return n.endHandedOver(stopServing, served)
	case failed = <-served:
		time.AfterFunc(n.cfg.Shutdown.Grace+deadlineSlack, func() { exitNow(n.log, n.lines) })
		n.log.Error("the API has stopped", zap.Error(failed))
		served <- failed
	}
	return errors.Join(failed, n.shutdown(stopServing, served))
}

// delayShutdown keeps serving for shutdown.delay while /readyz answers 503, so
// that load balancers send no more clients when the listeners close.
func (n *belfry) delayShutdown(served chan error) {
	delay := n.cfg.Shutdown.Delay
	n.stopping.Store(true)
	n.notifyStopping()
	n.directory.leave()
	if delay == 0 {
		return
	}
	n.log.Info("not ready: still serving for shutdown.delay; a second signal exits at once", zap.Duration("delay", delay))
	select {
	case <-time.After(delay):
	case failed := <-served:
		n.log.Error("the API has stopped", zap.Error(failed))
		served <- failed
	}
}

// open makes all parts and starts them, innermost first.
func (n *belfry) open() (err error) {
	keys, err := n.cfg.API.AllKeys() // first: a fault in the file is found before anything runs
	if err != nil {
		return err
	}
	n.reload.keys = keys
	if err = n.openCerts(); err != nil {
		return err
	}
	n.calling = make(webhook.Gate, otherProcessors(n.cfg))
	if n.bus, err = broadcast.Open(busOptions(n.cfg, n.restart.heir != nil, n.log)); err != nil {
		return err
	}
	if err = n.openGateway(); err != nil {
		return err
	}
	if err = n.openEvents(); err != nil {
		return err
	}
	if err = n.openDirectory(); err != nil {
		return err
	}
	n.openPresence()
	if err = n.openAnnouncer(); err != nil {
		return err
	}
	opt, err := n.sessionOptions()
	if err != nil {
		return err
	}
	if n.sessions, err = session.New(opt); err != nil {
		return addressSpace(err, n.cfg)
	}
	if err = n.openBridge(); err != nil {
		return err
	}
	n.openReports()
	n.drain.n = n
	if n.api, err = push.New(n.apiOptions(keys)); err != nil {
		return err
	}
	if err = n.listenAPI(); err != nil {
		return err
	}
	n.joinControl()
	n.watchGone()
	n.bus.Start(local{n.sessions})
	if n.auth != nil {
		n.auth.Start()
	}
	n.startGateway()
	if n.restart.heir != nil {
		return n.takeOver()
	}
	n.startNode()
	if err = n.sessions.Start(); err == nil && n.bridge != nil {
		n.bridge.Start()
	}
	return err
}

// listenAPI binds the addresses of the API, or takes them over.
func (n *belfry) listenAPI() error {
	if n.restart.in != nil {
		return n.api.Inherit(n.restart.in.api)
	}
	return n.api.Listen()
}

// startNode starts what speaks to other nodes. The bus has started.
func (n *belfry) startNode() {
	if n.directory != nil {
		n.directory.start()
	}
	n.startEvents()
	n.startAnnouncer()
}

// abandon closes the parts that open made before it failed.
func (n *belfry) abandon() error {
	n.closeAnnouncer()
	var errs []error
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if n.sessions != nil {
		errs = append(errs, n.sessions.Shutdown(ctx, 0, 0))
	}
	if n.auth != nil {
		n.auth.Close()
	}
	n.hooks.close()
	n.closeBridge(ctx)
	if n.bus != nil {
		errs = append(errs, n.bus.Close())
	}
	n.closeReports()
	n.directory.close()
	return errors.Join(errs...)
}

// shutdown ends the node within shutdown.grace. First the node reports not
// ready and accepts no more clients. Then it accepts no more pushes, and sends
// the accepted ones to the other nodes. Then it closes the sessions at the pace
// of the settings. The API stops last, so that /readyz and /metrics show what
// happens.
func (n *belfry) shutdown(stopServing func(), served <-chan error) error {
	grace := n.cfg.Shutdown.Grace
	n.log.Info("shutting down", zap.Duration("grace", grace), zap.Int64("sessions", n.sessions.Stats().Sessions))
	deadline := time.Now().Add(grace)
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	n.restart.inherits.Lock()
	n.stopping.Store(true)
	n.restart.inherits.Unlock()
	n.closeControl()
	n.drain.end()
	n.directory.leave()
	if n.bridge != nil {
		n.bridge.StopAccepting()
	}
	if err := n.sessions.StopAccepting(ctx); err != nil {
		n.log.Warn("listeners not closed in time", zap.Error(err))
	}
	n.closeAnnouncer()
	var errs []error
	// NATS may be unreachable for longer than the grace; the sessions need
	// their part of the time.
	draining, drained := context.WithTimeout(ctx, grace/drainShare)
	if err := n.bus.Drain(draining); err != nil {
		n.log.Warn("messages for other nodes were lost", zap.Error(err))
	}
	drained()
	var cut *session.CutOffError
	spread := reconnectSpread(n.cfg.Shutdown, n.sessions.Stats().Sessions)
	if err := n.sessions.Shutdown(ctx, n.closeRate(time.Until(deadline)), spread); errors.As(err, &cut) {
		n.log.Warn("connections were cut off", zap.Int("connections", cut.Connections))
	} else if err != nil {
		errs = append(errs, err)
	}
	n.closeBridge(ctx)
	n.stopGateway(ctx)
	n.directory.flush(ctx, n.log)
	n.closeParts()
	stopServing()
	errs = append(errs, <-served, n.bus.Close())
	n.closeReports()
	n.directory.close()
	n.log.Info("stopped")
	return errors.Join(errs...)
}

// deadlineSlack is the time from the end of shutdown.grace until watchSignals
// ends the process by force. It lets a busy machine close the rest, and is
// short enough for the stop timeout of an orchestrator.
const deadlineSlack = 3 * time.Second

// apiGrace is how long requests in progress have at the end. The API stops
// last, and accepts no pushes any more.
const apiGrace = time.Second / 2

// drainShare is the part of shutdown.grace for sending the outbox: a third.
const drainShare = 3

// closeRate returns how many sessions to close per second.
func (n *belfry) closeRate(left time.Duration) int {
	set := n.cfg.Shutdown.Pace
	pace := rateWithin(set, n.sessions.Stats().Sessions, left)
	if pace > set {
		n.log.Warn("shutdown.pace is too slow for shutdown.grace and was raised", zap.Int("sessions_per_second", pace))
	}
	return pace
}

// rateWithin returns pace, or more if not all sessions would get their close
// frame in half of the time left. The other half is for their answers.
func rateWithin(set int, sessions int64, left time.Duration) int {
	seconds := max(left.Seconds()/2, 0.001)
	return max(set, int(math.Ceil(float64(sessions)/seconds)))
}

// reconnectSpread returns the time over which clients reconnect: as long as
// shutdown.pace needs for all of them, so that a few clients do not wait
// needlessly.
func reconnectSpread(c config.Shutdown, sessions int64) time.Duration {
	return min(c.ReconnectJitter, time.Duration(float64(sessions)/float64(c.Pace)*float64(time.Second)))
}
