package broadcast

import (
	"context"
	"testing"

	"pgregory.net/rapid"

	"belfry/message"
)

// The outbox behaves like a slice: it keeps order and limits, and its places add
// up.
func TestOutboxAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const maxMessages, maxBytes = 10, 100
		b := newOutbox(maxMessages, maxBytes)
		var queue, flight []part
		messages, bytes, serial := 0, 0, 0
		t.Repeat(map[string]func(*rapid.T){
			"publish": func(t *rapid.T) {
				n, size := rapid.IntRange(1, 4).Draw(t, "n"), rapid.IntRange(1, 30).Draw(t, "size")
				ps := make([]part, n)
				for i := range ps {
					serial++
					ps[i] = part{size: size, message: &message.Message{ID: string(rune(serial))}}
				}
				err := b.reserve(n, n*size)
				if fits := messages+n <= maxMessages && bytes+n*size <= maxBytes; fits != (err == nil) {
					t.Fatalf("fits %v, reserve %v", fits, err)
				}
				if err != nil {
					return
				}
				r := &reservation{b, ps, n * size}
				if rapid.Bool().Draw(t, "cancel") {
					r.Cancel()
					return
				}
				r.Commit()
				queue = append(queue, ps...)
				messages, bytes = messages+n, bytes+n*size
			},
			"take": func(t *rapid.T) {
				got := b.take(nil, rapid.IntRange(1, 5).Draw(t, "max"), 1<<20)
				for i := range got {
					if got[i].message != queue[i].message {
						t.Fatal("order")
					}
				}
				queue, flight = queue[len(got):], append(flight, got...)
			},
			"release": func(t *rapid.T) {
				for _, p := range flight {
					b.release(1, p.size)
					messages, bytes = messages-1, bytes-p.size
				}
				flight = nil
			},
			"": func(t *rapid.T) {
				if m, n := b.depth(); m != messages || n != bytes {
					t.Fatalf("depth %d %d, want %d %d", m, n, messages, bytes)
				}
				done, cancel := context.WithCancel(context.Background())
				cancel()
				if err := b.waitEmpty(done); (err == nil) != (messages == 0) {
					t.Fatalf("wait: %v with %d places taken", err, messages)
				}
			},
		})
	})
}

func TestRecentForgetsTheOldest(t *testing.T) {
	r := newRecent()
	ids := numbered("id", 3*recentIDs)
	for i, id := range ids {
		if !r.first(1, id) {
			t.Fatalf("%s is new", id)
		}
		if r.first(1, id) || i >= recentIDs && r.first(1, ids[i-recentIDs+1]) {
			t.Fatal("a copy passed")
		}
	}
	if !r.first(2, ids[len(ids)-1]) {
		t.Error("another node's message is taken for a copy")
	}
	if len(r.cur)+len(r.old) > 2*recentIDs {
		t.Errorf("%d ids kept", len(r.cur)+len(r.old))
	}
}
