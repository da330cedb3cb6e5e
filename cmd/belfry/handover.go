package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"belfry/config"
	"belfry/handover"
	"belfry/metrics"
	"belfry/push"
	"belfry/session"
)

// hotRestart is this process's part in hot restarts: it waits at the control socket for
// a successor, or for belfry restart.
type hotRestart struct {
	socket *handover.Socket
	old    *handover.Old
}

// restarts has what a node needs of hot restarts, in both roles.
type restarts struct {
	takeover string       // control socket of the process to take over from; "": start anew
	in       *inheritance // what it takes over at its start; nil: nothing
	heir     *heir        // nil: this process has not taken over from another one
	files    int          // open files that this process may have

	control   atomic.Pointer[hotRestart] // nil: there is no control socket
	exporting atomic.Bool                // the bus is another process's, or will be in a moment
	inherits  sync.Mutex                 // held while listeners are copied, and when stopping is set
	moving    sync.RWMutex               // held while sessions are another process's; read-held by who reads or changes sessions by their ids
}

// errMoving is the answer to who asks for sessions while they move: some are here, some in
// the successor.
var errMoving = errors.New("the sessions of this node are being handed to another process: try again in a moment")

// errPID1 is why a process that is PID 1 is not replaced: when it ends, all processes of
// its container do (man 7 pid_namespaces).
var errPID1 = errors.New("hot restart: this process is PID 1 of its container, which ends with it: start the new version beside it and stop this one when it is drained")

// controlSocket returns the path of the control socket; "" for none.
func (n *belfry) controlSocket() string {
	switch set := n.cfg.Control.Socket; {
	case set == config.ControlOff:
		return ""
	case set != "":
		return set
	case n.restart.takeover != "":
		return n.restart.takeover // that of the old process
	case os.Getpid() == 1:
		return ""
	}
	return filepath.Join(handover.DefaultFolder(os.Getenv), handover.Prefix+n.cfg.Node.Name+handover.Suffix)
}

// openControl waits for successors from now on. A successor replaces the socket of the
// process that it has taken over from. A node that cannot be restarted hot serves all the
// same, unless control.socket asks for it.
func (n *belfry) openControl() error {
	path := n.controlSocket()
	if path == "" {
		return nil
	}
	socket, err := handover.Listen(path, path == n.restart.takeover)
	if err != nil {
		if n.cfg.Control.Socket != "" && n.restart.heir == nil {
			return err
		}
		n.log.Error("this node cannot be restarted hot", zap.Error(err))
		return nil
	}
	old := handover.NewOld(handover.OldOptions{
		Socket: socket, Node: predecessor{n}, Sessions: n.sessions,
		Facts: n.facts(), Version: buildVersion(),
		Spawn:  func(binary string) (int, <-chan error, error) { return spawn(binary, path) },
		Limits: handover.Limits{Ready: n.cfg.Control.ReadyTimeout},
		Log:    n.log.Named("handover"),
	})
	n.restart.control.Store(&hotRestart{socket, old})
	go old.Run()
	n.log.Info("control socket", zap.String("path", path), zap.Int("pid", os.Getpid()))
	return nil
}

// closeControl ends the control socket. A hand-over in progress ends with the process.
func (n *belfry) closeControl() {
	if r := n.restart.control.Load(); r != nil {
		r.socket.Close()
	}
}

// handedOver is closed when a successor serves; nil: there is no control socket.
func (n *belfry) handedOver() <-chan struct{} {
	if r := n.restart.control.Load(); r != nil {
		return r.old.Gone()
	}
	return nil
}

// restartBySignal starts a successor at SIGUSR2. As PID 1 it drains the node instead.
func (n *belfry) restartBySignal() {
	switch r := n.restart.control.Load(); {
	case os.Getpid() == 1:
		n.log.Error(errPID1.Error()+". It drains now", zap.Duration("over", push.DefaultDrain))
		if _, err := n.drain.Start(context.Background(), push.DefaultDrain); err != nil {
			n.log.Error("not drained", zap.Error(err))
		}
	case r == nil:
		n.log.Error("SIGUSR2: no hot restart: this process has no control socket (is control.socket off?), or is still starting")
	default:
		r.old.Restart("", func(handover.Progress) {})
	}
}

// facts are what a successor must have in common with this process.
func (n *belfry) facts() handover.Facts {
	c := n.cfg
	f := handover.Facts{
		Node: c.Node.Name, Shards: c.Shards, Listen: c.Listen, API: c.API.Listen, Monitor: c.API.MonitorListen,
		Bus: "alone", Sessions: c.MaxConnections + c.Upgrade.MaxPending, Files: uint64(n.restart.files),
	}
	if c.TLS.On() {
		f.Secure = c.TLSListen()
	}
	switch {
	case len(c.NATS.URL) > 0:
		f.Bus = "external"
	case c.NATS.Listen != "" || c.NATS.ClusterListen != "":
		f.Bus = "embedded"
	}
	return f
}

// dial asks the process at --takeover for what it serves. It is called before open.
func (n *belfry) dial() error {
	if n.restart.takeover == "" {
		return nil
	}
	f := n.facts()
	if n.sources["node.name"].From == fromMachine {
		f.Node = "" // it is a random one
	}
	s, err := handover.Dial(handover.SuccessorOptions{
		Socket: n.restart.takeover, Facts: f, Version: buildVersion(), Log: n.log.Named("handover"),
	})
	if err != nil {
		return fmt.Errorf("hot restart: %w", err)
	}
	n.restart.heir = &heir{belfry: n, from: s}
	n.cfg.Node.Name = s.In.Node
	n.restart.in, err = parseInheritance(s)
	return err
}

// sessions returns what the sessions take over; nil: nothing.
func (r *restarts) sessions() *session.Heritage {
	if r.in == nil {
		return nil
	}
	return r.in.sessions
}

// values returns the metrics of hot restarts.
func (r *restarts) values() (v metrics.Handover) {
	v.Outcomes, v.Sessions = map[string]uint64{}, map[string]uint64{}
	var st handover.Stats
	if c := r.control.Load(); c != nil {
		st = c.old.Stats()
	}
	for _, outcome := range []handover.Outcome{handover.Served, handover.Refused, handover.Aborted} {
		v.Outcomes[string(outcome)] = st.Outcomes[outcome]
	}
	v.Sessions["handed_over"], v.Sessions["resumed"], v.Sessions["closed"] = st.Handed, st.Resumed, st.Closed
	v.Again, v.Lost = st.Again, st.Lost
	if r.heir != nil {
		sessions, took := r.heir.from.Taken()
		v.Taken, v.Took = uint64(sessions), took.Seconds()
	}
	return v
}
