package session

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"belfry/message"
	"belfry/wire"
	"belfry/ws"
)

// wallet is a LoginAuthenticator whose credentials name a grant or a refusal. The
// credentials "later" are decided by the test.
type wallet struct {
	mu      sync.Mutex
	grants  map[string]Grant
	refuses map[string]*ws.Refusal
	asked   []*Client // by Login
	later   chan func(Grant, *ws.Refusal)
}

func newWallet(grants map[string]Grant) *wallet {
	return &wallet{grants: grants, refuses: map[string]*ws.Refusal{}, later: make(chan func(Grant, *ws.Refusal), 64)}
}

func (w *wallet) set(name string, g Grant) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.grants[name] = g
}

func (w *wallet) find(name string, later func(Grant, *ws.Refusal)) (Grant, *ws.Refusal, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if name == "panic" {
		panic("injected in Login")
	}
	if strings.HasPrefix(name, "later") {
		w.later <- later
		return Grant{}, nil, true
	}
	if r := w.refuses[name]; r != nil {
		return Grant{}, r, false
	}
	if g, ok := w.grants[name]; ok || name == "" {
		return g, nil, false
	}
	return Grant{}, ws.Unauthorized("unknown credentials").WithCause(CauseUID), false
}

func (w *wallet) Authenticate(a *Attempt, later func(Grant, *ws.Refusal)) (Grant, *ws.Refusal, bool) {
	name, _ := a.Request.Query("token")
	return w.find(string(name), later)
}

func (w *wallet) Login(c *Client, credentials []byte, later func(Grant, *ws.Refusal)) (Grant, *ws.Refusal, bool) {
	w.mu.Lock()
	w.asked = append(w.asked, c)
	w.mu.Unlock()
	return w.find(string(credentials), later)
}

// told returns the client of a call of Login, counted from the first one; -1 is the
// last.
func (w *wallet) told(i int) *Client {
	w.mu.Lock()
	defer w.mu.Unlock()
	if i < 0 {
		i += len(w.asked)
	}
	return w.asked[i]
}

// count returns how often Login was called.
func (w *wallet) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.asked)
}

// testClock is a clock that a test moves.
type testClock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *testClock { return &testClock{now: time.Unix(1_000_000, 0)} }

func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *testClock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// walletRig serves lines at /lp and WebSockets at /ws.
func walletRig(t *testing.T, o Options, w *wallet) *rig {
	o.Authenticator = w
	o.Endpoints = []wire.Endpoint{defaultEndpoint(), new(byPath).add("/lp", prefixed{name: "prefixed"}, lines{"lines"})}
	return newRig(t, o)
}

// published collects what clients publish.
type published struct {
	mu  sync.Mutex
	all []*message.Message
}

func (p *published) publish(m *message.Message, _ message.Wait) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, m)
	return nil
}

func (p *published) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.all)
}

func (r *rig) lines(path string) *lpConn {
	r.t.Helper()
	c, _ := r.lp(path)
	return c
}

func (c *lpConn) ask(command string, answers ...string) {
	c.t.Helper()
	c.say(prefixedText, command)
	c.want(answers...)
}

func TestPermissions(t *testing.T) {
	p := new(published)
	w := newWallet(map[string]Grant{
		"ann":  {UID: "ann", Subscribe: []string{"team.*", "inbox.{uid}"}, Publish: []string{"all"}},
		"dots": {UID: "d.o", Subscribe: []string{"inbox.{uid}"}},
		"root": {UID: "root", Publish: []string{"*"}},
		"star": {UID: "*", Subscribe: []string{"inbox.{uid}.*"}},
	})
	r := walletRig(t, Options{Subscribe: []string{"public.*", "own.{uid}"}, Publish: p.publish}, w)
	ann := r.lines("/lp?token=ann")
	ann.want("thello ann  []")
	ann.ask("sub 1 public.a\nsub 2 team.x\nsub 3 inbox.ann\nsub 4 own.ann", "tdone 1", "tdone 2", "tdone 3", "tdone 4")
	ann.ask("sub 5 inbox.bob\nsub 6 own.bob\nsub 7 team\nsub 8 x", "terror 5 forbidden", "terror 6 forbidden", "terror 7 forbidden", "terror 8 forbidden")
	ann.ask("pub 9 hi\nusers 10 hi\ntoall 11 hi", "terror 10 forbidden", "terror 11 forbidden", "tdone 9")
	if n := r.Stats().UnfitUIDs; n != 0 {
		t.Errorf("%d users cannot stand for {uid}", n)
	}
	dots := r.lines("/lp?token=dots")
	dots.want("thello d.o  []")
	dots.ask("sub 1 inbox.d.o\nsub 2 own.d\nsub 3 inbox.d", "terror 1 forbidden", "terror 2 forbidden", "terror 3 forbidden")
	star := r.lines("/lp?token=star")
	star.want("thello *  []")
	star.ask("sub 1 inbox.ann.x", "terror 1 forbidden")
	if n := r.Stats().UnfitUIDs; n != 4 {
		t.Errorf("%d times a user could not stand for {uid}, want 4", n)
	}
	root := r.lines("/lp?token=root")
	root.want("thello root  []")
	root.ask("users 1 hi", "tdone 1")
	root.ask("toall 2 hi", "tdone 2")
	nobody := r.lines("/lp")
	nobody.want("thello   []")
	nobody.ask("sub 1 public.a\nsub 2 team.x\npub 3 x\nsub 4 own.x", "tdone 1", "terror 2 forbidden", "terror 3 forbidden", "terror 4 forbidden")
	if n := p.count(); n != 3 {
		t.Errorf("%d messages published", n)
	}
}

// Meta data and limits of a grant, and what hooks are told.
func TestClientOfASession(t *testing.T) {
	w := newWallet(map[string]Grant{
		"ann": {UID: "ann", Meta: []byte(`{"a":1}`), Limits: SessionLimits{Topics: 2, PingInterval: 7 * time.Second, IdleRead: -1}},
	})
	w.grants["big"] = Grant{UID: "ann", Meta: fmt.Appendf(nil, `{"a":%q}`, slices.Repeat([]byte("x"), MaxMeta-8))}
	r := walletRig(t, Options{Subscribe: []string{"*"}, PingInterval: time.Minute, IdleRead: time.Hour}, w)
	c := r.lines("/lp?token=ann")
	c.want("thello ann  []")
	c.ask("sub 1 a\nsub 2 b\nsub 3 c", "tdone 1", "tdone 2", "terror 3 too_many_topics")
	c.ask("auth 4 wrong", "terror 4 forbidden")
	big := r.lines("/lp?token=big")
	big.want("thello ann  []")
	big.ask("auth 1 wrong", "terror 1 forbidden")
	got := w.told(0)
	if got.UID != "ann" || string(got.Meta) != `{"a":1}` || got.Addr.String() != c.LocalAddr().String() || got.Encoding != "lines" || message.CheckSID(got.SID) != nil {
		t.Errorf("%+v", got)
	}
	if got := string(w.told(1).Meta); len(w.grants["big"].Meta) != MaxMeta || got != string(w.grants["big"].Meta) {
		t.Errorf("meta of %d bytes: %q", len(w.grants["big"].Meta), got)
	}
	ws := r.mustWire("/ws?token=ann", "belfry.v1")
	ws.expect(t, `"ping":7,`)
}
