package session

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"belfry/poller"
)

// half opens a connection from an address, sends a part of a request and waits
// until the server has seen it.
func (r *rig) half(address string) *rawConn {
	r.t.Helper()
	before := r.pending.Load()
	gone := r.Stats().Limits["upgrade.max_pending"]
	w, err := r.connectFrom(address)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { w.Close() })
	io.WriteString(w, "GET ")
	eventually(r.t, "half-open", func() bool {
		return r.pending.Load() == before+1 || r.Stats().Limits["upgrade.max_pending"] > gone
	})
	return w
}

// refused reads the answer to a request and returns its status and Retry-After.
func (w *rawConn) refused(t *testing.T) (status int, after string) {
	t.Helper()
	w.SetReadDeadline(time.Now().Add(clientTimeout))
	resp, err := http.ReadResponse(w.br, nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Retry-After")
}

// An address that opens connections and sends no complete request takes places
// from itself only: its oldest connection is closed, other addresses get in.
func TestHalfOpenOfOneAddress(t *testing.T) {
	r := newRig(t, Options{MaxPending: 8, RetryAfter: 7 * time.Second, Poller: onePoller()})
	var attacker []*rawConn
	for range 40 {
		attacker = append(attacker, r.half("127.0.0.66"))
	}
	eventually(t, "the address holds half of the places", func() bool { return r.pending.Load() == 4 })
	if status, after := attacker[0].refused(t); status != 429 || after != "7" {
		t.Errorf("the oldest got %d, Retry-After %q", status, after)
	}
	for i := range 20 {
		w, err := r.connectFrom(fmt.Sprintf("127.0.1.%d", i+1))
		if err != nil {
			t.Fatal(err)
		}
		w.Write(request("/ws", ""))
		if status, err := w.answer(); err != nil || status != 101 {
			t.Fatalf("stranger %d: %d, %v", i, status, err)
		}
		w.Close()
	}
	// A stranger whose request comes in two pieces has a place too.
	slow := r.half("127.0.1.100")
	slow.Write(request("/ws", "")[4:])
	if status, err := slow.answer(); err != nil || status != 101 {
		t.Errorf("a slow stranger: %d, %v", status, err)
	}
	// So has the attacker's youngest.
	attacker[39].Write(request("/ws", "")[4:])
	if status, err := attacker[39].answer(); err != nil || status != 101 {
		t.Errorf("the youngest: %d, %v", status, err)
	}
	if st := r.Stats(); st.Limits["upgrade.max_pending"] != 36 || st.Upgrades[[2]string{"429", "half_open"}] != 36 {
		t.Errorf("%v %v", st.Limits, st.Upgrades)
	}
}

// When all places are taken and no address has too many, newcomers without a
// complete request are refused, and connections with one get in.
func TestPendingLimit(t *testing.T) {
	r := newRig(t, Options{MaxPending: 5, RetryAfter: 7 * time.Second, Poller: poller.Options{Shards: 2}})
	var half []*rawConn
	for i := range 5 {
		half = append(half, r.half(fmt.Sprintf("127.0.2.%d", i+1)))
	}
	late := r.half("127.0.2.100")
	if status, after := late.refused(t); status != 503 || after != "7" {
		t.Fatal(status, after)
	}
	r.mustWire("/ws", "").Close()
	half[0].Close()
	eventually(t, "room again", func() bool { return r.pending.Load() == 4 })
	half[1].Write(request("/ws", "")[4:]) // the rest
	if status, err := half[1].answer(); err != nil || status != 101 {
		t.Error(status, err)
	}
	if st := r.Stats(); st.Limits["upgrade.max_pending"] != 1 || st.Upgrades[[2]string{"503", "half_open"}] != 1 {
		t.Errorf("%v %v", st.Limits, st.Upgrades)
	}
}

// Upgrades that wait for the authenticator have a limit of their own: they
// take no places from connections without a request, nor the other way round.
func TestWaitingLimit(t *testing.T) {
	auth := make(lateAuth, 10)
	r := newRig(t, Options{MaxPending: 2, MaxWaiting: 3, Authenticator: auth, Poller: onePoller()})
	r.half("127.0.2.1")
	r.half("127.0.2.2")
	var all []*rawConn
	for range 4 {
		w, _ := r.connect()
		defer w.Close()
		w.Write(request("/ws", ""))
		all = append(all, w)
		eventually(t, "asked", func() bool { return len(auth) == len(all) })
	}
	if status, after := all[3].refused(t); status != 503 || after != "5" {
		t.Error(status, after)
	}
	eventually(t, "three wait", func() bool { return r.Stats().Waiting == 3 })
	for range 4 {
		go (<-auth)(Grant{}, nil)
	}
	for _, w := range all[:3] {
		if status, err := w.answer(); err != nil || status != 101 {
			t.Error(status, err)
		}
	}
	if st := r.Stats(); st.Limits["upgrade.max_waiting"] != 1 || st.Limits["upgrade.max_pending"] != 0 || st.Upgrades[[2]string{"503", "pending"}] != 1 {
		t.Errorf("%v %v", st.Limits, st.Upgrades)
	}
}

// A connection whose request came with the accept is never in the table of
// half-open ones, and its address is not asked for.
func TestCompleteRequestCostsNoPlace(t *testing.T) {
	r := newRig(t, Options{Poller: onePoller()})
	for range 10 {
		r.mustWire("/ws", "")
	}
	if n := r.Stats().HalfOpened; n != 0 {
		t.Errorf("%d of 10 were half-open", n)
	}
	r.on(0, func(h *shard) {
		if n := h.remotes.all.Len(); n != 0 {
			t.Errorf("%d addresses are kept", n)
		}
	})
}

// The list of half-open connections against a plain model of it.
func TestHalfOpenTable(t *testing.T) {
	var table halfOpen
	o := Options{MaxPending: 64}
	if err := table.init(&o); err != nil {
		t.Fatal(err)
	}
	defer table.close()
	byKey := map[addrKey][]uint32{} // indices, oldest first
	slots := map[uint32]uint32{}
	check := func() {
		t.Helper()
		for key, list := range byKey {
			slot, n := table.oldest(key)
			if n != len(list) || n > 0 && slot != slots[list[0]] {
				t.Fatalf("address %d: oldest %d of %d; want %v", key, slot, n, list)
			}
		}
	}
	slot := uint32(0)
	for step := range 5000 {
		key := addrKey(step*7%5 + 1)
		if list := byKey[key]; len(list) > 0 && step*step%3 != 0 {
			i := step % len(list)
			table.drop(list[i])
			byKey[key] = append(list[:i:i], list[i+1:]...)
		} else if table.all.Len() < 64 {
			slot++
			index, ok := table.put(slot, key)
			if !ok {
				t.Fatal("full")
			}
			byKey[key] = append(byKey[key], index)
			slots[index] = slot
		} else if _, ok := table.put(slot, key); ok {
			t.Fatal("more than there is room for")
		}
		check()
	}
	for _, list := range byKey {
		for _, index := range list {
			table.drop(index)
		}
	}
	if table.all.Len()+table.addresses.Len()+table.table.Len() != 0 {
		t.Errorf("%d connections, %d addresses, %d entries are left", table.all.Len(), table.addresses.Len(), table.table.Len())
	}
}

var _ poller.HalfOpener = (*shard)(nil)
