package broadcast

import (
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

// The switch between single user buckets and the wildcard must neither lose nor
// duplicate a message, whether it is numbered or not. All user subscriptions of a
// process are therefore in one queue group, which only this process uses. While
// the process subscribes to a user bucket and to the wildcard, the NATS server
// gives each message to one of the two subscriptions.
//
// Old and new subscriptions overlap for a while, because the server first looks
// up the subscriptions for a message and then delivers it. If it looked them up
// before the new subscription existed, the old one must still exist. Old
// subscriptions end by Drain, which keeps them in the client until the server has
// confirmed their end. A plain Unsubscribe would drop messages that are under
// way. See docs/adr/0003-user-bucket-wildcard.md.

// switchOverlap is how long old subscriptions overlap with new ones. It is longer
// than a goroutine of the server can be delayed on a busy machine.
const switchOverlap = time.Second

// replaced is an old subscription. due is wall clock time and not time of
// Options.clock, because the overlap gives time to the server.
type replaced struct {
	sub *nats.Subscription
	due time.Time // when it ends
}

// widen replaces the subscriptions to single user buckets by the wildcard. All
// user buckets are ready when it returns.
func (i *interest) widen() {
	i.wildcard = i.subscribe(subjectUsers, i.group)
	i.confirm()
	now := i.bus.opt.clock.now()
	for b := range i.users {
		i.markReady(uint16(b), now)
	}
	i.wildcardOn.Store(true)
	for _, sub := range i.held {
		i.replace(sub)
	}
	i.held = make(map[uint16]*nats.Subscription)
	i.zeroAt = make(map[uint16]time.Time)
	i.fewSince = time.Time{}
	i.switched("one subscription for all user buckets")
}

// sweepWildcard returns to single user buckets when fewer than WildcardBelow have
// been wanted for Options.Linger.
func (i *interest) sweepWildcard(now time.Time) {
	switch {
	case int(i.wanted.Load()) >= i.bus.opt.WildcardBelow:
		i.fewSince = time.Time{}
	case i.fewSince.IsZero():
		i.fewSince = now
	case now.Sub(i.fewSince) >= i.bus.opt.Linger:
		i.narrow()
	}
}

// narrow replaces the wildcard by subscriptions to the wanted user buckets. An old
// subscription of an earlier switch is in the same queue group, so it causes no
// duplicates.
func (i *interest) narrow() {
	for b := range i.users {
		if !i.clearReady(uint16(b)) {
			i.held[uint16(b)] = nil
		}
	}
	for b := range i.held {
		i.held[b] = i.subscribe(userBucketSubject(b), i.group)
	}
	i.confirm()
	i.wildcardOn.Store(false)
	i.replace(i.wildcard)
	i.wildcard = nil
	i.switched("single subscriptions for user buckets")
}

// switched counts and logs a switch.
func (i *interest) switched(to string) {
	i.bus.count.switches.Add(1)
	i.bus.log.Info("user subscriptions switched", zap.String("to", to), zap.Int32("buckets", i.wanted.Load()))
}

// replace lets an old subscription overlap with its successor before it ends.
func (i *interest) replace(sub *nats.Subscription) {
	if sub == nil {
		return
	}
	if len(i.replaced) == 0 {
		i.overlap.Reset(i.bus.opt.overlap)
	}
	i.replaced = append(i.replaced, replaced{sub, time.Now().Add(i.bus.opt.overlap)})
}

// endOverlap ends the old subscriptions that are due.
func (i *interest) endOverlap() {
	now, n := time.Now(), 0
	var due []*nats.Subscription
	for ; n < len(i.replaced) && !now.Before(i.replaced[n].due); n++ {
		due = append(due, i.replaced[n].sub)
	}
	if i.replaced = i.replaced[n:]; len(i.replaced) == 0 {
		i.replaced = nil
	} else {
		i.overlap.Reset(time.Until(i.replaced[0].due))
	}
	i.drain(due)
}

// drain ends subscriptions and returns when everything that the server sent to
// them has arrived.
func (i *interest) drain(subs []*nats.Subscription) {
	connection := i.bus.connection()
	var wg sync.WaitGroup
	for _, sub := range subs {
		if !i.bus.nc.IsConnected() { // no message is under way
			i.unsubscribe(sub)
			continue
		}
		i.retire(sub)
		wg.Add(1)
		done := sync.OnceFunc(wg.Done)
		sub.SetClosedHandler(func(string) { done() })
		if sub.Drain() != nil || !sub.IsValid() {
			done()
		}
	}
	wg.Wait()
	if i.bus.connection() != connection && i.bus.nc.IsConnected() {
		// nats.go repeats all subscriptions on a new connection. It may have
		// repeated one that was ending, and forgotten it afterwards. The
		// server would then still give it messages of the queue group, and
		// they would be lost. Another reconnect ends it.
		if err := i.bus.nc.ForceReconnect(); err != nil {
			i.bus.log.Warn("cannot reconnect to NATS", zap.Error(err))
		}
	}
}
