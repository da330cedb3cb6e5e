package session

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"belfry/message"
	"belfry/poller"
)

// A session of nobody logs in: it goes on under a new id in the shard of its user,
// with its topics.
func TestLogInLater(t *testing.T) {
	w := newWallet(map[string]Grant{"guest": {Topics: []string{"granted"}, Subscribe: []string{"a.*"}}})
	g := newGate(false)
	r := walletRig(t, Options{Interest: g, Subscribe: []string{"public.*"}}, w)
	for _, uid := range r.uids() {
		w.set(uid, Grant{UID: uid, Topics: []string{"new"}, Subscribe: []string{"b.*"}})
		for range 6 { // the kernel chooses the shard of the socket
			c := r.lines("/lp?token=guest")
			c.want("thello   [granted]")
			c.ask("sub 1 public.x\nsub 2 a.x", "tdone 1", "tdone 2")
			c.ask("auth A wrong", "terror A forbidden")
			c.say(prefixedText, "auth B "+uid)
			c.say(prefixedText, "sub 3 b.x\nsub 4 a.x") // waits, and goes along
			c.want("thello "+uid+" B [granted public.x new]", "tdone 3", "terror 4 forbidden")
			r.deliver(message.ToUsers(uid), "to the user")
			c.want("tlines: to the user")
			for _, topic := range []string{"granted", "public.x", "new", "b.x"} {
				r.deliver(message.ToTopics(topic), topic)
				c.want("tlines: " + topic)
			}
			r.deliver(message.ToTopics("a.x"), "lost")
			old := w.told(-1)
			r.deliver(message.ToSessions(old.SID), "lost")
			if _, ok := r.Lookup(old.SID); ok || old.UID != "" {
				t.Errorf("the session is still %+v", old)
			}
			c.ask("auth C "+uid, "tdone C")
			now := w.told(-1)
			r.deliver(message.ToSessions(now.SID), "to the session")
			c.want("tlines: to the session")
			if now.SID == old.SID || now.UID != uid || now.Addr != old.Addr {
				t.Errorf("%+v, then %+v", old, now)
			}
			c.Close()
			r.nothingLeft()
			if n := g.total(); n != 0 {
				t.Errorf("%d users and topics are still wanted", n)
			}
		}
	}
	if st := r.Stats(); st.Closed["login"] != 12 || st.Poller.MovedIn != 12 {
		t.Errorf("%v, %d moves", st.Closed, st.Poller.MovedIn)
	}
}

// A login while messages are published gets each of them once and in order, whether
// they are sent at once or in fan-out runs, whatever the two shards are doing.
func TestLogInLosesNothing(t *testing.T) {
	for _, shards := range []int{1, 3} {
		t.Run(fmt.Sprint(shards, " shards"), func(t *testing.T) { logInWhilePublishing(t, shards) })
	}
}

func logInWhilePublishing(t *testing.T, shards int) {
	w := newWallet(map[string]Grant{})
	r := walletRig(t, Options{Poller: poller.Options{Shards: shards, Backlog: poller.Bounds{Frames: 65535, Bytes: 64 << 20}}, Subscribe: []string{"*"}}, w)
	for i := range 4 * smallTarget { // so many that messages to "many" go out in fan-out runs
		c := r.lines("/lp")
		c.want("thello   []")
		c.ask("sub 1 many", "tdone 1")
		go drain(c)
		if i%4 == 0 {
			w.set(fmt.Sprint("user", i), Grant{UID: fmt.Sprint("user", i)})
		}
	}
	targets := map[string]message.Target{"all": message.ToAll(), "many": message.ToTopics("many"), "few": message.ToTopics("few"), "both": message.ToTopics("few", "many")}
	for round := range 30 {
		c := r.lines("/lp")
		c.want("thello   []")
		c.say(prefixedText, "sub 1 few\nsub 2 many")
		for c.text() != "done 2" { // messages of the round before may still come
		}
		uid := fmt.Sprint("login", round)
		w.set(uid, Grant{UID: uid})
		ctx, stop := context.WithCancel(context.Background())
		var publishers sync.WaitGroup
		places := map[string]chan struct{}{} // fewer in all than a relocation may record
		for name, to := range targets {
			free := make(chan struct{}, 512)
			places[name] = free
			publishers.Go(func() { r.publishNumbers(ctx, name, to, round, free) })
		}
		if round%2 == 0 {
			c.say(prefixedText, "auth L "+uid)
		} else {
			c.say(prefixedText, "auth L later")
			(<-w.later)(Grant{UID: uid}, nil)
		}
		next := map[string]int{} // by target: the number that has to come
		left := 400
		for hello := false; left > 0 || len(next) < len(targets); {
			text := c.text()
			switch word, number, _ := strings.Cut(strings.TrimPrefix(text, "lines: "), " "); {
			case strings.HasPrefix(text, "hello "+uid+" L "):
				hello = true
			case strings.HasSuffix(text, fmt.Sprint(" of ", round)):
				var n int
				fmt.Sscan(number, &n)
				if last, seen := next[word]; seen && n != last {
					t.Fatalf("round %d: %s %d after %d (hello seen: %v)", round, word, n, last-1, hello)
				}
				next[word] = n + 1
				<-places[word]
				if hello {
					left--
				}
			}
		}
		stop()
		publishers.Wait()
		c.Close()
	}
	eventually(t, "no message is kept", func() bool { return r.mailBytes.Load() == 0 })
}

