package auth

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"belfry/session"
)

func newSubscribeWebhook(t testing.TB, o SubscribeOptions) *SubscribeWebhook {
	t.Helper()
	w, err := NewSubscribeWebhook(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// may returns the decision about a topic.
func (w *SubscribeWebhook) may(c *session.Client, topic string) subscribeDecision {
	done := make(chan subscribeDecision, 1)
	w.MaySubscribe(c, topic, func(d session.Decision, detail string) { done <- subscribeDecision{d, detail} })
	return <-done
}

// The body is that of docs/webhooks.md.
func TestSubscribeBody(t *testing.T) {
	handler, got := recording()
	w := newSubscribeWebhook(t, SubscribeOptions{Hook: hookAt(t, handler)})
	if d := w.may(&client, "rooms.7"); d.is != session.Permitted {
		t.Errorf("%+v", d)
	}
	r := <-got
	if want := documented(t, "subscribe"); r.body != want {
		t.Errorf("got  %s\nwant %s", r.body, want)
	}
	for name, want := range map[string]string{"Ce-Type": "belfry.session.subscribe", "Ce-Uid": "ann", "Ce-Sid": "s1", "Ce-Topic": "rooms.7"} {
		if got := r.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestSubscribeAnswers(t *testing.T) {
	const unavailable = "the service that decides about this topic does not answer; try again"
	const invalid = "the service that decides about this topic gives an answer that is not valid; try again"
	for _, tc := range []struct {
		status int
		answer string
		want   subscribeDecision
		count  string
	}{
		{200, ``, subscribeDecision{is: session.Permitted}, "allowed"},
		{200, `{"allow":true}`, subscribeDecision{is: session.Permitted}, "allowed"},
		{200, `{"allow":false,"reason":"members only"}`, subscribeDecision{session.Denied, "members only"}, "refused"},
		{200, `{"allow":"yes"}`, subscribeDecision{session.Undecided, invalid}, "bad_answer"},
		{200, `{"alow":true}`, subscribeDecision{session.Undecided, invalid}, "bad_answer"},
		{200, `{}`, subscribeDecision{session.Undecided, invalid}, "bad_answer"},
		{200, `{"allow":true,"ttl":-1}`, subscribeDecision{session.Undecided, invalid}, "bad_answer"},
		{200, `{"allow":true,"for":"all"}`, subscribeDecision{session.Undecided, invalid}, "bad_answer"},
		{200, `<html>`, subscribeDecision{session.Undecided, invalid}, "bad_answer"},
		{403, ``, subscribeDecision{is: session.Denied}, "refused"},
		{401, `{"reason":"log in"}`, subscribeDecision{session.Denied, "log in"}, "refused"},
		{404, `{"allow":true,"reason":"no such room"}`, subscribeDecision{session.Denied, "no such room"}, "refused"},
		{403, `<html>`, subscribeDecision{is: session.Denied}, "refused"},
		{400, ``, subscribeDecision{session.Undecided, unavailable}, "unavailable"},
		{500, `{"allow":true}`, subscribeDecision{session.Undecided, unavailable}, "unavailable"},
		{302, ``, subscribeDecision{session.Undecided, unavailable}, "unavailable"},
	} {
		w := newSubscribeWebhook(t, SubscribeOptions{Hook: hookAt(t, answers(tc.status, tc.answer))})
		if got := w.may(&client, "t"); got != tc.want {
			t.Errorf("%d %s: %+v, want %+v", tc.status, tc.answer, got, tc.want)
		}
		st, _ := w.Stats()
		wantDecisions(t, st, map[string]uint64{tc.count: 1})
		w.wantEmpty(t)
	}
}

// Decisions are remembered for the stated time, for the user or for everybody.
func TestSubscribeCache(t *testing.T) {
	other, nobody := client, client
	other.UID, nobody.UID = "bob", ""
	for _, tc := range []struct {
		status              int
		answer, control     string
		same, other, nobody bool // whether the second question is answered without a call
	}{
		{200, `{"allow":true}`, "", false, false, false},
		{200, `{"allow":true,"ttl":60}`, "", true, false, false},
		{200, `{"allow":false,"ttl":"1m"}`, "", true, false, false},
		{200, `{"allow":true,"ttl":60,"for":"everybody"}`, "", true, true, true},
		{200, `{"allow":true,"for":"everybody"}`, "", false, false, false},
		{200, ``, "max-age=60", true, false, false},
		{200, ``, "public, Max-Age=60", true, false, false},
		{200, ``, "max-age=60, no-store", false, false, false},
		{200, `{"allow":true,"ttl":0}`, "max-age=60", false, false, false},
		{403, ``, "max-age=60", true, false, false},
		{500, ``, "max-age=60", false, false, false},
	} {
		for _, second := range []struct {
			first, then *session.Client
			cached      bool
		}{{&client, &client, tc.same}, {&client, &other, tc.other}, {&nobody, &nobody, tc.nobody}} {
			calls := make(chan bool, 8)
			w := newSubscribeWebhook(t, SubscribeOptions{Hook: hookAt(t, func(w http.ResponseWriter, r *http.Request) {
				calls <- true
				w.Header().Set("Cache-Control", tc.control)
				answers(tc.status, tc.answer)(w, r)
			})})
			one, two := w.may(second.first, "t"), w.may(second.then, "t")
			if one != two || (len(calls) == 1) != second.cached {
				t.Errorf("%d %s %q: %s, then %s: %+v, %+v after %d calls", tc.status, tc.answer, tc.control, second.first.UID, second.then.UID, one, two, len(calls))
			}
			before := len(calls)
			if w.may(second.then, "other"); len(calls) != before+1 {
				t.Error("another topic got the same decision")
			}
		}
	}
}

func TestDecisionCache(t *testing.T) {
	c, now := decisionCache{most: 3}, time.Unix(1000, 0)
	yes := subscribeDecision{is: session.Permitted}
	put := func(topic string, until int64) { c.put(decisionKey{uid: "u", topic: topic}, yes, time.Unix(until, 0)) }
	has := func(topic string) bool { _, ok := c.get("u", topic, now); return ok }
	for _, topic := range []string{"a", "b", "c"} {
		put(topic, 1010)
	}
	if !has("a") {
		t.Error("a is gone")
	}
	put("d", 1010)
	if has("b") || !has("a") || !has("c") || !has("d") {
		t.Error("the one that was not used for the longest time should be gone, and only that one")
	}
	put("a", 1020)
	now = time.Unix(1010, 0)
	if has("c") || !has("a") {
		t.Error("the time of a is not over, that of c is")
	}
	if entries, hits := c.load(); entries != 2 || hits != 5 || c.used.Len() != 2 {
		t.Errorf("%d entries, %d hits", entries, hits)
	}
	none := decisionCache{}
	none.put(decisionKey{uid: "u", topic: "a"}, yes, time.Unix(2000, 0))
	if entries, _ := none.load(); entries != 0 {
		t.Error("remembered although none may be")
	}
	c = decisionCache{most: 3}
	c.put(decisionKey{topic: "a"}, yes, time.Unix(2000, 0))
	if entries, _ := c.load(); entries != 0 {
		t.Error("a decision about a client without a user takes room, although it is never used again")
	}
}

// The cache takes no decision for longer than it may.
func TestSubscribeCacheTime(t *testing.T) {
	w := newSubscribeWebhook(t, SubscribeOptions{Hook: hookAt(t, answers(200, `{"allow":true,"ttl":"24h"}`)), CacheTime: time.Minute})
	w.may(&client, "t")
	if _, ok := w.cache.get("ann", "t", time.Now().Add(59*time.Second)); !ok {
		t.Error("not remembered")
	}
	if _, ok := w.cache.get("ann", "t", time.Now().Add(61*time.Second)); ok {
		t.Error("remembered for longer than Options.CacheTime")
	}
}

// Beyond the limit of what waits, clients are told at once.
func TestSubscribeQueueFull(t *testing.T) {
	release := make(chan bool)
	h := hookAt(t, func(w http.ResponseWriter, r *http.Request) { <-release })
	h.Workers, h.QueueBytes = 1, 1<<16
	w := newSubscribeWebhook(t, SubscribeOptions{Hook: h})
	decided := make(chan subscribeDecision, 1000)
	asked := 0
	for ; ; asked++ {
		if _, _, full := w.queue.load(); full > 0 {
			break
		}
		w.MaySubscribe(&client, fmt.Sprint("t", asked), func(d session.Decision, detail string) { decided <- subscribeDecision{d, detail} })
	}
	if d := <-decided; d.is != session.Undecided || d.reason != "too many clients wait for a decision (auth.subscribe_webhook.queue_bytes); try again" {
		t.Errorf("%+v", d)
	}
	close(release)
	for range asked - 1 {
		if d := <-decided; d.is != session.Permitted {
			t.Errorf("%+v", d)
		}
	}
	w.wantEmpty(t)
}

func TestSubscribeClose(t *testing.T) {
	in := make(chan bool)
	h := hookAt(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // else the server does not notice that the client has gone
		in <- true
		<-r.Context().Done()
	})
	w, err := NewSubscribeWebhook(SubscribeOptions{Hook: h})
	if err != nil {
		t.Fatal(err)
	}
	decided := make(chan subscribeDecision, 1)
	w.MaySubscribe(&client, "t", func(d session.Decision, detail string) { decided <- subscribeDecision{d, detail} })
	<-in
	w.Close()
	if d := <-decided; d.is != session.Undecided || d.reason != "this server stops; try again" {
		t.Errorf("%+v", d)
	}
}
