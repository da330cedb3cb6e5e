package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"belfry/config"
	"belfry/handover"
	"belfry/message"
	"belfry/wire"
)

// hotRestart is this process's part in hot restarts: it waits at the control socket for
// a successor, or for belfry restart. Its methods do nothing on nil, which is a process
// without a control socket.
type hotRestart struct {
	socket *handover.Socket
	old    *handover.Old
}

// errPID1 is why a process that is PID 1 is not replaced: when it ends, all processes of
// its container do (man 7 pid_namespaces).
var errPID1 = errors.New("hot restart: this process is PID 1 of its container, which ends with it: drain this node and start the new version beside it")

// controlSocket returns the path of the control socket; "" for none.
func (n *belfry) controlSocket() string {
	switch set := n.cfg.Control.Socket; {
	case set == config.ControlOff:
		return ""
	case set != "":
		return set
	case n.takeover != "":
		return n.takeover // that of the old process
	case os.Getpid() == 1:
		return ""
	}
	return filepath.Join(handover.DefaultFolder(os.Getenv), handover.Prefix+n.cfg.Node.Name+handover.Suffix)
}

// openControl waits for successors from now on. A successor replaces the socket of the
// process that it has taken over from.
func (n *belfry) openControl() error {
	path := n.controlSocket()
	if path == "" {
		return nil
	}
	socket, err := handover.Listen(path, path == n.takeover)
	if err != nil {
		return err
	}
	old := handover.NewOld(handover.OldOptions{
		Socket: socket, Node: predecessor{n}, Sessions: n.sessions,
		Facts: n.facts(), Version: buildVersion(),
		Spawn:  func(binary string) (int, <-chan error, error) { return spawn(binary, path) },
		Limits: handover.Limits{Ready: n.cfg.Control.ReadyTimeout},
		Log:    n.log.Named("handover"),
	})
	n.restarts.Store(&hotRestart{socket, old})
	go old.Run()
	n.log.Info("control socket", zap.String("path", path), zap.Int("pid", os.Getpid()))
	return nil
}

// closeControl ends the control socket. A hand-over in progress ends with the process.
func (n *belfry) closeControl() {
	if r := n.restarts.Load(); r != nil {
		r.socket.Close()
	}
}

// handedOver is closed when a successor serves; nil: there is no control socket.
func (n *belfry) handedOver() <-chan struct{} {
	if r := n.restarts.Load(); r != nil {
		return r.old.Gone()
	}
	return nil
}

// restartBySignal starts a successor at SIGUSR2.
func (n *belfry) restartBySignal() {
	switch r := n.restarts.Load(); {
	case os.Getpid() == 1:
		n.log.Error(errPID1.Error())
	case r == nil:
		n.log.Error("SIGUSR2: no hot restart, since this process has no control socket (control.socket), or does not serve yet")
	default:
		r.old.Restart("", func(handover.Progress) {})
	}
}

// facts are what a successor must have in common with this process.
func (n *belfry) facts() handover.Facts {
	c := n.cfg
	f := handover.Facts{
		Node: c.Node.Name, Shards: c.Shards, Listen: c.Listen, API: c.API.Listen, Monitor: c.API.MonitorListen,
		Bus: "alone", Sessions: c.MaxConnections + c.Upgrade.MaxPending,
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
	f.Files = openFiles()
	return f
}

// predecessor is this node as its successor sees it. It implements handover.Predecessor.
type predecessor struct{ *belfry }

// JoinTopic implements handover.Predecessor.
func (p predecessor) JoinTopic(topic []byte, ready func()) {
	if p.bus.JoinTopic(topic, &linkWaiter{ready}, 0) {
		ready()
	}
}

// LeaveTopic implements handover.Predecessor.
func (p predecessor) LeaveTopic(topic []byte) { p.bus.LeaveTopic(topic) }

// Publish implements handover.Predecessor.
func (p predecessor) Publish(m *message.Message, wait time.Duration) error {
	err := p.belfry.publish(m, message.Wait{Time: wait})
	var command *wire.CommandError
	if errors.As(err, &command) {
		return &handover.PublishError{Code: command.Code, Field: command.Field, Text: command.Text}
	}
	return err
}

// linkWaiter waits for one topic. It implements broadcast.Waiter.
type linkWaiter struct{ ready func() }

// UserReady implements broadcast.Waiter. Nobody joins users for a successor: messages
// for all users come.
func (*linkWaiter) UserReady(uint64) bool { return true }

// TopicReady implements broadcast.Waiter.
func (w *linkWaiter) TopicReady(uint64) bool { w.ready(); return true }

// heir is this node while it takes over from another process. It implements
// handover.Node.
type heir struct {
	*belfry
	from *handover.Successor
}

// publishThrough publishes messages of clients by the old process until the commit, and
// then on the bus of this one.
func (h heir) publishThrough(m *message.Message, w message.Wait) error {
	err, through := h.from.Publish(m, w.Time)
	if !through {
		return h.belfry.publish(m, w)
	}
	var refused *handover.PublishError
	if errors.As(err, &refused) {
		return &wire.CommandError{Code: refused.Code, Field: refused.Field, Text: refused.Text}
	}
	return err
}

// dial asks the process at --takeover for what it serves.
func (n *belfry) dial() (*handover.Successor, error) {
	f := n.facts()
	if n.sources["node.name"].From == fromMachine {
		f.Node = "" // it is a random one
	}
	s, err := handover.Dial(handover.SuccessorOptions{
		Socket: n.takeover, Facts: f, Version: buildVersion(), Log: n.log.Named("handover"),
	})
	if err != nil {
		return nil, fmt.Errorf("hot restart: %w", err)
	}
	n.cfg.Node.Name = s.In.Node
	return s, nil
}
