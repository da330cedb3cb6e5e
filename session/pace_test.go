package session

import (
	"context"
	"testing"
	"time"

	"belfry/message"
	"belfry/poller"
)

// A push to users of several crowded shards waits for each, and keeps a place
// of none for good.
func TestPace(t *testing.T) {
	const size = 64
	r := newRig(t, Options{Poller: poller.Options{Shards: 2, Mailbox: size}})
	ctx := context.Background()
	both := message.ToUsers(r.uids()...)
	for _, target := range []message.Target{message.ToAll(), message.ToTopics("t"), message.ToSessions("no such session"), both} {
		waited, done, _ := r.Pace(ctx, target, time.Hour, 100)
		if done(); waited {
			t.Errorf("%v waited for shards that have nothing to do", target)
		}
	}
	var releases []func()
	for i := range r.shards {
		releases = append(releases, r.block(i))
		for range size / 32 { // a crowd
			r.shards[i].ps.Post(poller.LaneSingle, poller.Mail{Kind: mailLook, Ptr: func(*shard) {}})
		}
	}
	if waited, done, _ := r.Pace(ctx, message.ToTopics("t"), time.Hour, 100); waited || done == nil {
		t.Error("a push to a topic waited for the single lane")
	}
	if waited, done, _ := r.Pace(ctx, both, time.Millisecond, 100); !waited || done == nil {
		t.Error("did not wait for crowded shards")
	}
	const pushes = 40 // more than there are places
	paced := make(chan bool, pushes)
	for range pushes {
		go func() {
			waited, done, _ := r.Pace(ctx, both, time.Hour, 100)
			done()
			paced <- waited
		}()
	}
	releases[0]()
	if len(paced) > 0 {
		t.Error("let go while one shard was crowded")
	}
	releases[1]()
	for range pushes {
		select {
		case <-paced:
		case <-time.After(time.Minute):
			t.Fatal("a push still waits for shards that have nothing to do")
		}
	}
	for range size { // places that were not given back would be missing now
		waited, done, _ := r.Pace(ctx, both, time.Hour, 100)
		if done(); waited {
			t.Fatal("waited for shards that have nothing to do")
		}
	}
}

// Where enough wait for a shard the next is refused at once, also when it could
// wait for long; pushes to the other shard are not.
func TestPaceIsBounded(t *testing.T) {
	const size, most = 64, 4
	r := newRig(t, Options{Poller: poller.Options{Shards: 2, Mailbox: size}})
	hot, cool := "", ""
	for _, uid := range r.uids() {
		if home, _ := r.homeOf(uid); home == 0 {
			hot = uid
		} else {
			cool = uid
		}
	}
	release := r.block(0)
	defer release()
	for range size / 32 { // a crowd
		r.shards[0].ps.Post(poller.LaneSingle, poller.Mail{Kind: mailLook, Ptr: func(*shard) {}})
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, most)
	for range most {
		go func() {
			_, done, err := r.Pace(ctx, message.ToUsers(hot), time.Hour, most)
			done()
			ended <- err
		}()
	}
	eventually(t, "as many wait as may", func() bool { return r.shards[0].ps.TooManyWait(most) })
	waited, done, err := r.Pace(ctx, message.ToUsers(hot), time.Hour, most)
	if done(); waited || err == nil {
		t.Errorf("one more waited: %v, %v", waited, err)
	}
	waited, done, err = r.Pace(ctx, message.ToUsers(cool), time.Hour, most)
	if done(); waited || err != nil {
		t.Errorf("a push to the other shard: waited %v, %v", waited, err)
	}
	stop()
	for range most {
		if err := <-ended; err != nil {
			t.Errorf("one of those that may wait: %v", err)
		}
	}
}
