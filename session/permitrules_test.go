package session

import (
	"context"
	"testing"
)

// Patterns are for topics: a client may not publish to a user because the user has the
// name of a topic that the client may publish to.
func TestPatternsAreForTopics(t *testing.T) {
	p := new(published)
	r := walletRig(t, Options{Publish: p.publish}, newWallet(map[string]Grant{
		"some": {Publish: []string{"p.*"}},
		"all":  {Publish: []string{"*"}},
	}))
	for name, want := range map[string]string{"some": "err", "all": "ack"} {
		c := r.dial("/ws?token="+name, "belfry.v1")
		c.object()
		for _, to := range []string{`{"user":"p.a"}`, `{"users":["p.a","p.b"]}`} {
			c.say(`{"ref":1,"type":"pub","to":` + to + `,"data":""}`)
			if m := c.object(); m["type"] != want || want == "err" && m["code"] != "forbidden" {
				t.Errorf("%s: to %s: %v", name, to, m)
			}
		}
	}
	if n := p.count(); n != 2 {
		t.Errorf("%d messages are published", n)
	}
}

// Permissions that are replaced are freed with their last session.
func TestReplacedPermissionsAreFreed(t *testing.T) {
	r := walletRig(t, Options{Poller: onePoller()}, newWallet(map[string]Grant{"ann": {UID: "ann", Subscribe: []string{"a"}}}))
	c := r.lines("/lp?token=ann")
	c.want("thello ann  []")
	for _, list := range [][]string{{"b"}, {"c"}, {"c"}, nil, {"d"}} {
		if n, err := r.SetPermissions(context.Background(), "ann", list, nil); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		lists := 0
		r.on(0, func(h *shard) { lists = h.grants.lists.Len() })
		if want := min(len(list), 1); lists != want {
			t.Errorf("%d lists for one session with %q", lists, list)
		}
	}
}

// A session whose new permissions find no room does not keep the old ones: it ends.
func TestPermissionsWithoutRoom(t *testing.T) {
	r := walletRig(t, Options{Poller: onePoller(), MaxPending: 1}, newWallet(map[string]Grant{"ann": {UID: "ann", Subscribe: []string{"a"}}}))
	c := r.lines("/lp?token=ann")
	c.want("thello ann  []")
	r.on(0, func(h *shard) {
		for ok := true; ok; {
			_, ok = h.grants.lists.Alloc()
		}
	})
	if n, err := r.SetPermissions(context.Background(), "ann", []string{"b"}, nil); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	c.ends()
	if n := r.Stats().Limits["memory"]; n != 1 {
		t.Errorf("the limit was hit %d times", n)
	}
}

// The time of an auth command ends only while its session is in this shard: one that
// is leaving is expected by its new shard.
func TestLeavingIsNotGivenUp(t *testing.T) {
	rs := &renewals{}
	for _, flags := range []flags{0, flagLeaving, flagAuth | flagLeaving} {
		if _, ok := rs.until(0, &record{flags: flags}); ok {
			t.Errorf("flags %#x: the command is given up", flags)
		}
	}
}
