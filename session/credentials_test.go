package session

import (
	"strings"
	"testing"
	"time"
)

// Credentials in a command may be as long as Options.MaxCredentials says.
func TestMaxCredentials(t *testing.T) {
	long := strings.Repeat("x", 6000)
	w := newWallet(map[string]Grant{long: {UID: "ann"}})
	r := walletRig(t, Options{MaxCredentials: len(long)}, w)
	c := r.lines("/lp")
	c.want("thello   []")
	c.ask("auth 1 "+long+"x", "terror 1 bad_request")
	if n := r.Stats().Limits["auth.max_token"]; n != 1 {
		t.Errorf("auth.max_token was hit %d times", n)
	}
	c.ask("auth 2 "+long, "thello ann 2 []")
}

// Credentials that are being checked count as bytes that wait, until the authenticator
// has decided: also if the command was given up or the session has ended.
func TestRenewalBytes(t *testing.T) {
	d := make(deciding, 8)
	w := newWallet(nil)
	r := walletRig(t, Options{Subscriptions: d, UpgradeTime: 5 * time.Second, NodeLimits: NodeLimits{WaitingBytes: 1000}}, w)
	held := func(want int) {
		t.Helper()
		eventually(t, "the bytes that are held", func() bool { return r.Stats().WaitingBytes == int64(want) })
	}
	open := func() *lpConn {
		c := r.lines("/lp")
		c.want("thello   []")
		return c
	}
	credentials := "later" + strings.Repeat("x", 595)
	a, b := open(), open()
	a.say(prefixedText, "auth 1 "+credentials)
	first := <-w.later
	held(600)
	b.ask("auth 1 "+credentials, "terror 1 unavailable")
	if n := r.Stats().Limits["upgrade.waiting_bytes"]; n != 1 {
		t.Errorf("upgrade.waiting_bytes was hit %d times", n)
	}
	b.ask("ping 2", "tdone 2")
	r.ticks(5) // it is given up
	a.want("terror 1 unavailable")
	held(600)
	first(Grant{}, nil)
	first(Grant{}, nil)
	held(0)
	a.ask("auth 2 unknown", "terror 2 forbidden") // decided at once
	held(0)

	a.say(prefixedText, "auth 3 "+credentials)
	second := <-w.later
	a.Close()
	eventually(t, "gone", func() bool { return r.Stats().Closed["gone"] == 1 })
	held(600)
	second(Grant{}, nil)
	held(0)

	b.say(prefixedText, "sub 3 t\nauth 4 "+credentials) // the authenticator is not asked yet
	<-d
	held(600)
	b.Close()
	held(0)

	r.faults = true
	c := open()
	c.say(prefixedText, "auth 1 panic")
	c.ends()
	held(0)
	r.nothingLeft()
}

// What a webhook could not decide is told by an error of its own, which says that the
// client may try again. A topic that is denied is told first: it stays denied.
func TestUndecided(t *testing.T) {
	d := make(deciding, 8)
	r := walletRig(t, Options{Subscriptions: d}, newWallet(nil))
	c := r.v1("/ws")
	answer := func(topics string, decide func(q question), want string) {
		t.Helper()
		c.command(`{"type":"sub","ref":1,"topics":%s}`, topics)
		for range strings.Count(topics, ",") + 1 {
			decide(<-d)
		}
		c.expect(t, want)
	}
	answer(`["a"]`, func(q question) { q.later(Undecided, "the service does not answer; try again") },
		`{"type":"err","ref":1,"code":"undecided","field":"topics","message":"the service does not answer; try again"}`)
	answer(`["a"]`, func(q question) { q.later(Undecided, "") }, `"code":"undecided","field":"topics","message":"whether \"a\" is open to you could not be decided; try again"`)
	answer(`["a","b","c"]`, func(q question) {
		q.later(map[string]Decision{"a": Undecided, "b": Denied, "c": Permitted}[q.topic], "")
	},
		`"code":"forbidden","field":"topics","message":"\"b\" is not open to you"`)
	answer(`["a"]`, func(q question) { q.later(Permitted, "") }, `"type":"ack","ref":1`)
	if st := r.Stats(); st.CommandErrors["undecided"] != 2 || st.CommandErrors["forbidden"] != 1 {
		t.Errorf("%v", st.CommandErrors)
	}
}
