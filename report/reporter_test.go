package report

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"belfry/message"
)

const second = time.Second

// silent returns the names of the silent nodes.
func (res *Result) silentNames() (names []string) {
	for _, s := range res.Silent {
		names = append(names, s.Node)
	}
	return names
}

// A push is answered as soon as every node has reported, with the sums.
func TestSums(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := cluster(t, 3, nil)
		nodes[0].set(func(n *node) { n.sessions = [...]int{5, 0, 0, 0, 0} })
		nodes[1].set(func(n *node) { n.sessions, n.took = [...]int{1, 2, 3, 4, 6}, 300*time.Millisecond })
		begun := time.Now()
		res := nodes[0].push(t, Query{Wait: 2 * second})
		if took := time.Since(begun); took < 300*time.Millisecond || took > 310*time.Millisecond {
			t.Errorf("answered after %v", took)
		}
		got, err := json.Marshal(res)
		if err != nil {
			t.Fatal(err)
		}
		want := `{"id":"` + res.ID + `","sessions":21,"written":6,"queued":3,"bridged":2,"dropped":{"backlog":4,"closed":6},"offline":false,"complete":true,"nodes":[` +
			`{"node":"a","sessions":5,"written":5,"queued":0,"bridged":0,"dropped":{"backlog":0,"closed":0}},` +
			`{"node":"b","sessions":16,"written":1,"queued":3,"bridged":2,"dropped":{"backlog":4,"closed":6}},` +
			`{"node":"c","sessions":0,"written":0,"queued":0,"bridged":0,"dropped":{"backlog":0,"closed":0}}]}`
		if string(got) != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if st := nodes[0].reporter.Stats(); st != (Stats{Complete: 1}) {
			t.Errorf("%+v", st)
		}
		for _, n := range nodes {
			if kept := n.kept(); kept > 0 {
				t.Errorf("node %s keeps %d", n.name, kept)
			}
		}
	})
}

// Without sessions anywhere the target is offline, unless a node is silent.
func TestOffline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := cluster(t, 2, nil)
		if res := nodes[0].pushTo(t, message.ToUsers("u"), Query{Wait: second}); !res.Offline || !res.Complete {
			t.Errorf("%+v", res)
		}
		nodes[1].bus.Cut()
		if res := nodes[0].pushTo(t, message.ToUsers("u"), Query{Wait: second}); res.Offline || res.Complete {
			t.Errorf("%+v", res)
		}
	})
}

// Nodes that are not heard of in time are named, whatever the reason.
func TestSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := cluster(t, 4, nil)
		nodes[0].set(func(n *node) { n.sessions[0] = 1 })
		nodes[1].set(func(n *node) { n.took = 3 * second }) // too late
		nodes[2].bus.Cut()
		nodes[3].set(func(n *node) { n.full = true })
		begun := time.Now()
		res := nodes[0].push(t, Query{Wait: 2 * second})
		if took := time.Since(begun); took != 2*second {
			t.Errorf("answered after %v", took)
		}
		if got := res.silentNames(); !slices.Equal(got, []string{"b", "c", "d"}) || res.Complete || res.Sessions != 1 {
			t.Errorf("silent %v, %+v", got, res)
		}
		if d := res.Silent[2].Detail; !strings.Contains(d, "lost") {
			t.Errorf("node d: %s", d)
		}
		time.Sleep(2 * second) // b is done and says so, but nobody waits
		if st := nodes[0].reporter.Stats(); st != (Stats{Incomplete: 1}) {
			t.Errorf("%+v", st)
		}
		// The connection of the publisher itself.
		nodes[0].bus.Lose()
		if res = nodes[0].push(t, Query{Wait: second}); res.Complete || len(res.Degraded) == 0 || res.Sessions != 1 {
			t.Errorf("%+v", res)
		}
	})
}

// The own node is silent too if its shards are not done.
func TestOwnShardsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := cluster(t, 2, nil)
		nodes[0].set(func(n *node) { n.took = 3 * second })
		if res := nodes[0].push(t, Query{Wait: second}); !slices.Equal(res.silentNames(), []string{"a"}) || len(res.Nodes) != 1 {
			t.Errorf("%+v", res)
		}
	})
}

// Messages to sessions await only the nodes in their ids.
func TestOnlyNodesConcerned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := cluster(t, 3, nil)
		nodes[2].bus.Cut()
		var secret [32]byte
		sid := func(node uint32) string { return message.SID{Node: node, Conn: 1<<32 | 1}.Format(&secret) }
		to := message.ToSessions(sid(nodes[0].node.NodeID()), sid(nodes[1].node.NodeID()))
		if res := nodes[0].pushTo(t, to, Query{Wait: second}); !res.Complete {
			t.Errorf("%+v", res)
		}
		if res := nodes[0].pushTo(t, message.ToSessions(sid(77)), Query{Wait: second}); res.Complete || res.Silent[0].Node != "0000004d" {
			t.Errorf("%+v", res)
		}
	})
}

