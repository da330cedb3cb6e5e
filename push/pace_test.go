package push

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"belfry/message"
)

// A push waits where its receivers are behind, before it is published, and a
// batch line by line.
func TestPushesArePaced(t *testing.T) {
	var asked []message.Target
	behind := false
	var rec *recorder
	published := func() int { return len(rec.all()) }
	var before, done []int // how many were published then
	s, ts, r := start(t, Options{
		Limits: Limits{PushWait: 7 * time.Second},
		Pace: func(ctx context.Context, to message.Target, wait time.Duration, most int) (bool, func(), error) {
			if wait != 7*time.Second || ctx.Err() != nil {
				t.Errorf("wait %v, %v", wait, ctx.Err())
			}
			asked, before = append(asked, to), append(before, published())
			return behind, func() { done = append(done, published()) }, nil
		},
	})
	rec = r
	post(t, ts, "/v1/users/u1", "x")
	behind = true
	if a := post(t, ts, "/v1/users/u2", "x"); a.StatusCode != http.StatusAccepted {
		t.Errorf("%d", a.StatusCode)
	}
	post(t, ts, "/v1/batch", `{"to":{"user":"u3"},"text":"x"}`+"\n"+`{"to":{"topic":"t"},"text":"x"}`+"\n")
	if len(asked) != 4 || asked[2].Names[0] != "u3" || before[0] != 0 || before[1] != 1 || before[3] != 3 {
		t.Errorf("asked for %v, after %v were published", asked, before)
	}
	if !slices.Equal(done, []int{1, 2, 3, 4}) {
		t.Errorf("places were given back when %v were published, want 1, 2, 3, 4", done)
	}
	if n := s.Stats().Paced; n != 3 {
		t.Errorf("%d paced, want 3", n)
	}
}

// Where too many wait already a push is refused at once, and counted; it is not
// published.
func TestTooManyWait(t *testing.T) {
	s, ts, rec := start(t, Options{
		Limits: Limits{MaxRequests: 9},
		Pace: func(ctx context.Context, to message.Target, wait time.Duration, most int) (bool, func(), error) {
			if most != 4 {
				t.Errorf("%d may wait", most)
			}
			return false, func() {}, &message.OverloadedError{What: "the queue is full"}
		},
	})
	a := post(t, ts, "/v1/users/u1", "x")
	if p := a.problem(t); p.Type != CauseOverloaded.Type() || a.Header.Get("Retry-After") != "1" || p.Detail != "overloaded: the queue is full; nothing was delivered, so a retry doubles nothing" {
		t.Errorf("%+v", p)
	}
	if st := s.Stats(); st.PaceRefused != 1 || st.Paced != 0 || len(rec.all()) != 0 {
		t.Errorf("%d refused, %d paced, %d published", st.PaceRefused, st.Paced, len(rec.all()))
	}
}
