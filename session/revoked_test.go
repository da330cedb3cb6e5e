package session

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// Credentials that were revoked, or have expired, renew nothing and open nothing, also
// when they come after the call that revoked them.
func TestRevokedCredentials(t *testing.T) {
	clock := newClock()
	at := func(second int64) time.Time { return time.Unix(second, 0) }
	w := newWallet(map[string]Grant{
		"new": {UID: "ann", Issued: at(2000)}, "old": {UID: "ann", Issued: at(999)}, "just": {UID: "ann", Issued: at(1000)},
		"unknown": {UID: "ann"}, "bob": {UID: "bob", Issued: at(999)}, "older": {UID: "bob", Issued: at(499)},
		"over": {UID: "ann", Issued: at(2000), Expires: clock.Now()},
	})
	r := walletRig(t, Options{clock: clock.Now}, w)
	c, bob := r.lines("/lp?token=new"), r.lines("/lp?token=bob")
	c.want("thello ann  []")
	bob.want("thello bob  []")
	if n, err := r.ExpireUser(context.Background(), "ann", at(1000)); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	c.ask("auth 1 old", "terror 1 forbidden")
	c.ask("auth 2 over", "terror 2 forbidden")
	c.ask("auth 3 just", "tdone 3") // issued at the time of the call, not before
	c.ask("auth 4 unknown", "tdone 4")
	bob.ask("auth 1 bob", "tdone 1")
	if status := r.refusal("/ws?token=old", nil); status != 401 {
		t.Errorf("a revoked token: %d", status)
	}
	if status := r.refusal("/ws?token=just", nil); status != 101 {
		t.Errorf("a token that was issued at the time of the call: %d", status)
	}
	// Those of everybody.
	if n, err := r.ExpireIssuedBefore(context.Background(), at(500)); n != 1 || err != nil { // one whose time is not known
		t.Errorf("%d, %v", n, err)
	}
	c.want("tbye expired", "x4010 the credentials have expired true 0s")
	bob.ask("auth 2 older", "terror 2 forbidden")
	if status := r.refusal("/ws?token=older", nil); status != 401 {
		t.Errorf("a revoked token: %d", status)
	}
}

// A session ends with its credentials although a command to renew them is being
// decided: nobody keeps a session by waiting.
func TestExpiryWhileRenewing(t *testing.T) {
	clock := newClock()
	w := newWallet(map[string]Grant{"ann": {UID: "ann", Expires: clock.Now().Add(10 * time.Second)}})
	r := walletRig(t, Options{clock: clock.Now, UpgradeTime: time.Minute}, w)
	c := r.lines("/lp?token=ann")
	c.want("thello ann  []")
	c.say(prefixedText, "auth 1 later")
	later := <-w.later
	clock.add(10 * time.Second)
	r.ticks(10)
	c.want("tbye expired", "x4010 the credentials have expired true 0s")
	later(Grant{UID: "ann"}, nil) // too late
	c.say(prefixedClose, "")
	c.ends()
	r.nothingLeft()
}

// Time may pass far beyond the end of the credentials before the shard looks: the
// session ends all the same.
func TestExpiryThatIsLongOver(t *testing.T) {
	clock := newClock()
	w := newWallet(map[string]Grant{"ann": {UID: "ann", Expires: clock.Now().Add(10 * time.Second)}})
	r := walletRig(t, Options{clock: clock.Now}, w)
	c := r.lines("/lp?token=ann")
	c.want("thello ann  []")
	clock.add(time.Hour) // the host slept
	r.ticks(10)
	c.want("tbye expired", "x4010 the credentials have expired true 0s")
}

// The limits of a new grant hold at once: for the topics that the session has, and for
// its heartbeat.
func TestRenewedLimits(t *testing.T) {
	w := newWallet(map[string]Grant{
		"ann":    {UID: "ann"},
		"few":    {UID: "ann", Limits: SessionLimits{Topics: 1}},
		"pinged": {UID: "ann", Limits: SessionLimits{Topics: 2, PingInterval: 5 * time.Second}},
	})
	r := walletRig(t, Options{Subscribe: []string{"*"}, MaxTopics: 10, PingInterval: time.Hour}, w)
	c := r.lines("/lp?token=ann")
	c.want("thello ann  []")
	c.ask("sub 1 a\nsub 2 b", "tdone 1", "tdone 2")
	c.ask("auth 3 few", "terror 3 too_many_topics")
	if n := r.Stats().Limits["session.max_topics"]; n != 1 {
		t.Errorf("the limit was hit %d times", n)
	}
	c.ask("auth 4 pinged", "tdone 4")
	c.ask("sub 5 c", "terror 5 too_many_topics")
	r.ticks(6)
	c.want("?")
}

// Calls are kept for the time of an upgrade at least, and forgotten after twice that
// time, the latest of each user.
func TestRevokedCalls(t *testing.T) {
	const keep = 20 * time.Second
	r := revoked{keep: keep}
	old, issued, later := time.Unix(1000, 0), time.Unix(2000, 0), time.Unix(3000, 0)
	at := func(t time.Duration) func() time.Duration { return func() time.Duration { return t } }
	refuses := func(uid string, now time.Duration) bool {
		return r.refusal(&Grant{UID: uid, Issued: issued}, at(now)) != nil
	}
	if refuses("ann", 0) {
		t.Error("refused without a call")
	}
	r.add("ann", later, 0)
	r.add("ann", old, keep/2) // takes nothing back
	r.add("bob", old, keep/2)
	for _, now := range []time.Duration{keep / 2, keep, 3 * keep / 2} {
		if !refuses("ann", now) || refuses("bob", now) || refuses("", now) {
			t.Errorf("at %v: ann %v, bob %v", now, refuses("ann", now), refuses("bob", now))
		}
	}
	if r.refusal(&Grant{UID: "ann"}, at(3*keep/2)) != nil {
		t.Error("credentials whose time is not known are refused")
	}
	r.add("bob", later, 3*keep/2)
	if now := 5*keep/2 - 1; refuses("ann", now) || !refuses("bob", now) {
		t.Errorf("at %v: ann %v, bob %v", now, refuses("ann", now), refuses("bob", now))
	}
	if refuses("bob", 5*keep) || r.some.Load() {
		t.Error("nothing is forgotten")
	}
	r.add("", later, 6*keep)
	if !refuses("eve", 6*keep) || !refuses("", 6*keep) {
		t.Error("a call for all users refuses nobody")
	}
	r = revoked{keep: keep}
	r.add("ann", later, 0)
	if refuses("ann", 2*keep) || r.some.Load() { // nothing has looked meanwhile
		t.Error("a call is kept for more than twice its time")
	}
}

// Many calls, as a node makes them that learns the revocations of others, hold little
// memory: one entry for each user.
func TestRevokedCallsAreFew(t *testing.T) {
	r := revoked{keep: time.Second}
	for i := range 100_000 {
		r.add(fmt.Sprint(i%100), time.Unix(int64(i+1), 0), time.Duration(i)*time.Millisecond)
		if n := len(r.young) + len(r.old); n > 200 {
			t.Fatalf("%d entries after %d calls for 100 users", n, i+1)
		}
	}
}
