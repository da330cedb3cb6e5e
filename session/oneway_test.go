package session

import (
	"testing"
	"time"

	"belfry/message"
	"belfry/wire"
)

// A client that cannot answer is pinged by the silence of what is sent to it,
// never asked for a pong, may be silent for ever, and is not waited for when
// the server ends its session.
func TestTransportThatCannotAnswer(t *testing.T) {
	e := new(byPath).add("/mute", prefixed{name: "mute", mute: true}, lines{"mute"}).add("/lp", prefixed{name: "prefixed"}, lines{"lines"})
	r := newRig(t, Options{Poller: onePoller(), Endpoints: []wire.Endpoint{e},
		PingInterval: 10 * time.Second, PongTimeout: 5 * time.Second, IdleRead: 30 * time.Second, CloseTime: time.Hour})
	mute, _ := r.lp("/mute?uid=u&topic=t")
	mute.want("thello u  [t]")
	for range 20 { // it is sent something every 3 s: no need for a ping
		r.ticks(3)
		r.deliver(message.ToTopics("t"), "news")
		mute.want("tmute: news")
	}
	if st := r.Stats(); st.PingsOut != 0 || st.Sessions != 1 {
		t.Errorf("%d pings, %d sessions", st.PingsOut, st.Sessions)
	}
	for range 6 { // nothing is sent, and nothing comes
		r.ticks(10)
		mute.want("?")
	}
	r.on(0, func(h *shard) {
		slot, _ := h.ps.Next(0)
		if h.rec(slot).flags&flagPinged != 0 {
			t.Error("a pong is awaited")
		}
		h.end(slot, ReasonReplaced, "")
	})
	mute.want("tbye user_sessions", "x4006 too many sessions of this user false 0s")
	mute.ends()
	r.nothingLeft()

	// One that can answer and does not is told so, and its answer is awaited.
	c, _ := r.lp("/lp?uid=u")
	c.want("thello u  []")
	r.ticks(16)
	c.want("?", "tbye pong_timeout", "x4000 ping not answered in time true 0s")
	r.ticks(60)
	if n := r.loop.Stats().Connections; n != 1 {
		t.Errorf("%d connections while the answer is awaited", n)
	}
	c.say(prefixedClose, "")
	c.ends()
	r.nothingLeft()
}
