package session

import (
	"sync/atomic"
	"testing"

	"belfry/message"
	"belfry/wire"
)

// An auth command waits until all commands before it are answered. Meanwhile no turn
// looks at it, and the last answer has it go on.
func TestAuthWaits(t *testing.T) {
	ready, asked, publishing := newGate(false), make(deciding, 1), make(chan struct{})
	e := &recorder{}
	w := newWallet(map[string]Grant{"ann": {UID: "ann", Subscribe: []string{"mine"}, Publish: []string{"mine"}}})
	r := walletRig(t, Options{Events: e, Interest: ready, Subscriptions: asked, Poller: onePoller(), Publish: func(*message.Message, message.Wait) error {
		<-publishing
		return nil
	}}, w)
	c := r.dial("/ws?token=ann", "belfry.v1")
	sid := c.object()["session"].(string)
	for name, tc := range map[string]struct {
		command string
		settle  func()
	}{
		"the bus":       {`{"type":"sub","ref":1,"topic":"mine"}`, func() { ready.set(false); ready.release() }},
		"a decision":    {`{"type":"sub","ref":1,"topic":"other"}`, func() { (<-asked).later(Permitted, "") }},
		"a backend":     {`{"type":"rpc","ref":1,"event":"x"}`, func() { _ = r.Reply(sid, &wire.Reply{Ref: "1"}) }},
		"the publisher": {`{"type":"pub","ref":1,"to":{"topic":"mine"},"data":"x"}`, func() { publishing <- struct{}{} }},
	} {
		ready.set(name == "the bus")
		c.say(tc.command)
		c.say(`{"type":"auth","ref":2,"token":"ann"}`)
		eventually(t, name+": the auth waits", func() bool {
			var parked atomic.Bool
			r.each(func(h *shard) {
				for _, rn := range h.renewals.waiting {
					parked.Store(rn.parked && len(h.renewals.queue) == 0)
				}
			})
			return parked.Load()
		})
		tc.settle()
		for _, ref := range []float64{1, 2} {
			if m := c.object(); m["type"] != "ack" || m["ref"] != ref {
				t.Errorf("%s: %v, not the answer to %v", name, m, ref)
			}
		}
	}
	c.Close()
	e.check(t)
}
