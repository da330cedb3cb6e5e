package broadcast

import (
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

// The switch between single buckets and the wildcard must neither lose nor
// double a message, numbered or not. All user subscriptions of a process are
// therefore members of one queue group that it has for itself: while a bucket
// and the wildcard are both subscribed to, the NATS server gives each message
// to one of them.
//
// They overlap for a while, because the server looks up who wants a message
// and delivers it in two steps: one that was looked up before the new
// subscription existed must still find the old one. And the old ones end by
// Drain, which keeps them on the client's side until the server has confirmed
// the end; a plain Unsubscribe would throw away what is on its way.
// docs/adr/0003-user-bucket-wildcard.md.

// switchOverlap is how long the old subscriptions stay: longer than a busy
// machine keeps a goroutine of the server from running.
const switchOverlap = time.Second

// replaced is a subscription that was replaced. The time is the machine's, not
// Options.clock's: it is the server that needs it.
type replaced struct {
	sub *nats.Subscription
	due time.Time
}

// widen replaces the single buckets by the wildcard. All buckets are ready
// when it returns.
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

// sweepWildcard returns to single buckets once few have been wanted for as
// long as a subscription lingers.
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

// narrow replaces the wildcard by the buckets that are wanted. One that is left
// over from an earlier switch is in the same queue group and does no harm.
func (i *interest) narrow() {
	for b := range i.users {
		if !i.clearReady(uint16(b)) {
			i.held[uint16(b)] = nil
		}
	}
	for b := range i.held {
		i.held[b] = i.subscribe(bucketSubject(b), i.group)
	}
	i.confirm()
	i.wildcardOn.Store(false)
	i.replace(i.wildcard)
	i.wildcard = nil
	i.switched("single subscriptions for user buckets")
}

func (i *interest) switched(to string) {
	i.bus.count.switches.Add(1)
	i.bus.log.Info("user subscriptions switched", zap.String("to", to), zap.Int32("buckets", i.wanted.Load()))
}

// replace lets a replaced subscription overlap with its successor.
func (i *interest) replace(sub *nats.Subscription) {
	if sub == nil {
		return
	}
	if len(i.replaced) == 0 {
		i.overlap.Reset(i.bus.opt.overlap)
	}
	i.replaced = append(i.replaced, replaced{sub, time.Now().Add(i.bus.opt.overlap)})
}

// endOverlap ends the subscriptions that have overlapped for long enough.
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

// drain ends subscriptions after everything that was sent to them has come,
// and waits for that.
func (i *interest) drain(subs []*nats.Subscription) {
	connection := i.bus.connection()
	var wg sync.WaitGroup
	for _, sub := range subs {
		if !i.bus.nc.IsConnected() { // nothing is on its way
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
		// nats.go makes subscriptions anew on a new connection; one whose end
		// was under way may be among them and forgotten afterwards, and what
		// the queue group gives it would be lost.
		if err := i.bus.nc.ForceReconnect(); err != nil {
			i.bus.log.Warn("reconnect", zap.Error(err))
		}
	}
}
