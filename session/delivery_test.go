package session

import (
	"slices"
	"testing"

	"belfry/message"
	"belfry/poller"
)

// A message goes to the shards of its users, once to each, however many of the
// users a shard has; and to no others.
func TestDeliveryShards(t *testing.T) {
	r := newRig(t, Options{Poller: poller.Options{Shards: 3}})
	all := slices.Clone(r.shards)
	users := make([][]string, 3) // two of each shard
	for i := 0; len(users[0]) < 2 || len(users[1]) < 2 || len(users[2]) < 2; i++ {
		uid := "u" + string(rune('a'+i))
		home, _ := r.homeOf(uid)
		users[home] = append(users[home], uid)
	}
	for _, want := range [][]int{{0}, {2}, {0, 2}, {1, 0}, {2, 1}, {2, 0, 1}} {
		var names []string
		for _, i := range want {
			names = append(names, users[i][0])
		}
		names = append(names, users[want[0]][1])
		d, err := r.Prepare(&message.Message{Target: message.ToUsers(names...)})
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, h := range d.shards {
			got = append(got, h.index)
		}
		if !slices.Equal(got, want) || d.queue != poller.QueueSingle {
			t.Errorf("goes to the shards %v by queue %v, want %v", got, d.queue, want)
		}
		if !slices.Equal(r.shards, all) {
			t.Fatal("the server's own list of shards changed")
		}
	}
	d, err := r.Prepare(&message.Message{Target: message.ToSessions("no session id")})
	if err != nil || len(d.shards) > 0 || d.Deliver() != nil || r.mailBytes.Load() != 0 {
		t.Errorf("a message to no session: %v, %d shards, %d bytes wait", err, len(d.shards), r.mailBytes.Load())
	}
}
