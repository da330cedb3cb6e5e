package session

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"belfry/message"
)

// newClassed grants the credentials "ann-CLASS" to ann, with that device class.
func newClassed() *wallet {
	w := newWallet(map[string]Grant{"nobody": {}})
	w.set("bob", Grant{UID: "bob"})
	for _, class := range []string{"", "phone", "web", "tv"} {
		w.set("ann-"+class, Grant{UID: "ann", DeviceClass: class})
	}
	return w
}

// opens opens sessions of ann, one for each class.
func (r *rig) opens(classes ...string) (all []*lpConn) {
	r.t.Helper()
	for _, class := range classes {
		c := r.lines("/lp?token=ann-" + class)
		c.text()
		all = append(all, c)
	}
	return all
}

// shown returns the classes of the open sessions of ann, sorted.
func (r *rig) shown() string {
	r.t.Helper()
	list, _, _, err := r.UserSessions(r.t.Context(), "ann", message.SID{}, 100)
	if err != nil {
		r.t.Fatal(err)
	}
	var all []string
	for _, i := range list {
		all = append(all, i.DeviceClass)
	}
	slices.Sort(all)
	return strings.Join(all, ",")
}

// The oldest of a device class gives way to the newest of the class, and only then the
// oldest of all.
func TestDeviceClassEvicts(t *testing.T) {
	r := walletRig(t, Options{MaxPerUser: 4, MaxPerClass: map[string]int{"phone": 1, "web": 2}}, newClassed())
	c := r.opens("tv", "phone", "web", "web")
	r.opens("phone")
	c[1].want("tbye user_sessions", "x4006 too many sessions of this user false 0s")
	if got := r.shown(); got != "phone,tv,web,web" {
		t.Errorf("%s", got)
	}
	r.opens("web")
	c[2].want("tbye user_sessions", "x4006 too many sessions of this user false 0s")
	r.opens("")
	c[0].want("tbye user_sessions", "x4006 too many sessions of this user false 0s")
	if got := r.shown(); got != ",phone,web,web" {
		t.Errorf("%s", got)
	}
	if st := r.Stats(); st.Limits["session.max_per_user_class"] != 2 || st.Limits["session.max_per_user"] != 1 {
		t.Errorf("%v", st.Limits)
	}
}

// With RefuseNewest a further session of a class is refused; other classes have room.
func TestDeviceClassRefuses(t *testing.T) {
	r := walletRig(t, Options{MaxPerUser: 3, MaxPerClass: map[string]int{"phone": 1}, RefuseNewest: true}, newClassed())
	r.opens("phone", "web")
	for _, class := range []string{"phone", "phone"} {
		if status := r.refusal("/ws?token=ann-"+class, nil); status != 429 {
			t.Errorf("%d", status)
		}
	}
	r.opens("")
	if status := r.refusal("/ws?token=ann-tv", nil); status != 429 {
		t.Errorf("%d", status)
	}
	if st := r.Stats(); st.Limits["session.max_per_user_class"] != 2 || st.Limits["session.max_per_user"] != 1 || st.Sessions != 3 {
		t.Errorf("%d sessions, %v", st.Sessions, st.Limits)
	}
}

// A renewal changes the grant and not the device class.
func TestDeviceClassOfRenewal(t *testing.T) {
	w := newClassed()
	w.set("again", Grant{UID: "ann", DeviceClass: "web", Meta: []byte(`{"a":1}`)})
	w.set("plain", Grant{UID: "ann"})
	r := walletRig(t, Options{MaxPerClass: map[string]int{"phone": 1}}, w)
	c := r.opens("phone")[0]
	for _, token := range []string{"again", "plain"} {
		c.ask("auth 1 "+token, "tdone 1")
		if got := r.shown(); got != "phone" {
			t.Errorf("the session is of class %q", got)
		}
	}
}