// publishNumbers publishes numbers until ctx is done. Each takes a place until the
// client has it: one that is given no processor may be behind, but not so far that
// the server gives it up.
func (r *rig) publishNumbers(ctx context.Context, name string, to message.Target, round int, places chan<- struct{}) {
	for n := 0; ; n++ {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return
		}
		for r.push(&message.Message{Target: to, Payload: fmt.Appendf(nil, "%s %d of %d", name, n, round)}) != nil {
			if ctx.Err() != nil {
				return
			}
			time.Sleep(100 * time.Microsecond) // the mailboxes are full
		}
	}
}

// drain reads and forgets.
func drain(c *lpConn) {
	var buf [4096]byte
	for {
		c.SetReadDeadline(time.Now().Add(clientTimeout))
		if _, err := c.Read(buf[:]); err != nil {
			return
		}
	}
}

// text reads a frame of text.
func (c *lpConn) text() string {
	c.t.Helper()
	kind, payload := c.frame()
	if kind != prefixedText {
		c.t.Fatalf("got %c%s", kind, payload)
	}
	return payload
}

// A login whose bus, client or user is not as it should be.
func TestLogInThatFails(t *testing.T) {
	w := newWallet(map[string]Grant{"one": {UID: "one"}, "many": {UID: "two", Topics: []string{"1", "2", "3"}}})
	g := newGate(false)
	r := walletRig(t, Options{Interest: g, Subscribe: []string{"*"}, UpgradeTime: 3 * time.Second, MaxPerUser: 1, RefuseNewest: true, MaxTopics: 3}, w)
	held := r.lines("/lp?token=one")
	held.want("thello one  []")
	c := r.lines("/lp")
	c.want("thello   []")
	c.ask("sub 1 t", "tdone 1")
	c.ask("auth 2 one", "terror 2 forbidden") // the user has a session already
	if n := r.Stats().Limits["session.max_per_user"]; n != 1 {
		t.Errorf("the limit was hit %d times", n)
	}
	c.ask("auth 3 many", "terror 3 too_many_topics")
	held.Close()
	eventually(t, "gone", func() bool { return r.Stats().Sessions == 1 })
	g.set(true)
	c.say(prefixedText, "auth 4 one")
	eventually(t, "joined", func() bool { users, _ := g.wanted("one", ""); return users == 1 })
	r.ticks(3)
	c.want("terror 4 unavailable") // the bus did not answer
	eventually(t, "left", func() bool { users, _ := g.wanted("one", ""); return users == 0 })
	g.release()
	r.deliver(message.ToTopics("t"), "still here")
	c.want("tlines: still here")
	g.set(true)
	c.say(prefixedText, "auth 5 one")
	eventually(t, "joined", func() bool { users, _ := g.wanted("one", ""); return users == 1 })
	c.Close() // while it waits
	r.nothingLeft()
	eventually(t, "nothing wanted", func() bool { return g.total() == 0 })
	r.each(func(h *shard) {
		if len(h.arrivals.expected)+len(h.departures.due) > 0 {
			t.Errorf("%d sessions are expected, %d leave", len(h.arrivals.expected), len(h.departures.due))
		}
	})
}
