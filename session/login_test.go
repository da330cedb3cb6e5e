package session

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"belfry/message"
	"belfry/poller"
	"belfry/wire"
	"belfry/ws"
)

// passwords is a LoginAuthenticator: a client becomes the user that its
// credentials name, unless they say something else.
type passwords struct {
	*Open
	later chan func(Grant, *ws.Refusal) // of the credentials "later"
}

func (a passwords) Login(_ *Client, credentials []byte, later func(Grant, *ws.Refusal)) (Grant, *ws.Refusal, bool) {
	switch word, about, _ := strings.Cut(string(credentials), " "); word {
	case "later":
		a.later <- later
		return Grant{}, nil, true
	case "wrong":
		return Grant{}, ws.Unauthorized("wrong password"), false
	case "busy":
		return Grant{}, ws.Unavailable("ask again", 7*time.Second), false
	case "invalid":
		return Grant{UID: "\x00"}, nil, false
	case faultWord:
		panic("injected in Login")
	default:
		return Grant{UID: word, Topics: strings.Fields(about)}, nil, false
	}
}

// loginRig serves lines with a login at /lp, and plain WebSockets at /ws.
func loginRig(t *testing.T, o Options) (r *rig, auth passwords) {
	rules, err := message.CompilePatterns([]string{"*"})
	if err != nil {
		t.Fatal(err)
	}
	auth = passwords{Open: &Open{Unproven: true, Topics: rules}, later: make(chan func(Grant, *ws.Refusal), 16)}
	o.Authenticator, o.Subscribe = auth, []string{"*"}
	o.Endpoints = []wire.Endpoint{defaultEndpoint(), new(byPath).add("/lp", prefixed{name: "prefixed"}, loginLines{lines{"login"}})}
	return newRig(t, o), auth
}

// nothingLeft waits until no connection is left, and fails unless nothing of
// one is.
func (r *rig) nothingLeft() {
	r.t.Helper()
	eventually(r.t, "no connections", func() bool { return r.loop.Stats().Connections == 0 })
	if st := r.Stats(); st.Sessions != 0 || st.Waiting != 0 || st.Pending != 0 {
		r.t.Errorf("left: %d sessions, %d waiting, %d pending", st.Sessions, st.Waiting, st.Pending)
	}
	r.each(func(h *shard) {
		if n := h.upgrades.index.Len(); n != 0 {
			r.t.Errorf("shard %d: %d upgrades are kept", h.index, n)
		}
	})
}

// A client is accepted, pings, logs in and goes on with commands, all in one
// write: they are answered in their order, on whichever shard its user is.
func TestLoginAtOnce(t *testing.T) {
	r, _ := loginRig(t, Options{})
	for _, uid := range r.uids() {
		for range 8 { // the kernel chooses the shard of the socket
			c, status := r.lp("/lp", appendPrefixed(nil, prefixedPing, "early"), appendPrefixed(nil, prefixedText, "login L "+uid+" b a"),
				appendPrefixed(nil, prefixedText, "ping 1"), appendPrefixed(nil, prefixedText, "login 2 other"))
			if !strings.HasPrefix(status, "HTTP/1.1 200") {
				t.Fatal(status)
			}
			c.want("!early", "thello "+uid+" L [a b]", "tdone 1", "terror 2 bad_request")
			r.deliver(message.ToUsers(uid), "to the user")
			r.deliver(message.ToTopics("b"), "to the topic")
			c.want("tlogin: to the user", "tlogin: to the topic")
			c.Close()
			r.nothingLeft()
		}
	}
	st := r.Stats()
	if st.Upgrades[[2]string{"200", "none"}] != 16 || st.Commands["login"] != 32 || st.Poller.MovedIn == 0 {
		t.Errorf("%v, %v, %d moves", st.Upgrades, st.Commands, st.Poller.MovedIn)
	}
}

// The decision comes from another goroutine; what the client has sent behind
// its login waits, and goes along to the shard of its user.
func TestLoginLater(t *testing.T) {
	r, auth := loginRig(t, Options{})
	for _, uid := range r.uids() {
		for range 8 {
			c, _ := r.lp("/lp")
			c.say(prefixedText, "login L later")
			later := <-auth.later
			c.say(prefixedText, "sub 1 news\nping 2")
			if st := r.Stats(); st.Sessions != 0 || st.Waiting != 1 {
				t.Errorf("undecided: %d sessions, %d waiting", st.Sessions, st.Waiting)
			}
			r.deliver(message.ToUsers(uid), "too early")
			r.each(func(*shard) {}) // the shards have seen it
			later(Grant{UID: uid}, nil)
			c.want("thello "+uid+" L []", "tdone 1", "tdone 2")
			r.deliver(message.ToTopics("news"), "hi")
			c.want("tlogin: hi")
			c.Close()
			r.nothingLeft()
		}
	}
}

