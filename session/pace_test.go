package session

import (
	"context"
	"testing"
	"time"

	"belfry/message"
	"belfry/poller"
)

// prepared returns a message to a target, prepared.
func (r *rig) prepared(to message.Target) *Delivery {
	r.t.Helper()
	d, err := r.Prepare(&message.Message{Target: to, Payload: []byte("x")})
	if err != nil {
		r.t.Fatal(err)
	}
	return d
}

// await waits with a message to a target, which is then given up.
func (r *rig) await(ctx context.Context, to message.Target, w message.Wait) (waited bool, err error) {
	d := r.prepared(to)
	defer d.Leave()
	return d.Await(ctx, w)
}

// crowdQueue fills a shard's single queue so far that pushes wait.
func (r *rig) crowdQueue(i, mailbox int) {
	for range mailbox / 32 {
		r.shards[i].ps.Post(poller.QueueSingle, poller.Mail{Kind: mailCall, Ptr: func(*shard) {}})
	}
}

// A push to users of several crowded shards waits for each, and keeps a place
// of none for good.
func TestAwait(t *testing.T) {
	const size = 64
	r := newRig(t, Options{Poller: poller.Options{Shards: 2, Mailbox: size}})
	ctx, hour := context.Background(), message.Wait{Time: time.Hour, Others: 100}
	both := message.ToUsers(r.uids()...)
	for _, target := range []message.Target{message.ToAll(), message.ToTopics("t"), message.ToSessions("no such session"), both} {
		if waited, err := r.await(ctx, target, hour); waited || err != nil {
			t.Errorf("%v waited for shards that have nothing to do: %v", target, err)
		}
	}
	var releases []func()
	for i := range r.shards {
		releases = append(releases, r.block(i))
		r.crowdQueue(i, size)
	}
	for _, w := range []message.Wait{{}, hour} {
		if waited, _ := r.await(ctx, message.ToTopics("t"), w); waited {
			t.Error("a push to a topic waited for the single queue")
		}
	}
	if waited, _ := r.await(ctx, both, message.Wait{}); waited {
		t.Error("the zero Wait waited")
	}
	if waited, _ := r.await(ctx, both, message.Wait{Time: time.Millisecond, Others: 100}); !waited {
		t.Error("did not wait for crowded shards")
	}
	const pushes = 40 // more than there are places
	paced := make(chan bool, pushes)
	for range pushes {
		go func() {
			waited, _ := r.await(ctx, both, hour)
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
		if waited, _ := r.await(ctx, both, hour); waited {
			t.Fatal("waited for shards that have nothing to do")
		}
	}
}

// hotAndCool returns users of shard 0 and of shard 1.
func (r *rig) hotAndCool() (hot, cool string) {
	for _, uid := range r.uids() {
		if home, _ := r.homeOf(uid); home == 0 {
			hot = uid
		} else {
			cool = uid
		}
	}
	return hot, cool
}

// Where enough wait for a shard the next is refused at once, also when it could
// wait for long; pushes to the other shard are not. Without a bound none is.
func TestAwaitIsBounded(t *testing.T) {
	const size, most = 64, 4
	r := newRig(t, Options{Poller: poller.Options{Shards: 2, Mailbox: size}})
	hot, cool := r.hotAndCool()
	release := r.block(0)
	defer release()
	r.crowdQueue(0, size)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, most+1)
	wait := func(others int) {
		go func() {
			_, err := r.await(ctx, message.ToUsers(hot), message.Wait{Time: time.Hour, Others: others})
			ended <- err
		}()
	}
	for range most {
		wait(most)
	}
	eventually(t, "as many wait as may", func() bool { return r.shards[0].ps.WaitersAbove(most) })
	if waited, err := r.await(ctx, message.ToUsers(hot), message.Wait{Time: time.Hour, Others: most}); waited || err == nil {
		t.Errorf("one more waited: %v, %v", waited, err)
	}
	if waited, err := r.await(ctx, message.ToUsers(cool), message.Wait{Time: time.Hour, Others: most}); waited || err != nil {
		t.Errorf("a push to the other shard: waited %v, %v", waited, err)
	}
	wait(0)
	eventually(t, "one waits without a bound", func() bool { return r.shards[0].ps.WaitersAbove(most + 1) })
	stop()
	for range most + 1 {
		if err := <-ended; err != nil {
			t.Errorf("a push that may wait: %v", err)
		}
	}
}

// What a client publishes to a user waits in the same order as what backends
// push.
func TestPubWaits(t *testing.T) {
	const size = 64
	asked, made := make(chan bool, 1), make(chan *rig, 1)
	r := newRig(t, Options{Poller: poller.Options{Shards: 2, Mailbox: size}, Publish: func(m *message.Message, w message.Wait) error {
		m.ID = "given"
		if w.Time != clientWait || w.Others != 0 || w.Gone != nil {
			t.Errorf("%+v", w)
		}
		waited, err := (<-made).await(context.Background(), m.Target, message.Wait{Time: time.Minute})
		asked <- waited
		return err
	}})
	made <- r
	hot, cool := r.hotAndCool()
	c := r.v1("/ws?uid=" + cool)
	release := r.block(0)
	r.crowdQueue(0, size)
	c.command(`{"type":"pub","ref":1,"to":{"user":%q},"data":"x"}`, hot)
	eventually(t, "the pub waits", func() bool { return r.shards[0].ps.WaitersAbove(1) })
	release()
	if !<-asked {
		t.Error("a pub to a busy shard did not wait")
	}
	c.expect(t, `"id":"given"`)
}
