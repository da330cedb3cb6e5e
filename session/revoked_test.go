package session

import (
	"fmt"
	"testing"
	"time"
)

// Calls are kept for the time of an upgrade at least, and forgotten after twice that
// time, the latest of each user.
func TestRevokedCalls(t *testing.T) {
	const keep = 20 * time.Second
	r := revoked{keep: keep}
	old, issued, later := time.Unix(1000, 0), time.Unix(2000, 0), time.Unix(3000, 0)
	refuses := func(uid string, now time.Duration) bool {
		return r.refusal(&Grant{UID: uid, Issued: issued}, now) != nil
	}
	if refuses("ann", 0) {
		t.Error("refused without a call")
	}
	r.add("ann", later, 0)
	r.add("ann", old, keep/2) // takes nothing back
	r.add("bob", old, keep/2)
	for _, now := range []time.Duration{keep / 2, keep, 3 * keep / 2} {
		if !refuses("ann", now) || refuses("bob", now) || refuses("", now) {
			t.Errorf("at %v: ann %v, bob %v", now, refuses("ann", now), refuses("bob", now))
		}
	}
	if r.refusal(&Grant{UID: "ann"}, 3*keep/2) != nil {
		t.Error("credentials whose time is not known are refused")
	}
	r.add("bob", later, 3*keep/2)
	if now := 5*keep/2 - 1; refuses("ann", now) || !refuses("bob", now) {
		t.Errorf("at %v: ann %v, bob %v", now, refuses("ann", now), refuses("bob", now))
	}
	if refuses("bob", 5*keep) || r.some.Load() {
		t.Error("nothing is forgotten")
	}
	r.add("", later, 6*keep)
	if !refuses("eve", 6*keep) || !refuses("", 6*keep) {
		t.Error("a call for all users refuses nobody")
	}
}

// Many calls, as a node makes them that learns the revocations of others, hold little
// memory: one entry for each user.
func TestRevokedCallsAreFew(t *testing.T) {
	r := revoked{keep: time.Second}
	for i := range 100_000 {
		r.add(fmt.Sprint(i%100), time.Unix(int64(i+1), 0), time.Duration(i)*time.Millisecond)
		if n := len(r.young) + len(r.old); n > 200 {
			t.Fatalf("%d entries after %d calls for 100 users", n, i+1)
		}
	}
}
