package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"belfry/message"
)

// read is the context of reads that are answered.
func read(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func (r *rig) hello(path string) (c *client, sid string) {
	r.t.Helper()
	c = r.dial(path, "belfry.v1")
	return c, c.object()["session"].(string)
}

// A session's Info has what the client, its grant and its backlog say.
func TestInfo(t *testing.T) {
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	r := newRig(t, Options{Authenticator: generous{}, KeepAgent: true, clock: func() time.Time { return at }})
	c, sid := r.hello("/ws?uid=ann&topic=own")
	before := time.Now().Add(-time.Second)
	for range 5 {
		r.tick(1)
	}
	c.say(`{"type":"ping","ref":"1"}`)
	c.object()
	for range 3 {
		r.tick(1)
	}
	got, ok := r.Lookup(sid)
	if !ok {
		t.Fatal("no session")
	}
	if got.ID != sid || got.UID != "ann" || got.Agent != "Go-http-client/1.1" && got.Agent != "" || got.Transport != "websocket" || got.Encoding != "belfry.v1" ||
		got.Remote.String() != c.LocalAddr().String() || got.Subscriptions != 3 || fmt.Sprint(slices.Sorted(slices.Values(got.Topics))) != "[news own weather]" || !strings.Contains(string(got.Meta), "someone") {
		t.Errorf("%+v", got)
	}
	if got.Opened.Before(before.Truncate(time.Second)) || got.Opened.After(time.Now()) {
		t.Errorf("opened %v", got.Opened)
	}
	if want := at.Add(-3 * time.Second); !got.Active.Equal(want) {
		t.Errorf("active %v, want %v", got.Active, want)
	}
	c.Close()
	eventually(t, "the session has ended", func() bool { _, ok := r.Lookup(sid); return !ok })
	for _, wrong := range []string{"", "nobody", strings.Repeat("A", 30)} {
		if _, ok := r.Lookup(wrong); ok {
			t.Errorf("%q is a session", wrong)
		}
	}
}

// What waits for a client that does not read is in its Info.
func TestInfoBacklog(t *testing.T) {
	r := newRig(t, Options{})
	r.opt.Poller.Backlog.Bytes = 64 << 20
	_, sid := r.hello("/ws?topic=a")
	var got Info
	eventually(t, "a backlog", func() bool {
		r.deliver(message.ToTopics("a"), strings.Repeat("x", 32<<10))
		got, _ = r.Lookup(sid)
		return got.BacklogFrames > 2
	})
	if got.BacklogBytes < 32<<10 {
		t.Errorf("%d frames have %d bytes", got.BacklogFrames, got.BacklogBytes)
	}
}

// The pages of a user's sessions have each session once, in one order, also when
// sessions come and go between them.
func TestUserSessions(t *testing.T) {
	r := newRig(t, Options{Poller: onePoller()})
	var clients []*client
	var want []string
	for range 25 {
		c, sid := r.hello("/ws?uid=ann")
		clients, want = append(clients, c), append(want, sid)
	}
	r.hello("/ws?uid=bob")
	slices.SortFunc(want, bySID(t))
	var got []string
	after := message.SID{}
	for page := 0; ; page++ {
		list, count, more, err := r.UserSessions(read(t), "ann", after, 7)
		if err != nil || count < 20 || len(list) > 7 || page > 10 {
			t.Fatalf("page %d: %d of %d, %v", page, len(list), count, err)
		}
		for _, s := range list {
			got = append(got, s.ID)
		}
		if !more {
			break
		}
		after, _ = message.DecodeSID(got[len(got)-1])
		if page == 0 { // the session of the cursor ends, and so does one before it
			gone := []string{got[0], got[6]}
			for _, sid := range gone {
				r.Close(sid, 1000, "")
				eventually(t, "closed", func() bool { _, ok := r.Lookup(sid); return !ok })
			}
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %d sessions\n%q\nwant %d\n%q", len(got), got, len(want), want)
	}
	if list, count, more, err := r.UserSessions(read(t), "nobody", message.SID{}, 7); len(list) > 0 || count > 0 || more || err != nil {
		t.Error(list, count, more, err)
	}
	_ = clients
}

func bySID(t *testing.T) func(a, b string) int {
	return func(a, b string) int {
		x, err := message.DecodeSID(a)
		y, err2 := message.DecodeSID(b)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		return x.Compare(y)
	}
}

// Users are counted on all shards. One whose last session has ended was seen last, for
// a while and not if the upgrade was refused.
func TestUsersPresence(t *testing.T) {
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	now := at
	r := newRig(t, Options{LastSeen: time.Hour, Poller: onePoller(), clock: func() time.Time { return now }})
	var uids []string
	for i := range 12 {
		uids = append(uids, fmt.Sprint("u", i))
		for range i % 3 {
			r.hello("/ws?uid=" + uids[i])
		}
	}
	c, sid := r.hello("/ws?uid=gone")
	two, _ := r.hello("/ws?uid=gone")
	two.Close()
	eventually(t, "one left", func() bool { _, n, _, _ := r.UserSessions(read(t), "gone", message.SID{}, 1); return n == 1 })
	uids = append(uids, "gone")
	got, err := r.UsersPresence(read(t), uids)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range got {
		if want := i % 3; i < 12 && p.Sessions != want || i == 12 && p.Sessions != 1 || !p.LastSeen.IsZero() {
			t.Errorf("%s: %+v", uids[i], p)
		}
	}
	c.Close()
	eventually(t, "gone", func() bool { _, ok := r.Lookup(sid); return !ok })
	seen := func() time.Time {
		p, err := r.UsersPresence(read(t), []string{"gone"})
		if err != nil || p[0].Sessions != 0 {
			t.Error(p, err)
		}
		return p[0].LastSeen
	}
	if got := seen(); !got.Equal(at) {
		t.Errorf("seen %v, want %v", got, at)
	}
	r.on(0, func(*shard) { now = at.Add(time.Hour) })
	if got := seen(); !got.Equal(at) {
		t.Errorf("after an hour: %v", got)
	}
	r.on(0, func(*shard) { now = at.Add(time.Hour + time.Second) })
	if got := seen(); !got.IsZero() {
		t.Errorf("after more than an hour: %v", got)
	}
}

// The table of users that were seen last is bounded, and counts whom it has forgotten.
func TestLastSeenIsBounded(t *testing.T) {
	now := time.Unix(1000, 0)
	r := newRig(t, Options{LastSeen: time.Hour, LastSeenUsers: 800, Poller: onePoller(), clock: func() time.Time { return now }})
	const n = 5000
	known := 0
	r.on(0, func(h *shard) {
		for i := range n {
			now = time.Unix(int64(1000+i/8), 0)
			h.users.seen.left(fmt.Append(nil, "u", i))
		}
		for i := range n {
			switch at := h.users.seen.at(fmt.Sprint("u", i)); {
			case at.IsZero():
			case at.Unix() != int64(1000+i/8):
				t.Errorf("u%d was seen at %v", i, at)
			default:
				known++
			}
		}
		h.users.seen.left([]byte("u4999")) // known already
		if at := h.users.seen.at("u4999"); at.IsZero() {
			t.Error("the last user is not known")
		}
	})
	if known != 800 {
		t.Errorf("%d users are known; want 800, as many as there is room for", known)
	}
	if forgotten := r.Stats().Limits["session.last_seen_users"]; forgotten != n-800 {
		t.Errorf("%d users were forgotten; want %d", forgotten, n-800)
	}
	if bytes := r.opt.Poller.Memory.Bytes()["last_seen"]; bytes < 800*12 || bytes > 800*12+4096*4 {
		t.Errorf("%d bytes for 800 users", bytes)
	}
}

// A read waits for its shard no longer than its context lasts.
func TestReadsEnd(t *testing.T) {
	r := newRig(t, Options{Poller: onePoller()})
	_, sid := r.hello("/ws?uid=ann&topic=a")
	release := r.block(0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, f := range map[string]func() error{
		"session": func() error { _, _, err := r.Server.Lookup(ctx, sid); return err },
		"user":    func() error { _, _, _, err := r.UserSessions(ctx, "ann", message.SID{}, 1); return err },
		"users":   func() error { _, err := r.UsersPresence(ctx, []string{"ann"}); return err },
		"topic":   func() error { _, err := r.Subscribers(ctx, "a"); return err },
		"members": func() error { _, _, err := r.Members(ctx, "a", message.SID{}, 1); return err },
		"topics":  func() error { _, _, err := r.Topics(ctx, "", "", 1); return err },
		"join":    func() error { _, _, err := r.Join(ctx, Selection{UID: "ann"}, "b"); return err },
	} {
		if err := f(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	release()
	r.faults = true
	err := r.onEach(read(t), r.shards, func(*shard) func(*shard) bool { return func(*shard) bool { panic("a fault") } })
	if !errors.Is(err, errFault) {
		t.Errorf("a walk that panics: %v", err)
	}
	if n, err := r.Subscribers(read(t), "a"); n != 1 || err != nil {
		t.Error(n, err)
	}
}

// A long walk does not keep a short read waiting.
func TestReadsTakeTurns(t *testing.T) {
	r := newRig(t, Options{Poller: onePoller()})
	_, sid := r.hello("/ws")
	ctx, stop := context.WithCancel(t.Context())
	walked := make(chan error, 1)
	begun := make(chan struct{})
	steps := 0
	go func() {
		walked <- r.onEach(read(t), r.shards, func(*shard) func(*shard) bool {
			return func(*shard) bool {
				if steps++; steps == 1 {
					close(begun)
				}
				time.Sleep(50 * time.Microsecond) // work
				return ctx.Err() == nil
			}
		})
	}()
	<-begun
	for range 20 {
		if _, ok := r.Lookup(sid); !ok {
			t.Error("no session")
		}
	}
	stop()
	if err := <-walked; err != nil {
		t.Error(err)
	}
}

// A client whose upgrade was never answered was not seen, and is not online meanwhile.
func TestUpgradesAreNotSeen(t *testing.T) {
	g := newGate(true)
	r := newRig(t, Options{Interest: g, LastSeen: time.Hour})
	w, _ := r.connect()
	w.Write(request("/ws?topic=a&uid=u", ""))
	eventually(t, "joined", func() bool { return g.count() == 2 })
	nobody := func(when string) {
		p, err := r.UsersPresence(read(t), []string{"u"})
		if err != nil || p[0] != (UserPresence{}) {
			t.Errorf("%s: %+v %v", when, p, err)
		}
	}
	nobody("while it waits")
	if list, count, _, err := r.UserSessions(read(t), "u", message.SID{}, 5); len(list) > 0 || count > 0 || err != nil {
		t.Error(list, count, err)
	}
	if list, _, err := r.Members(read(t), "a", message.SID{}, 5); len(list) > 0 || err != nil {
		t.Error(list, err)
	}
	if n, err := r.End(read(t), Selection{UID: "u"}, 1000, ""); n > 0 || err != nil {
		t.Error(n, err)
	}
	w.Close()
	eventually(t, "gone", func() bool { return r.loop.Stats().Connections == 0 })
	nobody("after its end")
}