// A push that waits for acknowledgements is answered when the last has come, or with
// those that came in time.
func TestAcks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := cluster(t, 3, nil)
		for _, n := range nodes[:2] {
			n.set(func(n *node) { n.sessions[message.OutcomeWritten], n.acks = 3, 2 })
		}
		acknowledge := func(n *node, after time.Duration) {
			time.AfterFunc(after, func() {
				n.mu.Lock()
				defer n.mu.Unlock()
				n.last.Acknowledge()
			})
		}
		for _, missing := range []bool{false, true} {
			for _, n := range nodes[:2] {
				acknowledge(n, 100*time.Millisecond)
			}
			acknowledge(nodes[1], 600*time.Millisecond)
			if !missing {
				acknowledge(nodes[0], 900*time.Millisecond)
			}
			begun := time.Now()
			res := nodes[0].push(t, Query{Wait: 2 * second, Ack: true})
			took := time.Since(begun)
			want, least := Ack{Asked: 4, Acknowledged: 4, Unacknowledgeable: 2}, 900*time.Millisecond
			if missing {
				want.Acknowledged, least = 3, 2*second
			}
			if *res.Ack != want || !res.Complete || took < least || took > least+10*time.Millisecond {
				t.Errorf("after %v: %+v %+v", took, res, res.Ack)
			}
			if !nodes[0].last.Forsaken() {
				t.Error("the shards are not told that the wait is over")
			}
			time.Sleep(3 * second)
			if !nodes[1].last.Forsaken() || nodes[1].kept() > 0 {
				t.Error("the other node does not forget the message")
			}
		}
	})
}

// Acknowledgements that come one after the other are told together, not one by one.
func TestAcksAreToldTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := cluster(t, 2, nil)
		nodes[1].set(func(n *node) { n.sessions[message.OutcomeWritten], n.acks = 1000, 1000 })
		for i := range 1000 { // in 100 ms
			time.AfterFunc(100*time.Millisecond+time.Duration(i)*100*time.Microsecond, func() {
				nodes[1].set(func(n *node) { n.last.Acknowledge() })
			})
		}
		before := nodes[1].node.Stats().ControlSent
		res := nodes[0].push(t, Query{Wait: second, Ack: true})
		if want := (Ack{Asked: 1000, Acknowledged: 1000}); *res.Ack != want {
			t.Errorf("%+v", res.Ack)
		}
		time.Sleep(100 * time.Millisecond)
		if sent := nodes[1].node.Stats().ControlSent - before; sent < 2 || sent > 10 {
			t.Errorf("%d reports about 1000 acknowledgements in 100 ms; want one each 20 ms", sent)
		}
	})
}

// Beyond MaxWaits a push is refused, and nothing is delivered. A push that was refused
// for another reason leaves no place taken.
func TestMaxWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := cluster(t, 2, func(o *Options) { o.MaxWaits = 2 })
		a := nodes[0]
		publish := func(to message.Target) (*Pending, error) {
			p, _, err := a.reporter.Publish(t.Context(), &message.Message{Target: to}, message.Wait{}, Query{Wait: second})
			return p, err
		}
		var field *message.FieldError
		for range 3 {
			if _, err := publish(message.ToTopics("*")); !errors.As(err, &field) {
				t.Fatal(err)
			}
		}
		var pending []*Pending
		for range 2 {
			p, err := publish(message.ToAll())
			if err != nil {
				t.Fatal(err)
			}
			pending = append(pending, p)
		}
		var full *message.OverloadedError
		if _, err := publish(message.ToAll()); !errors.As(err, &full) || !strings.Contains(err.Error(), "api.max_waits") {
			t.Errorf("got %v", err)
		}
		if n := a.delivered(); n != 2 {
			t.Errorf("%d delivered", n)
		}
		if st := a.reporter.Stats(); st != (Stats{Waiting: 2, Refused: 1}) {
			t.Errorf("%+v", st)
		}
		for _, p := range pending {
			p.Await(t.Context(), nil)
		}
		if _, err := publish(message.ToAll()); err != nil {
			t.Error(err)
		}
	})
}

// A wait ends early if its publisher goes away, or its context is done.
func TestWaitEndsEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := cluster(t, 2, nil)
		nodes[1].bus.Cut()
		for _, byContext := range []bool{false, true} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			begun := time.Now()
			gone := func() bool { return time.Since(begun) > 1500*time.Millisecond }
			if byContext {
				cancel()
				gone = nil
			}
			p, _, err := nodes[0].reporter.Publish(t.Context(), &message.Message{Target: message.ToAll()}, message.Wait{}, Query{Wait: 20 * second})
			if err != nil {
				t.Fatal(err)
			}
			p.Await(ctx, gone)
			cancel()
			if took := time.Since(begun); took > 2*second || byContext != (took == 0) {
				t.Errorf("the wait took %v", took)
			}
		}
	})
}

// A node that counts too many messages at once says that it does not know.
func TestTooManyCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := cluster(t, 2, nil)
		b := nodes[1].reporter
		for i := range maxCounted {
			if b.Received(fmt.Sprint(i), message.ReportRequest{Node: 1, Wait: 5 * second}) == nil {
				t.Fatal(i)
			}
		}
		if res := nodes[0].push(t, Query{Wait: second}); !slices.Equal(res.silentNames(), []string{"b"}) {
			t.Errorf("%+v", res)
		}
		if n := nodes[1].delivered(); n != 1 {
			t.Error("the message was not delivered")
		}
		time.Sleep(time.Minute + second)
		if res := nodes[0].push(t, Query{Wait: second}); !res.Complete || nodes[1].kept() > 0 {
			t.Errorf("%+v, %d are counted", res, nodes[1].kept())
		}
	})
}
