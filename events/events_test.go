package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"belfry/session"
)

// bus notes what is published.
type bus struct {
	mu   sync.Mutex
	all  []string
	took time.Duration
	err  error
}

func (b *bus) publish(subject string, p []byte) error {
	time.Sleep(b.took)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	b.all = append(b.all, subject+" "+string(p))
	return nil
}

func (b *bus) got() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all
}

func open(t *testing.T, b *bus, o Options) *Publisher {
	t.Helper()
	o.Node, o.NodeID, o.Publish, o.Bucket = "a", 0x2a, b.publish, func(uid string) uint16 { return uint16(len(uid)) }
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The messages are CloudEvents in JSON, with the data that the gateway sends.
func TestMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bus{}
		p := open(t, b, Options{Kinds: []Kind{Opened, Closed, Subscribed, Unsubscribed, Online, Offline}})
		p.prefix = "id-"
		o := p.Observer()
		ann := &session.Client{SID: "S", UID: "ann", Addr: netip.MustParseAddrPort("192.0.2.1:1"), Encoding: "plain", Meta: []byte(`{"a":1}`)}
		o.Opened(ann)
		o.Subscribed(ann, "news")
		o.Unsubscribed(ann, "news")
		o.Closed(ann, session.ReasonSlow, 2*time.Second)
		o.Opened(&session.Client{SID: "T", Agent: "<a>\"\n"})
		p.User("a\"b", true)
		p.User("ann", false)
		p.Users(7, []string{"ann", "\x01"})
		p.Users(8, nil)
		p.NodeGone("b", "X", "eve", time.Now().Add(-time.Minute))
		p.Start()
		p.Close()
		const tail = `"node":"a","datacontenttype":"application/json","data":`
		head := func(id, kind string) string {
			return `{"specversion":"1.0","id":"id-` + id + `","source":"/nodes/a","type":"belfry.` + kind + `","time":"2000-01-01T00:00:00Z",`
		}
		const sid, data = `"sid":"S","uid":"ann",`, `{"sid":"S","uid":"ann",`
		const rest = `"address":"192.0.2.1:1","encoding":"plain","meta":{"a":1}`
		for i, want := range []string{
			"belfry.events.opened.3 " + head("1", "session.opened") + sid + tail + data + rest + "}}",
			"belfry.events.subscribed.3 " + head("2", "session.subscribed") + sid + `"topic":"news",` + tail + data + `"topic":"news",` + rest + "}}",
			"belfry.events.unsubscribed.3 " + head("3", "session.unsubscribed") + sid + `"topic":"news",` + tail + data + `"topic":"news",` + rest + "}}",
			"belfry.events.closed.3 " + head("4", "session.closed") + sid + tail + data + rest + `,"reason":"slow_consumer","code":4004,"duration":2.000}}`,
			"belfry.events.opened.none " + head("5", "session.opened") + `"sid":"T",` + tail + `{"sid":"T","agent":"<a>\"\n"}}`,
			"belfry.events.online.3 " + head("6", "user.online") + `"uid":"a\"b",` + tail + `{"uid":"a\"b","bucket":3}}`,
			"belfry.events.offline.3 " + head("7", "user.offline") + `"uid":"ann",` + tail + `{"uid":"ann","bucket":3}}`,
			"belfry.events.users.7 " + head("8", "users.online") + tail + `{"bucket":7,"part":1,"parts":1,"users":["ann","\u0001"]}}`,
			"belfry.events.users.8 " + head("9", "users.online") + tail + `{"bucket":8,"part":1,"parts":1,"users":[]}}`,
			`belfry.events.closed.3 {"specversion":"1.0","id":"gone-X","source":"/nodes/b","type":"belfry.session.closed","time":"2000-01-01T00:00:00Z",` +
				`"sid":"X","uid":"eve","node":"b","datacontenttype":"application/json","data":{"sid":"X","uid":"eve","reason":"node_gone","duration":60.000}}`,
		} {
			if got := b.got()[i]; got != want {
				t.Errorf("%d:\n%s\nwant\n%s", i, got, want)
			}
			if _, payload, _ := strings.Cut(b.got()[i], " "); !json.Valid([]byte(payload)) {
				t.Errorf("%d is not JSON", i)
			}
		}
		if st := p.Stats(); st.Published["opened"] != 2 || st.Published["users"] != 2 || st.Dropped != 0 || st.Bytes != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// A bucket with many users is listed in several messages, with every user once.
func TestLongLists(t *testing.T) {
	b := &bus{}
	p := open(t, b, Options{Kinds: []Kind{Online}})
	var uids []string
	for i := range 3000 {
		uids = append(uids, fmt.Sprintf("%030d", i))
	}
	p.Users(1, uids)
	p.Start()
	p.Close()
	var got []string
	for i, m := range b.got() {
		_, payload, _ := strings.Cut(m, " ")
		var e struct {
			ID   string
			Data struct {
				Part, Parts int
				Users       []string
			}
		}
		if err := json.Unmarshal([]byte(payload), &e); err != nil || e.Data.Part != i+1 || e.Data.Parts != len(b.got()) || len(payload) > 40<<10 {
			t.Errorf("%v, part %d of %d with %d bytes", err, e.Data.Part, e.Data.Parts, len(payload))
		}
		got = append(got, e.Data.Users...)
	}
	if strings.Join(got, " ") != strings.Join(uids, " ") || len(b.got()) < 3 {
		t.Errorf("%d users in %d messages, want %d", len(got), len(b.got()), len(uids))
	}
}

// Only what is wanted is told, and sessions are not looked at for the rest.
func TestWanted(t *testing.T) {
	b := &bus{}
	p := open(t, b, Options{Kinds: []Kind{Offline, Subscribed}})
	if o := p.Observer(); o.Opened != nil || o.Closed != nil || o.Subscribed == nil || o.Unsubscribed != nil {
		t.Errorf("%+v", o)
	}
	p.User("u", true)
	p.Users(1, []string{"u"})
	p.NodeGone("b", "X", "eve", time.Now())
	p.User("u", false)
	p.Start()
	p.Close()
	if len(b.got()) != 1 || !strings.HasPrefix(b.got()[0], "belfry.events.offline.") {
		t.Errorf("%q", b.got())
	}
}

// Events for which there is no room are dropped and counted; nobody waits for them, but
// NodeGone, for which half of the room is enough.
func TestNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bus{took: time.Millisecond}
		p := open(t, b, Options{Kinds: []Kind{Closed, Online}, MaxBytes: 64 << 10})
		const users, gone = 1000, 500
		for i := range users {
			p.User(fmt.Sprint("u", i), true)
		}
		st := p.Stats()
		if st.Dropped < users/2 || st.Dropped > users*9/10 || st.Bytes > 64<<10 {
			t.Errorf("%+v", st)
		}
		p.Start()
		for i := range gone {
			p.NodeGone("b", fmt.Sprint("s", i), "eve", time.Now())
			if n := p.Stats().Bytes; n > 32<<10 {
				t.Fatalf("%d bytes wait", n)
			}
		}
		p.Close()
		if after := p.Stats(); after.Published["closed"] != gone || after.Published["online"]+st.Dropped != users || after.Dropped != st.Dropped {
			t.Errorf("%+v", after)
		}
		p.NodeGone("b", "s", "eve", time.Now()) // does not wait
		p.User("u", true)
		if after := p.Stats(); after.Dropped != st.Dropped+2 {
			t.Errorf("%+v", after)
		}
	})
}

