package broadcast

import (
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

// interestTick is how often lingering subscriptions and nats.go's drops are
// looked at; repeatNotice is when a shard with a full mailbox is told again.
const (
	interestTick = time.Second
	repeatNotice = 10 * time.Millisecond
)

// run is the one goroutine that subscribes and unsubscribes.
func (i *interest) run() {
	defer i.bus.wg.Done()
	ticks, stop := i.bus.opt.clock.tick(interestTick)
	defer stop()
	repeat := time.NewTimer(time.Hour)
	defer repeat.Stop()
	defer i.overlap.Stop()
	for {
		step := i.join
		select {
		case <-i.wake:
		case <-repeat.C:
			step = func() { i.notify(nil) }
		case <-i.overlap.C:
			step = i.endOverlap
		case now := <-ticks:
			step = func() { i.sweep(now); i.countDrops() }
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

func (i *interest) recovered(step func()) {
	defer i.bus.faults.caught("subscriptions")
	step()
}

// join subscribes to what was asked for since it last ran, with one flush, and
// tells those who waited.
func (i *interest) join() {
	i.mu.Lock()
	topics := i.takeTopics(nil)
	leaving, waiting, fixed := i.leaving, i.waiting, i.fixed
	i.leaving, i.waiting, i.fixed = nil, nil, nil
	if i.shared.n+i.queued.n > 0 {
		wakeUp(i.wake)
	}
	i.mu.Unlock()

	defer func() {
		if v := recover(); v != nil {
			i.requeue(topics, waiting, fixed)
			panic(v)
		}
	}()
	i.leave(leaving) // first: one that is wanted again must not be subscribed to twice
	begins := len(fixed) > 0
	for ; len(fixed) > 0; fixed = fixed[1:] {
		i.subscribe(fixed[0], "")
	}
	for _, t := range topics {
		t.sub = i.subscribe(subjectTopic+t.name, "")
	}
	if placed := i.subscribeBuckets(waiting); begins || len(topics)+placed > 0 {
		i.confirm()
	}
	now := i.bus.opt.clock.now()
	if begins {
		i.begun.Store(i.instant(now))
	}
	told := i.markTopics(topics, now)
	for _, w := range waiting {
		if i.held[w.bucket] != nil {
			i.markReady(w.bucket, now)
		}
		if w.notice.waiter != nil {
			told = append(told, w.notice)
		}
	}
	i.notify(told)
}

// subscribeBuckets sees to it that all buckets waited for are subscribed to. It returns
// how many of them need a flush before they are ready.
func (i *interest) subscribeBuckets(waiting []userWait) int {
	if len(waiting) == 0 || i.wildcardOn.Load() {
		return 0
	}
	need := make(map[uint16]struct{})
	for _, w := range waiting {
		// A session that has left again needs nothing; the next one to come
		// waits anew, since the bucket is not ready.
		if _, held := i.held[w.bucket]; !held && i.holds(w.bucket) {
			need[w.bucket] = struct{}{}
		}
	}
	if len(i.held)+len(need) > i.bus.opt.WildcardAbove {
		i.widen()
		return 0
	}
	for b := range need {
		i.held[b] = i.subscribe(bucketSubject(b), i.group)
	}
	return len(need)
}

func (i *interest) markReady(b uint16, now time.Time) {
	if i.users[b].Load()&readyBit == 0 {
		i.from[b].Store(i.instant(now))
		i.users[b].Or(readyBit)
	}
}

// clearReady takes the mark from bucket b unless somebody is in it. A session
// that joins afterwards waits.
func (i *interest) clearReady(b uint16) bool {
	if !i.users[b].CompareAndSwap(readyBit, 0) {
		return i.users[b].Load() == 0
	}
	i.from[b].Store(0)
	return true
}

// subscribe feeds subject into the receive channel. While there is no
// connection nats.go notes the subscription and makes it with the next one.
func (i *interest) subscribe(subject, group string) *nats.Subscription {
	var sub *nats.Subscription
	var err error
	if group == "" {
		sub, err = i.bus.nc.ChanSubscribe(subject, i.bus.in)
	} else {
		sub, err = i.bus.nc.ChanQueueSubscribe(subject, group, i.bus.in)
	}
	if err != nil { // only when the connection is closed for good
		i.bus.log.Error("subscribe", zap.String("subject", subject), zap.Error(err))
		return nil
	}
	i.live[sub] = struct{}{}
	return sub
}

// unsubscribe ends a subscription that nobody wants: what is on its way is
// thrown away.
func (i *interest) unsubscribe(sub *nats.Subscription) {
	if sub == nil {
		return
	}
	i.retire(sub)
	if err := sub.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		i.bus.log.Warn("unsubscribe", zap.String("subject", sub.Subject), zap.Error(err))
	}
}

// confirm returns when the server has taken all subscriptions, or there is no
// connection that anybody could wait for.
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

// notify reports ready to the shards in told and to those that had no room for
// it before.
func (i *interest) notify(told []notice) {
	told = append(i.unnotified, told...)
	i.unnotified = nil
	for _, n := range told {
		if !i.sent(n) {
			i.unnotified = append(i.unnotified, n)
		}
	}
}

// sent tells one shard; false if that had no room.
func (i *interest) sent(n notice) (ok bool) {
	ok = true // a shard that fails is not asked again
	defer i.bus.faults.caught("ready")
	return n.send()
}

// sweep ends subscriptions that lingered long enough.
func (i *interest) sweep(now time.Time) {
	i.retry()
	i.sweepTopics(now)
	if i.wildcardOn.Load() {
		i.sweepWildcard(now)
		return
	}
	for b, sub := range i.held {
		if i.holds(b) {
			delete(i.zeroAt, b)
			continue
		}
		if at, seen := i.zeroAt[b]; !seen {
			i.zeroAt[b] = now
		} else if now.Sub(at) >= i.bus.opt.Linger && i.clearReady(b) {
			delete(i.zeroAt, b)
			delete(i.held, b)
			i.unsubscribe(sub)
		}
	}
}

// retire takes a subscription that ends out of the books, except its drops.
func (i *interest) retire(sub *nats.Subscription) {
	delete(i.live, sub)
	if n, err := sub.Dropped(); err == nil {
		i.dropped += uint64(n)
	}
}

// countDrops adds up what nats.go dropped because the receive channel was
// full. Only the subscriptions themselves know: SetPendingLimits does not apply
// to channel subscriptions, and the error handler is called for the first drop
// of a series only.
func (i *interest) countDrops() {
	lost := i.dropped
	for sub := range i.live {
		if n, err := sub.Dropped(); err == nil {
			lost += uint64(n)
		}
	}
	i.bus.count.lostReceive.Store(lost)
}