// A login waits for the bus like any other upgrade.
func TestLoginWaitsForTheBus(t *testing.T) {
	bus := newGate(true)
	r, _ := loginRig(t, Options{Interest: bus, UpgradeTime: 5 * time.Second})
	c, _ := r.lp("/lp", appendPrefixed(nil, prefixedText, "login L u t"), appendPrefixed(nil, prefixedText, "ping 1"))
	eventually(t, "asked", func() bool { return bus.count() == 2 })
	bus.release()
	c.want("thello u L [t]", "tdone 1")
	c.Close()
	r.nothingLeft()
	bus.set(true)
	c, _ = r.lp("/lp", appendPrefixed(nil, prefixedText, "login L u t"))
	eventually(t, "asked", func() bool { return bus.count() == 2 })
	r.ticks(6)
	c.want("terror L unavailable", "x1013 the bus between the servers does not answer true 5s")
	c.ends()
	r.nothingLeft()
}

// What refuses a client before or at its login, how it is told, and what is
// counted and logged of it: one line, one status, one reason.
func TestLoginRefused(t *testing.T) {
	const bad = "x4009 the first message must be the login and nothing else false 0s"
	text := func(s string) []byte { return appendPrefixed(nil, prefixedText, s) }
	for _, c := range []struct {
		name   string
		sent   []byte
		told   []string
		line   string
		reason string
	}{
		{"wrong", text("login L wrong"), []string{"terror L forbidden", "x4009 wrong password false 0s"}, "connection refused", "login_refused"},
		{"try again", text("login L busy"), []string{"terror L unavailable", "x1013 ask again true 7s"}, "connection refused", "login_refused"},
		{"invalid grant", text("login L invalid"), []string{"terror L unavailable",
			"x1013 the server cannot determine this client's permissions; its log has the reason true 0s"}, "connection refused", "login_refused"},
		{"too many topics", text("login L u a b c"), []string{"terror L forbidden",
			"x4009 topic: a session may have at most 2 topics (session.max_topics) false 0s"}, "connection refused", "login_refused"},
		{"another command", text("ping 1"), []string{"tbye login_refused", bad}, "connection ended", "login_refused"},
		{"no command", text("nonsense"), []string{"tbye login_refused", bad}, "connection ended", "login_refused"},
		{"more than the login", text("login L u\nping 1"), []string{"tbye login_refused", bad}, "connection ended", "login_refused"},
		{"too many pings", []byte(strings.Repeat(string(appendPrefixed(nil, prefixedPing, "")), maxBeforeLogin+1)),
			[]string{"tbye login_refused", "x4009 too many frames before the login false 0s"}, "connection ended", "login_refused"},
		{"too long", text("login L " + strings.Repeat("x", 101)), []string{"tbye login_refused",
			"x4009 the credentials have 101 bytes; at most 100 are allowed (auth.max_token) false 0s"}, "connection ended", "login_refused"},
		{"broken", []byte("no frame"), []string{"tbye protocol", "x1002 no frame begins with 'n' false 0s"}, "connection ended", "protocol"},
		{"close", appendPrefixed(nil, prefixedClose, ""), []string{"x7"}, "connection ended", "client"},
		{"never", nil, []string{"tbye login_refused", "x4009 no login in time false 0s"}, "connection ended", "login_refused"},
		{"end", nil, nil, "connection ended", "gone"},
	} {
		t.Run(c.name, func(t *testing.T) {
			core, logs := observer.New(zapcore.InfoLevel)
			r, _ := loginRig(t, Options{Log: zap.New(core), UpgradeTime: 5 * time.Second, MaxTopics: 2, MaxCredentials: 100})
			conn, _ := r.lp("/lp", c.sent)
			switch c.name {
			case "never":
				r.ticks(6)
			case "end":
				conn.Close()
			}
			conn.skipPongs()
			conn.want(c.told...)
			conn.Close()
			r.nothingLeft()
			r.closedOnce(t, c.reason)
			var lines []string
			for _, e := range logs.FilterLevelExact(zapcore.InfoLevel).All() {
				lines = append(lines, e.Message)
			}
			if len(lines) != 1 || lines[0] != c.line {
				t.Errorf("logged %q; want %q once", lines, c.line)
			}
			for key, n := range r.Stats().Upgrades {
				if want := key == [2]string{"200", "none"}; n > 1 || (n == 1) != want {
					t.Errorf("%d answers counted as %v", n, key)
				}
			}
			if n := r.Stats().Limits["upgrade.timeout"]; (n == 1) != (c.name == "never") {
				t.Errorf("upgrade.timeout counted %d times", n)
			}
		})
	}
}

