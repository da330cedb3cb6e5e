package session

import (
	"context"
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

// Calls are kept for as long as an upgrade can take, and no longer.
func TestRevokedCallsAreForgotten(t *testing.T) {
	var r revoked
	g := &Grant{UID: "ann", Issued: time.Unix(10, 0)}
	r.add("ann", time.Unix(11, 0), 0, 5*time.Second)
	r.add("", time.Unix(10, 0), 2*time.Second, 5*time.Second)
	at := func(t time.Duration) func() time.Duration { return func() time.Duration { return t } }
	if r.refusal(g, at(5*time.Second-1)) == nil {
		t.Error("forgotten too early")
	}
	if r.refusal(g, at(5*time.Second)) != nil {
		t.Error("refused for ever")
	}
	if len(r.calls) != 1 || !r.some.Load() {
		t.Errorf("%d calls are kept", len(r.calls))
	}
	r.refusal(g, at(7*time.Second))
	if len(r.calls) != 0 || r.some.Load() {
		t.Errorf("%d calls are kept", len(r.calls))
	}
	for i := range 100 {
		r.add("ann", time.Unix(11, 0), time.Duration(i)*time.Second, 5*time.Second)
	}
	if len(r.calls) != 5 {
		t.Errorf("%d calls are kept", len(r.calls))
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
