package session

import (
	"strings"
	"testing"

	gobwas "github.com/gobwas/ws"

	"belfry/message"
)

const idAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// No other id than the right one finds a session: not one that differs in a
// character, nor one of another node or key.
func TestSessionIDs(t *testing.T) {
	r := newRig(t, Options{Node: 0xdeadbeef})
	for _, uid := range r.uids() {
		w := r.mustWire("/ws?uid="+uid, "")
		var sid string
		r.each(func(h *shard) {
			if slot, ok := h.ps.Next(0); ok {
				sid = h.session(slot)
			}
		})
		if err := message.CheckSID(sid); err != nil || len(sid) != 30 || sid[0] == '-' {
			t.Fatalf("%q: %v", sid, err)
		}
		if node, err := message.NodeOf(sid); err != nil || node != 0xdeadbeef {
			t.Errorf("node %x %v", node, err)
		}
		found := func(sid string) bool {
			info, ok := r.Lookup(sid)
			if ok && (info.UID != uid || info.ID != sid) {
				t.Errorf("%s found %+v", sid, info)
			}
			return ok
		}
		if !found(sid) {
			t.Fatal("the session is not found")
		}
		for i := range sid {
			for _, c := range idAlphabet {
				if forged := sid[:i] + string(c) + sid[i+1:]; forged != sid && found(forged) {
					t.Fatalf("%s is taken for %s", forged, sid)
				}
			}
		}
		for _, odd := range []string{"", sid[:29], sid + "A", sid[:10] + "\n" + sid[11:], sid[:14] + "\r\n" + sid[14:28], sid[:29] + "=", strings.ToLower(sid) + "\x00"} {
			if found(odd) || message.CheckSID(odd) == nil {
				t.Errorf("%q is taken for an id", odd)
			}
		}
		for what, forged := range forgedIDs(sid, r.opt.Key) {
			if found(forged) {
				t.Errorf("an id of %s is found", what)
			}
			r.deliver(message.ToSessions(forged), "not for you")
		}
		r.deliver(message.ToSessions(sid), "for you")
		if _, p, err := w.frame(); err != nil || string(p) != "for you" {
			t.Errorf("%q %v", p, err)
		}
		w.Close()
		eventually(t, "gone", func() bool { return r.loop.Stats().Connections == 0 })
		if found(sid) {
			t.Error("found after its end")
		}
		r.successor(uid, sid)
	}
}

// forgedIDs returns ids that differ from sid in one thing each.
func forgedIDs(sid string, key [32]byte) map[string]string {
	n, _ := message.ParseSID(sid, &key)
	other := key
	other[0]++
	foreign, beyond := n, n
	foreign.Node++
	beyond.Shard = 7
	return map[string]string{"another key": n.Format(&other), "another node": foreign.Format(&key), "a shard that does not exist": beyond.Format(&key)}
}

// successor sees that an old id does not find another session of uid in its slot.
func (r *rig) successor(uid, sid string) {
	next := r.mustWire("/ws?uid="+uid, "")
	if _, found := r.Lookup(sid); found {
		r.t.Error("the id finds the successor in the slot")
	}
	r.deliver(message.ToSessions(sid), "for the one before")
	r.deliver(message.ToUsers(uid), "for the user")
	if _, p, err := next.frame(); err != nil || string(p) != "for the user" {
		r.t.Errorf("%q %v", p, err)
	}
	next.Close()
	eventually(r.t, "gone", func() bool { return r.loop.Stats().Connections == 0 })
}

// From the close frame on a session is not found any more, though its
// connection is still there.
func TestIDWhileClosing(t *testing.T) {
	r := newRig(t, Options{Poller: onePoller()})
	w := r.mustWire("/ws", "")
	var sid string
	r.on(0, func(h *shard) {
		slot, _ := h.ps.Next(0)
		sid = h.session(slot)
		h.closer.end(slot, ReasonIdle, "")
	})
	if _, ok := r.Lookup(sid); ok {
		t.Error("found while it closes")
	}
	r.deliver(message.ToSessions(sid), "too late")
	if texts, code, _, err := w.end(); err != nil || code != 4003 || len(texts) > 0 {
		t.Errorf("%d %q %v", code, texts, err)
	}
	w.send(gobwas.OpClose, nil)
	w.ended(t)
}
