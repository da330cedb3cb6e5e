package broadcast

import (
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

const (
	interestTick = time.Second           // between two searches for old subscriptions and dropped messages
	repeatNotice = 10 * time.Millisecond // before a shard with a full mailbox is notified again
)

// run is the goroutine that subscribes and unsubscribes. There is one.
func (i *interest) run() {
	defer i.bus.wg.Done()
	ticks, stop := i.bus.opt.clock.tick(interestTick)
	defer stop()
	repeat := time.NewTimer(time.Hour)
	defer repeat.Stop()
	for {
		step := i.join
		select {
		case <-i.wake:
		case <-repeat.C:
			step = func() { i.notify(nil) }
		case now := <-ticks:
			step = func() { i.sweep(now); i.countDrops() }
		case p := <-i.bus.pauses.interest:
			if !p.run(i.bus.stop) {
				return
			}
			continue
		case <-i.bus.stop:
			return
		}
		i.recovered(step)
		if len(i.unnotified) > 0 {
			repeat.Reset(repeatNotice)
		}
		i.bus.count.subscriptions.Store(int64(len(i.live)))
	}
}

// recovered runs a step and recovers from its panic.
func (i *interest) recovered(step func()) {
	defer i.bus.faults.caught("subscriptions")
	step()
}

// join subscribes to the queued topics, with one flush, and notifies the shards that
// waited for them.
func (i *interest) join() {
	i.mu.Lock()
	topics := i.takeTopics(nil)
	leaving, fixed := i.leaving, i.fixed
	i.leaving, i.fixed = nil, nil
	if i.shared.n+i.queued.n > 0 {
		wakeUp(i.wake)
	}
	i.mu.Unlock()

	defer func() {
		if v := recover(); v != nil {
			i.requeue(topics, fixed)
			panic(v)
		}
	}()
	i.leave(leaving) // first, so that a topic that is wanted again is not subscribed twice
	begins := len(fixed) > 0
	for ; len(fixed) > 0; fixed = fixed[1:] {
		i.subscribe(fixed[0])
	}
	for _, t := range topics {
		t.sub = i.subscribe(subjectTopic + t.name)
	}
	overhears := i.joinRelays()
	if begins || overhears || len(topics) > 0 {
		i.confirm()
	}
	now := i.bus.opt.clock.now()
	notices := i.markTopics(topics, now)
	if begins {
		notices = append(notices, i.begin(now)...)
		i.bus.tellUp()
	}
	i.notify(notices)
	if overhears {
		i.bus.overhears()
	}
}

// subscribe makes a subscription whose messages go to the receive channel. If
// there is no connection, nats.go subscribes when there is one. It returns nil
// only when the bus is closed.
func (i *interest) subscribe(subject string) *nats.Subscription {
	in := i.bus.in
	if isControl(subject) {
		in = i.bus.commands
	}
	sub, err := i.bus.nc.ChanSubscribe(subject, in)
	if err != nil { // after Close, or not a subject
		i.bus.log.Error("cannot subscribe", zap.String("subject", subject), zap.Error(err))
		return nil
	}
	i.live[sub] = struct{}{}
	return sub
}

// unsubscribe ends a subscription that is not wanted any more. nats.go drops the
// messages that are under way.
func (i *interest) unsubscribe(sub *nats.Subscription) {
	if sub == nil {
		return
	}
	i.retire(sub)
	if err := sub.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		i.bus.log.Warn("cannot unsubscribe", zap.String("subject", sub.Subject), zap.Error(err))
	}
}

// confirm returns when the server has confirmed all subscriptions, or there is no
// connection.
func (i *interest) confirm() {
	for i.bus.nc.IsConnected() {
		if err := i.bus.nc.FlushTimeout(flushWait); !errors.Is(err, nats.ErrTimeout) {
			return
		}
		select {
		case <-i.bus.stop:
			return
		default: // the server is slow
		}
	}
}

// notify sends the notices, and before them the ones whose shards had no room
// the last time.
func (i *interest) notify(notices []notice) {
	notices = append(i.unnotified, notices...)
	i.unnotified = nil
	for _, n := range notices {
		if !i.sent(n) {
			i.unnotified = append(i.unnotified, n)
		}
	}
}

// sent sends one notice. It returns false if the shard had no room for it.
func (i *interest) sent(n notice) (ok bool) {
	ok = true // a notice that panics is not sent again
	defer i.bus.faults.caught("ready")
	return n.send()
}

// sweep ends subscriptions that have lingered for Options.Linger.
func (i *interest) sweep(now time.Time) {
	i.retry()
	i.sweepTopics(now)
}

// retire forgets a subscription that ends, and keeps the number of messages that
// nats.go dropped in it.
func (i *interest) retire(sub *nats.Subscription) {
	delete(i.live, sub)
	if n, err := sub.Dropped(); err == nil {
		i.dropped += uint64(n)
	}
}

// countDrops counts the messages that nats.go dropped because the receive channel
// was full. Only the subscriptions have these numbers: SetPendingLimits does not
// apply to channel subscriptions, and nats.go calls the error handler only for
// the first of several drops.
func (i *interest) countDrops() {
	lost, commands := i.dropped, uint64(0)
	for sub := range i.live {
		switch n, err := sub.Dropped(); {
		case err != nil:
		case isControl(sub.Subject):
			commands += uint64(n)
		default:
			lost += uint64(n)
		}
	}
	i.bus.count.lostReceive.Store(lost)
	i.bus.count.controlLost.Store(commands)
}
