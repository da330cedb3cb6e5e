package session

import (
	"encoding/binary"
	"strings"
	"testing"

	gobwas "github.com/gobwas/ws"

	"belfry/ws"
)

// A client that asked for a subprotocol of the server learns by a close code that its
// credentials were refused: a web page cannot see the status. Others get the status.
func TestRefusedByCloseCode(t *testing.T) {
	w := newWallet(map[string]Grant{"two": {Topics: []string{"a", "b"}}, "one": {UID: "u"}})
	w.refuses["forbidden"] = ws.Forbidden("you are banned").WithCause(CauseUID)
	w.refuses["busy"] = ws.Unavailable("later", 1)
	r := walletRig(t, Options{MaxTopics: 1, MaxPerUser: 1, RefuseNewest: true}, w)
	held := r.v1("/ws?token=one")
	for _, tt := range []struct {
		token, subprotocol string
		status             int
		code               uint16
		bye                string
	}{
		{"wrong", "belfry.v1", 101, 4401, `"code":4401,"reason":"unauthorized","reconnect":false`},
		{"forbidden", "belfry.v1", 101, 4403, `"code":4403,"reason":"forbidden","reconnect":false`},
		{"two", "belfry.v1", 101, 4403, `"forbidden"`},
		{"one", "belfry.v1", 101, 4006, `"user_sessions"`},
		{"wrong", "", 401, 0, ""},
		{"forbidden", "", 403, 0, ""},
		{"one", "", 429, 0, ""},
		{"wrong", "other", 401, 0, ""},
		{"busy", "belfry.v1", 503, 0, ""},
	} {
		c, err := r.connect()
		if err != nil {
			t.Fatal(err)
		}
		c.Write(append(request("/ws?token="+tt.token, tt.subprotocol), maskedPing()...))
		status, err := c.answer()
		if err != nil || status != tt.status {
			t.Errorf("%+v: %d, %v", tt, status, err)
		}
		if tt.code != 0 {
			op, bye, err := c.frame()
			if err != nil || op != gobwas.OpText || !strings.Contains(string(bye), tt.bye) {
				t.Errorf("%+v: %v %s %v", tt, op, bye, err)
			}
			op, p, err := c.frame()
			if err != nil || op != gobwas.OpClose || binary.BigEndian.Uint16(p) != tt.code || len(p) < 8 {
				t.Errorf("%+v: %v %q %v", tt, op, p, err)
			}
			if op, p, err := c.frame(); err == nil {
				t.Errorf("%+v: then %v %q", tt, op, p)
			}
		}
		c.Close()
	}
	held.Close()
	r.nothingLeft()
	st := r.Stats()
	if st.Upgrades[[2]string{"401", "uid"}] != 3 || st.Upgrades[[2]string{"403", "uid"}] != 2 || st.Upgrades[[2]string{"101", "none"}] != 1 {
		t.Errorf("%v", st.Upgrades)
	}
	if st.Limits["session.max_topics"] != 1 || st.Limits["session.max_per_user"] != 2 {
		t.Errorf("%v", st.Limits)
	}
	if st.Closed["unauthorized"] != 1 || st.Closed["forbidden"] != 2 || st.Closed["user_sessions"] != 1 || st.Deliveries != 0 || st.PingsIn != 0 {
		t.Errorf("%v, %d deliveries, %d pings", st.Closed, st.Deliveries, st.PingsIn)
	}
}

// maskedPing is the frame of a client's ping.
func maskedPing() []byte { return []byte{0x89, 0x80, 0, 0, 0, 0} }