// The authenticator refuses later, does not answer in time, or answers when
// the connection is gone.
func TestLoginDecidedLate(t *testing.T) {
	r, auth := loginRig(t, Options{UpgradeTime: 5 * time.Second})
	undecided := func() (c *lpConn, later func(Grant, *ws.Refusal)) {
		c, _ = r.lp("/lp", appendPrefixed(nil, prefixedText, "login L later"))
		return c, <-auth.later
	}
	c, later := undecided()
	later(Grant{}, ws.Unauthorized("not you"))
	later(Grant{UID: "u"}, nil) // once too often
	c.want("terror L forbidden", "x4009 not you false 0s")
	c.ends()
	r.nothingLeft()

	c, later = undecided()
	r.ticks(6)
	c.want("terror L unavailable", "x1013 the upgrade took too long true 0s")
	later(Grant{UID: "u"}, nil)
	c.ends()
	r.nothingLeft()

	c, later = undecided()
	c.Close()
	r.nothingLeft()
	later(Grant{UID: "u"}, nil)
	c, _ = r.lp("/lp", appendPrefixed(nil, prefixedText, "login L v")) // in the same slot, perhaps
	c.want("thello v L []")
	if st := r.Stats(); st.Sessions != 1 || st.Users != 0 && st.Users != 1 {
		t.Errorf("%d sessions, %d users", st.Sessions, st.Users)
	}
}

// How many clients may be between their request and the decision on their
// login is bounded like upgrades that wait.
func TestLoginsThatWait(t *testing.T) {
	r, _ := loginRig(t, Options{MaxWaiting: 2, UpgradeTime: 5 * time.Second})
	var waiting []*lpConn
	for range 2 {
		c, status := r.lp("/lp")
		if !strings.HasPrefix(status, "HTTP/1.1 200") {
			t.Fatal(status)
		}
		waiting = append(waiting, c)
	}
	if _, status := r.lp("/lp"); !strings.HasPrefix(status, "HTTP/1.1 503 Prefixed\r\nX-Accept: ") || strings.Contains(status, "X-Accept: 0") {
		t.Errorf("the third: %q", status)
	}
	waiting[0].say(prefixedText, "login L u")
	waiting[0].want("thello u L []")
	if _, status := r.lp("/lp"); !strings.HasPrefix(status, "HTTP/1.1 200") {
		t.Errorf("after a login: %q", status)
	}
	if st := r.Stats(); st.Upgrades[[2]string{"503", "pending"}] != 1 || st.Limits["upgrade.max_waiting"] != 1 {
		t.Errorf("%v, %v", st.Upgrades, st.Limits)
	}
}

// A user's newest session takes the place of one that waits for the bus: that
// one must not come back and take it again.
func TestLoginGivesWay(t *testing.T) {
	bus := newGate(true)
	r, _ := loginRig(t, Options{Interest: bus, MaxPerUser: 1})
	login := appendPrefixed(nil, prefixedText, "login L u")
	first, _ := r.lp("/lp", login)
	eventually(t, "asked", func() bool { return bus.count() == 1 })
	r.lp("/lp", login)
	first.want("terror L forbidden", "x4009 too many sessions of this user false 0s")
	first.ends()
}

// A fault in what decides costs the connection at hand.
func TestFaultInLogin(t *testing.T) {
	r, _ := loginRig(t, Options{Log: zap.NewNop()})
	r.faults = true
	c, _ := r.lp("/lp", appendPrefixed(nil, prefixedText, "login L "+faultWord), appendPrefixed(nil, prefixedText, "ping 1"))
	c.ends()
	r.nothingLeft()
	r.closedOnce(t, "internal")
	c, _ = r.lp("/lp", appendPrefixed(nil, prefixedText, "login L u"))
	c.want("thello u L []")
}

