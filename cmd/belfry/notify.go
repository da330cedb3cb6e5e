package main

import (
	"fmt"
	"strings"

	"github.com/coreos/go-systemd/v22/daemon"
	"go.uber.org/zap"
)

// notify tells the service manager the state of this process (man 3 sd_notify). Without
// one ($NOTIFY_SOCKET) it does nothing.
func (n *belfry) notify(states ...string) {
	if _, err := daemon.SdNotify(false, strings.Join(states, "\n")); err != nil {
		n.log.Warn("the service manager was not told", zap.Strings("states", states), zap.Error(err))
	}
}

// notifyReady tells it that this node is ready.
func (n *belfry) notifyReady() {
	n.noted.Store(true)
	n.notify(daemon.SdNotifyReady, "STATUS=serves")
}

// notifyReloading tells it that the settings are read again, until reloaded is called. A
// node that was not ready yet says nothing.
func (n *belfry) notifyReloading() (reloaded func()) {
	if !n.noted.Load() {
		return func() {}
	}
	n.notify(daemon.SdNotifyReloading, daemon.SdNotifyMonotonicUsec(), "STATUS=reads its settings again")
	return n.notifyReady
}

// notifyStopping tells it that this process ends, and no other one goes on.
func (n *belfry) notifyStopping() { n.notify(daemon.SdNotifyStopping, "STATUS=stopping") }

// notifySuccessor tells it that another process is the service now. It believes only the
// process that was the service before (NotifyAccess=main).
func (n *belfry) notifySuccessor(pid int) {
	n.notify(fmt.Sprintf("MAINPID=%d", pid), daemon.SdNotifyReady, "STATUS=restarted hot")
}
