package broadcast

import (
	"time"

	"go.uber.org/zap"

	"belfry/message"
)

// retryPause is the time between two attempts to deliver to a full mailbox.
const retryPause = time.Millisecond

// receive hands a message of the bus to the local sessions. While their
// mailboxes are full it waits, because later messages would find them full too.
// Each loss halves the wait of the next message until one is delivered:
// otherwise a stuck shard would delay the bus by OverloadWait for each message.
func (n *Node) receive(m *message.Message) {
	defer func() {
		if v := recover(); v != nil {
			n.faults.report("deliver", v)
			n.count.lostFault.Add(1)
			lose(m)
		}
	}()
	if m.Report != nil {
		m.Report = n.reporter.received(m)
	}
	local := *n.local.Load()
	p, err := local.Prepare(m)
	if err != nil {
		n.count.malformed.Add(1)
		lose(m)
		n.log.Warn("message dropped: it is not valid for local sessions", zap.String("id", m.ID), zap.Error(err))
		return
	}
	if err = p.Deliver(); err != nil {
		err = n.retryDeliver(p)
	}
	if err != nil {
		n.count.lostOverload.Add(1)
		lose(m)
		n.overloadWait = max(n.overloadWait/2, retryPause)
		n.log.Warn("message lost: local mailboxes full", zap.String("id", m.ID), zap.Error(err))
		return
	}
	n.overloadWait = n.opt.OverloadWait
	n.count.delivered.Add(1)
}

// retryDeliver tries to deliver p until overloadWait has passed.
func (n *Node) retryDeliver(p Prepared) (err error) {
	deadline := time.NewTimer(n.overloadWait)
	defer deadline.Stop()
	again := time.NewTicker(retryPause)
	defer again.Stop()
	for {
		select {
		case <-again.C:
			if err = p.Deliver(); err == nil {
				return nil
			}
		case <-deadline.C:
			return p.Deliver()
		case <-n.closing:
			return p.Deliver()
		}
	}
}