// Names of device classes are checked, and a shard knows a bounded number of them: those
// with a limit always.
func TestDeviceClassNames(t *testing.T) {
	for name, valid := range map[string]bool{"": true, "phone": true, "A_b-3.x": true, strings.Repeat("x", 32): true, strings.Repeat("x", 33): false, "a b": false, "ü": false, "a\n": false} {
		if err := checkGrant(&Grant{DeviceClass: name}); (err == nil) != valid {
			t.Errorf("%q: %v", name, err)
		}
	}
	w := newClassed()
	for i := range maxDeviceClasses {
		w.set(fmt.Sprint("ann-", i), Grant{UID: "ann", DeviceClass: fmt.Sprint("c", i)})
	}
	r := walletRig(t, Options{MaxPerClass: map[string]int{"phone": 1}, Poller: onePoller()}, w)
	for i := range maxDeviceClasses {
		c := r.lines(fmt.Sprint("/lp?token=ann-", i))
		c.text()
		c.Close()
	}
	if n := r.Stats().Limits["device_classes"]; n != 1 {
		t.Errorf("%d sessions without a place for their class", n)
	}
	eventually(t, "closed", func() bool { return r.Stats().Sessions == 0 })
	r.opens("phone", "phone")
	if got := r.shown(); got != "phone" {
		t.Errorf("%s", got)
	}
	for _, most := range []map[string]int{{"": 1}, {"a b": 1}, {"a": 0}, {"a": 1<<20 + 1}} {
		if _, err := New(Options{MaxPerClass: most}); err == nil {
			t.Errorf("MaxPerClass %v is taken", most)
		}
	}
}

// Changes name the device class of a session that opens.
func TestChangesOfClasses(t *testing.T) {
	var mu sync.Mutex
	var all []string
	changed := func(p Changes) {
		mu.Lock()
		defer mu.Unlock()
		p.Each(func(opened bool, uid []byte, key message.SessionKey, class []byte, _ Route, _ uint32) {
			all = append(all, fmt.Sprint(opened, " ", string(uid), " ", string(class), " ", key == message.SessionKey{}))
		})
	}
	r := walletRig(t, Options{Changed: changed, Poller: onePoller()}, newClassed())
	for _, c := range r.opens("phone", "", "web") {
		c.Close()
	}
	want := []string{"false ann  false", "false ann  false", "false ann  false", "true ann  false", "true ann phone false", "true ann web false"}
	var got []string
	eventually(t, "told", func() bool {
		mu.Lock()
		defer mu.Unlock()
		got = slices.Sorted(slices.Values(all))
		return len(got) >= len(want)
	})
	if !slices.Equal(got, want) {
		t.Errorf("told %q", got)
	}
}

// placesAsked are Places of which the test gives the answers.
type placesAsked struct {
	alone atomic.Bool
	asked chan placeAsked
}

type placeAsked struct {
	uid, class string
	later      func(Cap)
}

func (p *placesAsked) Needed() bool { return !p.alone.Load() }

func (p *placesAsked) Reserve(uid, class string, later func(Cap)) {
	p.asked <- placeAsked{uid, class, later}
}

func (p *placesAsked) answer(t *testing.T, want string, which Cap) {
	t.Helper()
	a := <-p.asked
	if got := a.uid + " " + a.class; got != want {
		t.Errorf("asked for %q; want %q", got, want)
	}
	a.later(which)
}

