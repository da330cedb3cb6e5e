package session

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"belfry/message"
)

// membersOf reads all pages of a topic's members.
func (r *rig) membersOf(topic string, limit int, between func(last string)) (ids []string) {
	r.t.Helper()
	after := message.SID{}
	for {
		list, more, err := r.Members(read(r.t), topic, after, limit)
		if err != nil || len(list) > limit || len(ids) > 1000 {
			r.t.Fatalf("%d members, %v", len(list), err)
		}
		for _, m := range list {
			ids = append(ids, m.ID)
		}
		if !more {
			return ids
		}
		after, _ = message.DecodeSID(ids[len(ids)-1])
		between(ids[len(ids)-1])
	}
}

// Members are on one page each, over all shards, while others leave.
func TestMembers(t *testing.T) {
	r := newRig(t, Options{Poller: pollers(3)})
	var want []string
	for i := range 40 {
		_, sid := r.hello(fmt.Sprintf("/ws?uid=u%d&topic=news", i))
		want = append(want, sid)
	}
	r.hello("/ws?uid=other&topic=sport")
	slices.SortFunc(want, bySID(t))
	if n, err := r.Subscribers(read(t), "news"); n != 40 || err != nil {
		t.Errorf("%d subscribers, %v", n, err)
	}
	for _, limit := range []int{1, 7, 40, 100} {
		if got := r.membersOf("news", limit, func(string) {}); !slices.Equal(got, want) {
			t.Errorf("pages of %d: %d members\n%q\nwant\n%q", limit, len(got), got, want)
		}
	}
	got := r.membersOf("news", 9, func(last string) {
		if n, err := r.Leave(read(t), Selection{SID: last}, "news"); n != 1 || err != nil {
			t.Error(n, err)
		}
	})
	if !slices.Equal(got, want) {
		t.Errorf("while members leave: %d\n%q\nwant\n%q", len(got), got, want)
	}
	if list, more, err := r.Members(read(t), "nothing", message.SID{}, 5); len(list) > 0 || more || err != nil {
		t.Error(list, more, err)
	}
	list, _, err := r.Members(read(t), "sport", message.SID{}, 5)
	if err != nil || len(list) != 1 || list[0].UID != "other" {
		t.Error(list, err)
	}
}

// A long list of members is read by the sessions of the shard, with the same result.
func TestMembersOfALongList(t *testing.T) {
	r := newRig(t, Options{Poller: onePoller()})
	for i := range 30 {
		r.hello(fmt.Sprintf("/ws?uid=u%d&topic=%s", i, []string{"news", "sport"}[i%2]))
	}
	short := r.membersOf("news", 4, func(string) {})
	var long []string
	for from, more := uint32(0), true; more; {
		w := &memberWalk{topic: "news", cursor: from, left: 4}
		err := r.onEach(read(t), r.shards, func(h *shard) func(*shard) bool {
			tp, _ := h.topics.find("news")
			w.t, w.token = tp, h.topics.token(tp)
			return w.visit
		})
		if err != nil || len(w.found) > 4 {
			t.Fatal(len(w.found), err)
		}
		for _, m := range w.found {
			long = append(long, m.ID)
		}
		n, _ := message.DecodeSID(long[len(long)-1])
		from, more = uint32(n.Conn)+1, w.more
	}
	if len(short) != 15 || !slices.Equal(short, long) {
		t.Errorf("%d by the list, %d by the sessions", len(short), len(long))
	}
}

// The pages of topics have each topic of all shards once, with the sum of its
// subscribers.
func TestTopics(t *testing.T) {
	r := newRig(t, Options{Poller: pollers(3)})
	want := map[string]int{}
	for i := range 60 {
		names := []string{fmt.Sprint("chat.", rand.IntN(20)), fmt.Sprint("chat.", 20+rand.IntN(20)), fmt.Sprint("news", i%5)}
		r.hello(fmt.Sprintf("/ws?uid=u%d&topic=%s", i, strings.Join(names, "&topic=")))
		for _, name := range names {
			want[name]++
		}
	}
	for _, prefix := range []string{"", "chat.", "chat.1", "none"} {
		for _, limit := range []int{1, 7, 100} {
			got, after := []TopicCount(nil), ""
			for more := true; more; {
				var list []TopicCount
				var err error
				if list, more, err = r.Topics(read(t), prefix, after, limit); err != nil || len(list) > limit {
					t.Fatal(len(list), err)
				}
				if got = append(got, list...); more {
					after = list[len(list)-1].Name
				}
			}
			n := 0
			for name := range want {
				if strings.HasPrefix(name, prefix) {
					n++
				}
			}
			if len(got) != n || !slices.IsSortedFunc(got, func(a, b TopicCount) int { return strings.Compare(a.Name, b.Name) }) {
				t.Errorf("%q in pages of %d: %d topics, want %d: %v", prefix, limit, len(got), n, got)
			}
			for _, topic := range got {
				if topic.Count != want[topic.Name] || !strings.HasPrefix(topic.Name, prefix) {
					t.Errorf("%q: %+v, want %d", prefix, topic, want[topic.Name])
				}
			}
		}
	}
}
