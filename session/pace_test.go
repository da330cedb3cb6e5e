package session

import (
	"context"
	"testing"
	"time"

	"belfry/poller"
)

// A push to users of several crowded shards waits for each, and keeps a place
// of none for good.
func TestPace(t *testing.T) {
	const size = 64
	r := newRig(t, Options{Poller: poller.Options{Shards: 2, Mailbox: size}})
	ctx := context.Background()
	both := ToUsers(r.uids()...)
	for _, target := range []Target{ToAll(), ToTopics("t"), ToSessions("no such session"), both} {
		waited, done := r.Pace(ctx, target, time.Hour)
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
	if waited, done := r.Pace(ctx, ToTopics("t"), time.Hour); waited || done == nil {
		t.Error("a push to a topic waited for the single lane")
	}
	if waited, done := r.Pace(ctx, both, time.Millisecond); !waited || done == nil {
		t.Error("did not wait for crowded shards")
	}
	const pushes = 40 // more than there are places
	paced := make(chan bool, pushes)
	for range pushes {
		go func() {
			waited, done := r.Pace(ctx, both, time.Hour)
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
		waited, done := r.Pace(ctx, both, time.Hour)
		if done(); waited {
			t.Fatal("waited for shards that have nothing to do")
		}
	}
}