// An upgrade waits for its place, and gets the answer that it would get if the limit were
// reached on this node.
func TestPlaces(t *testing.T) {
	p := &placesAsked{asked: make(chan placeAsked, 100)}
	r := walletRig(t, Options{MaxPerUser: 2, MaxPerClass: map[string]int{"phone": 1}, RefuseNewest: true, Places: p, Poller: pollers(3)}, newClassed())
	for i, tc := range []struct {
		class  string
		which  Cap
		status int
		limit  string
	}{{"phone", NoCap, 101, ""}, {"web", CapUser, 429, "session.max_per_user"}, {"tv", CapClass, 429, "session.max_per_user_class"}, {"", NoCap, 101, ""}} {
		before := r.Stats()
		status := make(chan int)
		go func() {
			c, err := r.connect()
			if err != nil {
				t.Error(err)
			}
			c.Write(request("/ws?token=ann-"+tc.class, ""))
			code, err := c.answer()
			if err != nil {
				t.Error(err)
			}
			status <- code
		}()
		p.answer(t, "ann "+tc.class, tc.which)
		if got := <-status; got != tc.status {
			t.Errorf("%d: status %d", i, got)
		}
		if after := r.Stats(); tc.limit != "" && after.Limits[tc.limit] != before.Limits[tc.limit]+1 {
			t.Errorf("%d: %v", i, after.Limits)
		}
	}
	// The limit of this node needs no answer, and neither does a session of nobody.
	if status := r.refusal("/ws?token=ann-web", nil); status != 429 || len(p.asked) != 0 {
		t.Errorf("status %d, %d asked", status, len(p.asked))
	}
	r.lines("/lp?token=nobody").text()
	p.alone.Store(true)
	r.lines("/lp?token=bob").text() // nobody to ask
	if n := r.Stats().Waiting; n != 0 {
		t.Errorf("%d wait", n)
	}
}

// What happens to a client that waits for its place: it ends, or the place comes too late.
func TestPlaceOfNobody(t *testing.T) {
	p := &placesAsked{asked: make(chan placeAsked, 100)}
	r := walletRig(t, Options{MaxPerUser: 2, RefuseNewest: true, Places: p, UpgradeTime: 2 * time.Second}, newClassed())
	c, err := r.connect()
	if err != nil {
		t.Fatal(err)
	}
	c.Write(request("/ws?token=ann-", ""))
	a := <-p.asked
	c.Close()
	eventually(t, "ended", func() bool { return r.Stats().Waiting == 0 })
	a.later(NoCap)
	if c, err = r.connect(); err != nil {
		t.Fatal(err)
	}
	c.Write(request("/ws?token=ann-", ""))
	a = <-p.asked
	r.ticks(3)
	if status, err := c.answer(); status != 408 || err != nil {
		t.Errorf("%d %v", status, err)
	}
	a.later(NoCap)
	c.Close()
	r.nothingLeft()
}

// A session of nobody that logs in asks for a place too; refused it goes on as it was.
func TestPlaceOfLogin(t *testing.T) {
	p := &placesAsked{asked: make(chan placeAsked, 100)}
	r := walletRig(t, Options{MaxPerUser: 2, RefuseNewest: true, Places: p}, newClassed())
	c := r.lines("/lp?token=nobody")
	c.text()
	c.say(prefixedText, "auth 1 ann-web")
	p.answer(t, "ann web", CapUser)
	c.want("terror 1 forbidden")
	c.ask("ping 1", "tdone 1")
	c.say(prefixedText, "auth 1 ann-web")
	p.answer(t, "ann web", NoCap)
	eventually(t, "logged in", func() bool { return r.shown() == "web" })
	if len(p.asked) != 0 {
		t.Errorf("asked %d times more", len(p.asked))
	}
}

// Evict closes a session of this node as if the limit were reached here, and does nothing
// for one that has ended.
func TestEvict(t *testing.T) {
	keys := make(chan message.SessionKey, 10)
	r := walletRig(t, Options{Node: 7, Changed: func(p Changes) {
		p.Each(func(opened bool, _ []byte, key message.SessionKey, _ []byte, _ Route, _ uint32) {
			if opened {
				keys <- key
			}
		})
	}}, newClassed())
	for n, which := range []Cap{CapUser, CapClass} {
		c := r.opens("phone")[0]
		key := <-keys
		for range 3 {
			r.Evict(key, which)
		}
		c.want("tbye user_sessions", "x4006 too many sessions of this user false 0s")
		eventually(t, "closed", func() bool { return r.Stats().Sessions == 0 })
		r.Evict(key, which)
		r.Evict(message.SessionKey{}, which)
		st := r.Stats()
		if st.Limits["session.max_per_user"] != 1 || st.Limits["session.max_per_user_class"] != uint64(n) {
			t.Errorf("%v", st.Limits)
		}
	}
}