// At shutdown clients that have not logged in are told like sessions, and those
// whose login is being decided that they may come back.
func TestLoginAtShutdown(t *testing.T) {
	r, auth := loginRig(t, Options{})
	silent, _ := r.lp("/lp")
	undecided, _ := r.lp("/lp", appendPrefixed(nil, prefixedText, "login L later"))
	later := <-auth.later
	r.each(func(h *shard) { h.shutdown.begin(closeOrder{reason: ReasonShutdown}); h.ps.Wake() })
	silent.want("tbye shutdown", "x1001 server is going away true 1s")
	silent.say(prefixedClose, "")
	silent.ends()
	undecided.want("terror L unavailable", "x1013 this server is going away true 5s")
	undecided.ends()
	later(Grant{UID: "u"}, nil)
	r.nothingLeft()
}

// A client whose backlog was dropped for another connection is told so, however far
// its login is. Otherwise it would go on after a gap, or get nothing until a
// timeout.
func TestLoginEvicted(t *testing.T) {
	for name, c := range map[string]struct {
		behind []byte
		told   []string
	}{
		"before the login": {nil, []string{"tbye node_backlog", "x4005 server backlog is full true 0s"}},
		"undecided":        {appendPrefixed(nil, prefixedText, "login L later"), []string{"terror L unavailable", "x1013 server backlog is full true 5s"}},
		"waits for bus":    {appendPrefixed(nil, prefixedText, "login L u"), []string{"terror L unavailable", "x1013 server backlog is full true 5s"}},
	} {
		t.Run(name, func(t *testing.T) {
			bus := newGate(true)
			r, auth := loginRig(t, Options{Poller: onePoller(), Interest: bus})
			conn, _ := r.lp("/lp", c.behind)
			switch name {
			case "undecided":
				later := <-auth.later
				defer later(Grant{UID: "u"}, nil) // too late
			case "waits for bus":
				eventually(t, "asked", func() bool { return bus.count() == 1 })
			}
			r.on(0, func(h *shard) {
				slot, _ := h.ps.Next(0)
				h.OnSendFailed(slot, poller.NodeFull)
				h.OnSendFailed(slot, poller.NodeFull) // once too often
			})
			conn.want(c.told...)
			if name == "before the login" {
				conn.say(prefixedClose, "")
			}
			conn.ends()
			r.nothingLeft()
			r.closedOnce(t, "node_backlog")
			if st := r.Stats(); st.Slow != 1 || st.Limits["backlog.node_bytes"] != 1 {
				t.Errorf("%d slow, %v", st.Slow, st.Limits)
			}
		})
	}
}

// A session that has logged in costs what any other does.
func TestLoginLeavesNothing(t *testing.T) {
	r, _ := loginRig(t, Options{})
	for i := range 100 {
		c, _ := r.lp("/lp", appendPrefixed(nil, prefixedText, fmt.Sprintf("login L user-%d", i)))
		c.want(fmt.Sprintf("thello user-%d L []", i))
	}
	kept := 0
	r.each(func(h *shard) { kept += h.upgrades.index.Len() + len(h.upgrader.logins) + h.assembly.index.Len() })
	if st := r.Stats(); kept != 0 || st.Sessions != 100 || st.Waiting != 0 || st.WaitingBytes != 0 {
		t.Errorf("%d kept, %d sessions, %d waiting, with %d bytes", kept, st.Sessions, st.Waiting, st.WaitingBytes)
	}
}

// The authenticator is asked only about connections that still wait for it.
func TestLoginThatIsOver(t *testing.T) {
	w := newWallet(nil)
	r := walletRig(t, Options{Poller: onePoller()}, w)
	r.lines("/lp").want("thello   []")
	r.on(0, func(h *shard) {
		slot, _ := h.ps.Next(0)
		h.upgrader.logins = append(h.upgrader.logins, h.ps.ID(slot))
		if h.upgrader.startLogins() || h.rec(slot).state != stateOpen {
			t.Error("the login of an open session is begun")
		}
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.asked) != 0 || r.Stats().Sessions != 1 {
		t.Errorf("%d logins, %d sessions", len(w.asked), r.Stats().Sessions)
	}
}
