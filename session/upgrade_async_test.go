package session

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"

	"belfry/message"
	"belfry/ws"
)

// lateAuth is an Authenticator whose answers the test gives later.
type lateAuth chan func(Grant, *ws.Refusal)

func (a lateAuth) Authenticate(_ *Attempt, later func(Grant, *ws.Refusal)) (Grant, *ws.Refusal, bool) {
	a <- later
	return Grant{}, nil, true
}

// pipelined is a request with frames behind it.
func pipelined() []byte {
	return slices.Concat(request("/ws", "belfry.v1"),
		masked(gobwas.OpPing, true, []byte("p")), masked(gobwas.OpText, true, []byte(`{"type":"ping","ref":7}`)))
}

// wantPipelined reads the answers to what pipelined sends.
func (w *rawConn) wantPipelined(t *testing.T, uid string) {
	t.Helper()
	if status, err := w.answer(); err != nil || status != 101 {
		t.Fatalf("%d %v", status, err)
	}
	for _, want := range []string{fmt.Sprintf(`"uid":%q`, uid), "p", `{"type":"ack","ref":7}`} {
		if _, p, err := w.frame(); err != nil || !strings.Contains(string(p), want) {
			t.Fatalf("got %q %v, want %q", p, err, want)
		}
	}
}

// uids returns a user of each shard.
func (r *rig) uids() []string {
	uids := make([]string, len(r.shards))
	for i := 0; slices.Contains(uids, ""); i++ {
		uid := fmt.Sprint("user-", i)
		home, _ := r.homeOf(uid)
		uids[home] = uid
	}
	return uids
}

// at returns the shard that the only socket of a rig is on.
func (r *rig) at() int {
	r.t.Helper()
	for i := range r.shards {
		var here bool
		r.on(i, func(h *shard) { _, here = h.ps.Next(0) })
		if here {
			return i
		}
	}
	r.t.Fatal("no socket on any shard")
	return 0
}

// The decision comes later, from another goroutine, for sockets of each shard
// and users of each shard; meanwhile frames lie behind the request.
func TestAuthLater(t *testing.T) {
	auth := make(lateAuth, 16)
	r := newRig(t, Options{Authenticator: auth})
	uids := r.uids()
	seen := map[[2]int]bool{}
	// The kernel chooses a socket's shard, the test a user's: one whose shard
	// no socket has gone to from there.
	for turn := 0; len(seen) < len(uids)*len(uids); turn++ {
		if turn == 1000 {
			t.Fatalf("the kernel gives every socket to the same shards: %v", seen)
		}
		w, _ := r.connect()
		w.Write(pipelined())
		later := <-auth
		eventually(t, "counted as waiting", func() bool { return r.waiting.Load() == 1 })
		from := r.at()
		home := from
		for to := range uids {
			if !seen[[2]int{from, to}] {
				home = to
			}
		}
		seen[[2]int{from, home}] = true
		uid, moved := uids[home], r.loop.Stats().MovedIn
		done := make(chan struct{})
		go func() {
			defer close(done)
			later(Grant{UID: uid, Topics: []string{"t"}}, nil)
			later(Grant{UID: "somebody else"}, nil) // once too often
		}()
		w.wantPipelined(t, uid)
		<-done
		r.deliver(message.ToUsers(uid), "hi")
		if _, p, err := w.frame(); err != nil || !strings.Contains(string(p), `"data":"hi"`) {
			t.Errorf("%q %v", p, err)
		}
		if got := r.loop.Stats().MovedIn - moved; (got == 1) != (from != home) {
			t.Errorf("a socket of shard %d, a user of shard %d: %d moves", from, home, got)
		}
		w.Close()
		eventually(t, "gone", func() bool { return r.loop.Stats().Connections == 0 })
	}
}

// A client that pipelines more than a server keeps of others is served too.
func TestAuthLaterLargePipeline(t *testing.T) {
	auth := make(lateAuth, 1)
	r := newRig(t, Options{Authenticator: auth})
	for _, uid := range r.uids() {
		w, _ := r.connect()
		const frames, size = 60, 1000
		burst := slices.Concat(request("/ws", ""), slices.Repeat(masked(gobwas.OpText, true, make([]byte, size)), frames))
		go w.Write(burst)
		later := <-auth
		before := r.Stats().BytesIn
		later(Grant{UID: uid}, nil)
		if status, err := w.answer(); err != nil || status != 101 {
			t.Fatalf("%d %v", status, err)
		}
		eventually(t, "all read", func() bool { return r.Stats().BytesIn-before == frames*size })
		w.Close()
	}
}

