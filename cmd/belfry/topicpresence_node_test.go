package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A client learns who is subscribed to a topic on all nodes, and of a large topic only
// how many.
func TestPresenceOfATopic(t *testing.T) {
	t.Parallel()
	flags := []string{"--set", "nats.beacon=100ms", "--nats-cluster-listen", "127.0.0.1:0", "--set", "session.presence=room.*", "--set", "session.presence_members=3"}
	a := startClusterNode(t, "a", flags...)
	b := startClusterNode(t, "b", append(flags, "--nats-routes", a.Cluster)...)
	soon(t, "peers", func() bool { return a.metric("belfry_bus_peers")+b.metric("belfry_bus_peers") == 2 })
	type answer struct {
		Type, Code string
		Data       struct {
			Topic   string
			Count   int
			Members []struct{ Session, User string }
		}
	}
	ann := a.connect("/ws", "ann&topic=room.1", "belfry.v1")
	ask := func(topic string) (got answer, text string) {
		t.Helper()
		ann.say(fmt.Sprintf(`{"type":"presence","ref":1,"topic":%q}`, topic))
		for {
			_, p, err := ann.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			if text = string(p); !strings.Contains(text, `"hello"`) {
				if err := json.Unmarshal(p, &got); err != nil {
					t.Fatal(err)
				}
				return got, text
			}
		}
	}
	if got, text := ask("news"); got.Type != "err" || got.Code != "forbidden" {
		t.Error(text)
	}
	if got, text := ask("room.2"); got.Type != "ack" || got.Data.Topic != "room.2" || got.Data.Count != 0 || got.Data.Members != nil {
		t.Error(text)
	}
	bob := b.dial("bob", "uid=bob&topic=room.1")
	b.dial("", "topic=room.1")
	got, text := ask("room.1")
	var users []string
	for _, m := range got.Data.Members {
		users = append(users, m.User)
	}
	if slices.Sort(users); got.Data.Count != 3 || fmt.Sprintf("%q", users) != `["" "ann" "bob"]` || !strings.Contains(text, bob.sid) || strings.Contains(text, "partial") {
		t.Error(text)
	}
	b.dial("", "topic=room.1")
	if got, text := ask("room.1"); got.Data.Count != 4 || got.Data.Members != nil {
		t.Error(text)
	}
	b.kill()
	if got, text := ask("room.1"); got.Data.Count != 1 || !strings.Contains(text, `"partial":true`) {
		t.Error(text)
	}
}