// Close ends a NodeGone that waits.
func TestCloseEndsWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := open(t, &bus{}, Options{Kinds: []Kind{Closed}, MaxBytes: 64 << 10})
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 100 {
				p.NodeGone("b", "s", "eve", time.Now())
			}
		}()
		synctest.Wait()
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		p.Start()
		p.Close()
		<-done
		if st := p.Stats(); st.Published["closed"] < 50 || st.Published["closed"]+st.Dropped != 100 {
			t.Errorf("%+v", st)
		}
	})
}

// What the bus does not take is counted.
func TestFailed(t *testing.T) {
	p := open(t, &bus{err: errors.New("away")}, Options{Kinds: []Kind{Online}})
	p.User("u", true)
	p.Start()
	p.Close()
	if st := p.Stats(); st.Failed != 1 || st.Published["online"] != 0 {
		t.Errorf("%+v", st)
	}
}

// Kinds have the names of the configuration, and options have ranges.
func TestOptions(t *testing.T) {
	for k := range Users {
		if got, err := ParseKind(k.String()); got != k || err != nil {
			t.Errorf("%v: %v, %v", k, got, err)
		}
	}
	for _, name := range []string{"", "users", "Opened"} {
		if _, err := ParseKind(name); err == nil || !strings.Contains(err.Error(), "offline") {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, o := range []Options{{MaxBytes: 1}, {MaxBytes: 5 << 30}, {Kinds: []Kind{Users}}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}
