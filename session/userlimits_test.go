package session

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"belfry/poller"
)

// The policy refuse-newest admits exactly as many sessions of a user as it may,
// however many come at once; evict-oldest keeps exactly as many.
func TestSessionsOfAUserAreExact(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		r := newRig(t, Options{MaxPerUser: 5, RefuseNewest: refuse, Poller: poller.Options{Shards: 3}})
		var open sync.WaitGroup
		var mu sync.Mutex
		statuses, conns := map[int]int{}, []*rawConn{}
		for range 40 {
			open.Go(func() {
				c, err := r.connect()
				if err != nil {
					t.Error(err)
					return
				}
				c.Write(request("/ws?uid=ann", ""))
				status, err := c.answer()
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				statuses[status]++
				conns = append(conns, c)
			})
		}
		open.Wait()
		if refuse && (statuses[101] != 5 || statuses[429] != 35) {
			t.Errorf("%v", statuses)
		}
		if !refuse && statuses[101] != 40 {
			t.Errorf("%v", statuses)
		}
		if st := r.Stats(); st.Sessions != 5 || st.Limits["session.max_per_user"] != 35 {
			t.Errorf("%d sessions, %v", st.Sessions, st.Limits)
		}
		for _, c := range conns {
			c.Close()
		}
		r.nothingLeft()
	}
}

// The sessions of a user share its rates; to come back does not help, and another user
// is served.
func TestRatesOfAUser(t *testing.T) {
	w := newWallet(map[string]Grant{"ann": {UID: "ann"}, "bob": {UID: "bob"}})
	r := walletRig(t, Options{Poller: onePoller(), Rates: Rates{UserMessages: 10, UserMessageBurst: 30, Grace: 3 * time.Second}}, w)
	open := func(name string) *lpConn {
		c := r.lines("/lp?token=" + name)
		c.text()
		return c
	}
	a, b, bob, nobody := open("ann"), open("ann"), open("bob"), open("")
	for i := range 15 {
		a.ask(fmt.Sprint("ping a", i), fmt.Sprint("tdone a", i))
		b.ask(fmt.Sprint("ping b", i), fmt.Sprint("tdone b", i))
	}
	a.Close()
	eventually(t, "gone", func() bool { return r.Stats().Sessions == 3 })
	b.say(prefixedText, "ping b15")
	b.want("terror  rate_limited")
	again := open("ann")
	again.say(prefixedText, "ping c1")
	again.want("terror  rate_limited")
	for i := range 40 {
		nobody.ask(fmt.Sprint("ping ", i), fmt.Sprint("tdone ", i))
	}
	bob.ask("ping 1", "tdone 1")
	r.tick(1)
	b.want("tdone b15")
	again.want("tdone c1")
	if st := r.Stats(); st.Limits["session.user_message_rate"] != 2 || st.Limits["session.message_rate"] != 0 {
		t.Errorf("%v", st.Limits)
	}
	r.ticks(10)
	r.tick(1) // a sweep begins in the one and looks at all in the other
	r.each(func(h *shard) {
		if n := h.buckets.user.all.Len() + h.buckets.user.table.Len(); n != 0 {
			t.Errorf("%d buckets of users are kept although they are full", n)
		}
	})
}

// Bytes of a user, and a user that goes on.
func TestUserThatSendsTooMuch(t *testing.T) {
	w := newWallet(map[string]Grant{"ann": {UID: "ann"}})
	r := walletRig(t, Options{Poller: onePoller(), Rates: Rates{UserBytes: 1000, Grace: time.Second}}, w)
	c := r.lines("/lp?token=ann")
	c.text()
	flood := make([]byte, 0, 1<<20)
	for len(flood) < 1<<20 {
		flood = appendPrefixed(flood, prefixedPong, string(make([]byte, 1000)))
	}
	go c.Write(flood)
	c.want("terror  rate_limited")
	eventually(t, "closed", func() bool { r.tick(1); return r.Stats().Sessions == 0 })
	if st := r.Stats(); st.Limits["session.user_byte_rate"] == 0 {
		t.Errorf("%v", st.Limits)
	}
}

// A grant sets the rate of its own session.
func TestRateOfASession(t *testing.T) {
	w := newWallet(map[string]Grant{"slow": {UID: "ann", Limits: SessionLimits{Messages: 1}}, "any": {UID: "ann", Limits: SessionLimits{Messages: -1}}})
	r := walletRig(t, Options{Poller: onePoller(), Rates: Rates{Messages: 10, MessageBurst: 10, Grace: time.Minute}}, w)
	slow, other, unlimited := r.lines("/lp?token=slow"), r.lines("/lp"), r.lines("/lp?token=any")
	for _, c := range []*lpConn{slow, other, unlimited} {
		c.text()
	}
	for i := range 100 {
		answer := fmt.Sprint("tdone ", i)
		unlimited.ask(fmt.Sprint("ping ", i), answer)
		if i < 5 {
			slow.ask(fmt.Sprint("ping ", i), answer)
		}
		if i < 10 {
			other.ask(fmt.Sprint("ping ", i), answer)
		}
	}
	slow.say(prefixedText, "ping x")
	slow.want("terror  rate_limited")
	other.say(prefixedText, "ping x")
	other.want("terror  rate_limited")
	r.tick(1)
	slow.want("tdone x")
	other.want("tdone x")
}
