package session

import (
	"fmt"
	"math/bits"
	"sync/atomic"
	"testing"

	"belfry/message"
	"belfry/wire"
)

// sessions returns how many sessions are counted, and how many counts are below
// zero.
func (uv *userVariants) sessions() (n, negative int) {
	for i := range uv.counts {
		c := int(uv.counts[i].Load())
		n += c
		if c < 0 {
			negative++
		}
	}
	return n, negative
}

// countedLines is lines that counts its messages.
type countedLines struct {
	lines
	messages *atomic.Int64
}

func (e countedLines) Message(w *wire.Writer, m *message.Message) {
	e.messages.Add(1)
	e.lines.Message(w, m)
}

// strangers returns n users, each in a group of its own.
func (r *rig) strangers(n int) (uids []string) {
	seen := map[*atomic.Int32]bool{}
	for i := 0; len(uids) < n; i++ {
		uid := fmt.Sprint("user-", i)
		_, hash := r.homeOf(uid)
		if group := r.perUser.of(hash, 0); !seen[group] {
			seen[group] = true
			uids = append(uids, uid)
		}
	}
	return uids
}

// A message to users is encoded for the variants of their sessions, whatever
// clients without a user and other users speak.
func TestUserMessageVariants(t *testing.T) {
	var encoded [3]atomic.Int64
	e := new(byPath)
	for i, path := range []string{"/a", "/b", "/c"} {
		e.add(path, prefixed{name: "prefixed"}, countedLines{lines{path}, &encoded[i]})
	}
	r := newRig(t, Options{Endpoints: []wire.Endpoint{e}})
	uid := r.strangers(4)
	open := func(path, uid string) *lpConn {
		if path += "?topic=t"; uid != "" {
			path += "&uid=" + uid
		}
		c, _ := r.lp(path)
		c.want("thello " + uid + "  [t]")
		return c
	}
	a := open("/a", uid[0])
	open("/b", uid[1])
	open("/c", uid[2])
	open("/a", uid[2])
	anonymous := open("/b", "")
	open("/c", "")
	want := func(what string, want ...int64) {
		t.Helper()
		for i := range encoded {
			if got := encoded[i].Swap(0); got != want[i] {
				t.Errorf("%s: encoded %d times for variant %d, want %d", what, got, i, want[i])
			}
		}
	}
	for _, of := range []struct {
		to   message.Target
		want []int64
	}{
		{message.ToUsers(uid[0]), []int64{1, 0, 0}},
		{message.ToUsers(uid[1]), []int64{0, 1, 0}},
		{message.ToUsers(uid[2]), []int64{1, 0, 1}},
		{message.ToUsers(uid[0], uid[2], uid[0]), []int64{1, 0, 1}},
		{message.ToUsers(uid[3]), []int64{0, 0, 0}},
		{message.ToUsers(uid[3], uid[1]), []int64{0, 1, 0}},
		{message.ToTopics("t"), []int64{1, 1, 1}},
		{message.ToAll(), []int64{1, 1, 1}},
	} {
		if _, err := r.Prepare(&message.Message{Target: of.to}); err != nil {
			t.Fatal(err)
		}
		want(fmt.Sprint(of.to), of.want...)
	}

	// A session that comes after Prepare gets the message all the same.
	d, err := r.Prepare(&message.Message{Target: message.ToUsers(uid[0]), Payload: []byte("hi")})
	if err != nil {
		t.Fatal(err)
	}
	want("before the session came", 1, 0, 0)
	late := open("/b", uid[0])
	if err := d.Deliver(); err != nil {
		t.Fatal(err)
	}
	a.want("t/a: hi")
	late.want("t/b: hi")
	want("after the session came", 0, 1, 0)
	r.deliver(message.ToTopics("t"), "the end")
	anonymous.want("t/b: the end") // and no message to a user
}

// wantCounted waits until the sessions of users that are counted are these, and
// no count is below zero.
func (r *rig) wantCounted(what string, want int) {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("%s: %d sessions counted", what, want), func() bool {
		n, negative := r.perUser.sessions()
		return n == want && negative == 0
	})
}

// A session of a user is counted once, on whichever shard the request came, and
// until it ends.
func TestUserVariantsCounted(t *testing.T) {
	bus := newGate(false)
	r, _ := loginRig(t, Options{Interest: bus, MaxPerUser: 2, MaxWaiting: 1})
	r.dial("/ws")
	r.wantCounted("without a user", 0)
	var clients []*client
	for _, uid := range r.uids() {
		for range 8 { // the kernel chooses the shard of the socket
			clients = append(clients, r.dial("/ws?uid="+uid, "belfry.v1"))
		}
	}
	r.wantCounted("two of each user, after six were replaced", 2*len(r.shards))
	for _, c := range clients {
		c.Close()
	}
	r.wantCounted("all have gone", 0)

	c, _ := r.lp("/lp", appendPrefixed(nil, prefixedPing, "early"))
	c.want("!early")
	r.wantCounted("before the login", 0)
	c.say(prefixedText, "login L u")
	c.want("thello u L []")
	_, hash := r.homeOf("u")
	if n := r.perUser.of(hash, uint8(len(r.protocols.variants)-1)).Load(); n != 1 {
		t.Errorf("%d sessions are counted for the variant with a login", n)
	}
	c.Close()
	r.wantCounted("after a login", 0)

	bus.set(true)
	waits, _ := r.connect()
	waits.Write(request("/ws?uid=v", ""))
	eventually(t, "waits for the bus", func() bool { return bus.count() == 1 })
	if status := r.refusal("/ws?uid=v", nil); status != 503 {
		t.Errorf("a second upgrade that waits: %d", status)
	}
	r.wantCounted("one waits, one was refused after it was entered", 1)
	waits.Close()
	r.wantCounted("went while it waited", 0)
}

// The counts of a server take at most 256 KiB, and there are many groups also of
// many variants.
func TestUserVariantsSize(t *testing.T) {
	for _, c := range []struct{ variants, groups int }{{1, 4096}, {6, 4096}, {16, 4096}, {17, 2048}, {255, 256}, {maxVariants, 256}} {
		uv := newUserVariants(c.variants)
		if int(uv.groups) != c.groups || bits.OnesCount32(uv.groups) != 1 || len(uv.counts) != c.groups*c.variants || 4*len(uv.counts) > 256<<10 {
			t.Errorf("%d variants: %d groups with %d counts, want %d", c.variants, uv.groups, len(uv.counts), c.groups)
		}
		uv.of(0xffffffff, uint8(c.variants-1)).Add(1)
		if uv.counts[len(uv.counts)-1].Load() != 1 {
			t.Errorf("%d variants: the last count is not that of the last group", c.variants)
		}
	}
}