func TestAuthRefusesLater(t *testing.T) {
	auth := make(lateAuth, 1)
	r := newRig(t, Options{Authenticator: auth})
	w, _ := r.connect()
	w.Write(pipelined())
	(<-auth)(Grant{}, ws.Unauthorized("no such ticket"))
	if status, err := w.answer(); err != nil || status != 101 { // it asked for belfry.v1
		t.Fatalf("%d %v", status, err)
	}
	if texts, code, reason, err := w.end(); len(texts) != 1 || code != 4401 || reason != "no such ticket" || err != nil {
		t.Errorf("%q, %d %q, %v", texts, code, reason, err)
	}
	w.Close()
	r.closedOnce(t, "unauthorized")
	if st := r.Stats(); st.Upgrades[[2]string{"401", "other"}] != 1 || st.Pending != 0 || st.FramesIn != 0 {
		t.Errorf("%v, %d pending, %d frames", st.Upgrades, st.Pending, st.FramesIn)
	}
}

// A client hangs up before the authenticator has decided. The next client gets its
// slot, and the decision is not for that client.
func TestAuthHangUp(t *testing.T) {
	auth := make(lateAuth, 1)
	r := newRig(t, Options{Poller: onePoller(), Authenticator: auth})
	first, _ := r.connect()
	first.Write(pipelined())
	stale := <-auth
	first.Close()
	r.closedOnce(t, "gone")
	second, _ := r.connect()
	second.Write(pipelined())
	later := <-auth
	stale(Grant{UID: "first"}, nil)
	later(Grant{UID: "second"}, nil)
	second.wantPipelined(t, "second")
	second.Close()
}

func TestAuthTooLate(t *testing.T) {
	auth := make(lateAuth, 1)
	r := newRig(t, Options{Authenticator: auth, UpgradeTime: 2 * time.Second})
	w, _ := r.connect()
	w.Write(pipelined())
	later := <-auth
	r.tick(1)
	r.tick(1)
	if status, err := w.answer(); err != nil || status != 408 {
		t.Fatalf("%d %v", status, err)
	}
	later(Grant{UID: "u"}, nil)
	w.Close()
	r.closedOnce(t, "handshake_timeout")
	if st := r.Stats(); st.Sessions != 0 || st.Upgrades[[2]string{"101", "none"}] != 0 || st.Limits["upgrade.timeout"] != 1 {
		t.Errorf("%d sessions, %v, %v", st.Sessions, st.Upgrades, st.Limits)
	}
}

// sameGrant is an Authenticator that gives everybody the same list.
type sameGrant []string

func (g sameGrant) Authenticate(*Attempt, func(Grant, *ws.Refusal)) (Grant, *ws.Refusal, bool) {
	return Grant{Topics: g}, nil, false
}

// What an authenticator grants stays as it is: it may be granted to others at
// the same time.
func TestGrantIsBorrowed(t *testing.T) {
	topics := sameGrant{"b", "a", "b"}
	r := newRig(t, Options{Authenticator: topics})
	for range 8 {
		r.v1("/ws")
	}
	if !slices.Equal(topics, []string{"b", "a", "b"}) {
		t.Errorf("now it is %q", topics)
	}
}

// However the bytes come, and wherever the user's shard is, an upgrade works
// and no byte behind it is lost.
func TestUpgradeInPieces(t *testing.T) {
	for _, r := range []*rig{newRig(t, Options{Poller: onePoller()}), newRig(t, Options{})} {
		for _, uid := range r.uids() {
			whole := slices.Concat(request("/ws?uid="+uid, "belfry.v1"), pipelined()[len(request("/ws", "belfry.v1")):])
			head := len(request("/ws?uid="+uid, "belfry.v1"))
			for _, cuts := range [][]int{{1}, {head - 1}, {head}, {head + 1}, {head + 5}, {10, head + 20}, nil} {
				w, _ := r.connect()
				from := 0
				for _, cut := range append(cuts, len(whole)) {
					r.feed(w, whole[from:cut])
					from = cut
				}
				w.wantPipelined(t, uid)
				w.Close()
			}
			w, _ := r.connect()
			for i := range whole {
				w.Write(whole[i : i+1])
			}
			w.wantPipelined(t, uid)
			w.Close()
			eventually(t, "gone", func() bool { return r.loop.Stats().Connections == 0 })
		}
	}
}

// feed sends bytes and waits until the server has read them.
func (r *rig) feed(w *rawConn, p []byte) {
	r.t.Helper()
	want := r.loop.Stats().ReadBytes + uint64(len(p))
	w.Write(p)
	eventually(r.t, "bytes read", func() bool { return r.loop.Stats().ReadBytes >= want })
}
