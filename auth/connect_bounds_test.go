package auth

import (
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"belfry/session"
	"belfry/webhook"
	"belfry/ws"
)

// There are never more calls at a time than Hook.Workers, however many clients wait.
func TestHookWorkers(t *testing.T) {
	var now, most atomic.Int64
	in, out := make(chan bool, 100), make(chan bool)
	h := hookAt(t, func(w http.ResponseWriter, r *http.Request) {
		most.Store(max(most.Load(), now.Add(1)))
		in <- true
		<-out
		now.Add(-1)
		w.WriteHeader(http.StatusNoContent)
	})
	h.Workers = 3
	w := newWebhook(t, granted{grant: ann}, told(h))
	decided := make(chan outcome, 20)
	for range 20 {
		w.Authenticate(browser(t, "/ws"), func(g session.Grant, r *ws.Refusal) { decided <- outcome{g, r} })
	}
	for range 3 {
		<-in
	}
	if st := w.Stats(); st.Waiting != 17 || st.Backend.InFlight > 3 || st.Bytes < 20*jobBytes {
		t.Errorf("%+v", st)
	}
	close(out)
	for range 20 {
		(<-decided).expect(t, "decided", 0, "", "")
	}
	if n := most.Load(); n > 3 {
		t.Errorf("%d calls at a time", n)
	}
	wantDecisions(t, w.Stats(), map[string]uint64{"admitted": 20})
	w.wantEmpty(t)
}

// What becomes of each client is counted once, by its name.
func TestConnectCounts(t *testing.T) {
	for _, tc := range []struct {
		name   string
		status int
		answer string
		query  string
		next   granted
		want   string // "": nothing is counted, another authenticator has refused
	}{
		{"admitted", 204, "", "", granted{grant: ann}, "admitted"},
		{"refused", 403, "", "", granted{grant: ann}, "refused"},
		{"a bad answer", 200, "?", "", granted{grant: ann}, "bad_answer"},
		{"no answer", 500, "", "", granted{grant: ann}, "unavailable"},
		{"a topic", 204, "", "?topic=secret", granted{grant: ann}, "topic"},
		{"refused before", 204, "", "", granted{refusal: ws.Unauthorized("no")}, ""},
		{"refused before, later", 204, "", "", granted{refusal: ws.Unauthorized("no"), later: true}, ""},
	} {
		w := newWebhook(t, tc.next, told(hookAt(t, answers(tc.status, tc.answer))))
		askHook(w, browser(t, "/ws"+tc.query))
		want := map[string]uint64{tc.want: 1}
		wantDecisions(t, w.Stats(), want)
		w.wantEmpty(t)
	}
	h := hookAt(t, answers(204, ""))
	h.QueueBytes = 1 << 16
	w := newWebhook(t, nil, told(h))
	w.queue.reserve(1<<16 - jobBytes)
	askHook(w, browser(t, "/ws")).expect(t, "full", 503, session.CauseHookQueue, "queue_bytes")
	wantDecisions(t, w.Stats(), map[string]uint64{"queue": 1})
	w.queue.release(1<<16 - jobBytes)
}

// The grant of an authenticator may be everybody's: topics of one request do not reach
// the next one, even where the list has room.
func TestConnectGrantIsShared(t *testing.T) {
	shared := ann
	shared.Topics = append(make([]string, 0, 8), "news")
	w := newWebhook(t, granted{grant: shared}, told(hookAt(t, answers(204, ""))))
	one := askHook(w, browser(t, "/ws?topic=rooms.1"))
	two := askHook(w, browser(t, "/ws?topic=rooms.2"))
	if !slices.Equal(one.grant.Topics, []string{"news", "rooms.1"}) || !slices.Equal(two.grant.Topics, []string{"news", "rooms.2"}) {
		t.Errorf("%q and %q", one.grant.Topics, two.grant.Topics)
	}
}

// A backend that is down is one line in the log each minute, not one for each client, and
// the line has no secret of its URL.
func TestHookWarnsOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, lines := observer.New(zap.WarnLevel)
		b, err := webhook.New(webhook.Options{Name: "test", URLs: []string{"http://u:hush@a/?hush"}})
		if err != nil {
			t.Fatal(err)
		}
		c, err := newCaller(Hook{Backend: b, Source: "/nodes/a", Log: zap.New(core)})
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		for range 3 {
			for range 100 {
				c.warn("the webhook does not decide", "clients are refused", webhook.ErrTimeout)
			}
			time.Sleep(time.Minute + time.Nanosecond)
		}
		if lines.Len() != 3 {
			t.Errorf("%d lines", lines.Len())
		}
	})
	core, lines := observer.New(zap.WarnLevel)
	h := hookOf(t, webhook.Options{URLs: []string{"http://u:hush@127.0.0.1:1/?hush"}})
	h.Log = zap.New(core)
	askHook(newWebhook(t, nil, told(h)), browser(t, "/ws?token=hush")).expect(t, "down", 503, session.CauseHookUnavailable, "")
	for _, l := range lines.All() {
		for key, value := range l.ContextMap() {
			if text, ok := value.(string); ok && strings.Contains(text, "hush") {
				t.Errorf("%s: %s", key, text)
			}
		}
	}
	if lines.Len() != 1 {
		t.Errorf("%d lines", lines.Len())
	}
}

// A decision that is remembered, and one that finds no room, are counted.
func TestSubscribeCounts(t *testing.T) {
	h := hookAt(t, answers(200, `{"allow":true,"ttl":60}`))
	h.QueueBytes = 1 << 16
	w := newSubscribeWebhook(t, SubscribeOptions{Hook: h})
	for range 3 {
		w.may(&client, "t")
	}
	w.queue.reserve(1<<16 - jobBytes)
	if d := w.may(&client, "other"); d.is != session.Undecided {
		t.Errorf("%+v", d)
	}
	st, cached := w.Stats()
	wantDecisions(t, st, map[string]uint64{"allowed": 1, "cached": 2, "queue": 1})
	if cached != 1 || st.QueueFull != 1 {
		t.Errorf("%d remembered, %+v", cached, st)
	}
	w.queue.release(1<<16 - jobBytes)
}

// What a token grants waits with its client, and counts.
func TestConnectGrantCounts(t *testing.T) {
	for _, later := range []bool{false, true} {
		in, release := make(chan bool, 1), make(chan bool)
		h := hookAt(t, func(w http.ResponseWriter, r *http.Request) {
			in <- true
			<-release
			w.WriteHeader(http.StatusNoContent)
		})
		h.Workers, h.QueueBytes = 1, 1<<16
		large := session.Grant{UID: "ann", Topics: []string{strings.Repeat("t", 20<<10)}, Meta: []byte(`{"a":"` + strings.Repeat("m", 20<<10) + `"}`)}
		w := newWebhook(t, granted{grant: large, later: later}, told(h))
		first := make(chan outcome, 1)
		go func() { first <- askHook(w, browser(t, "/ws")) }()
		<-in
		if n := w.Stats().Bytes; n < 40<<10 {
			t.Errorf("%d bytes count", n)
		}
		askHook(w, browser(t, "/ws")).expect(t, "beyond the limit", 503, session.CauseHookQueue, "auth.webhook.queue_bytes")
		close(release)
		(<-first).expect(t, "the first", 0, "", "")
		wantDecisions(t, w.Stats(), map[string]uint64{"admitted": 1, "queue": 1})
		w.wantEmpty(t)
	}
}
