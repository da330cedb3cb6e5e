package push

import (
	"testing"
	"time"

	"belfry/message"
)

// ttl and spread come to the message, from the query and from lines; what is wrong is named.
func TestTTLAndSpread(t *testing.T) {
	_, ts, rec := start(t, Options{})
	begun := time.Now()
	for _, push := range []func() answer{
		func() answer { return post(t, ts, "/v1/topics/a?ttl=1h&spread=1500ms", "x") },
		func() answer {
			return post(t, ts, "/v1/batch", `{"to":{"topic":"a"},"text":"x","ttl":"1h","spread":"1.5s"}`)
		},
		func() answer { return post(t, ts, "/v1/topics/a?ttl=1h&spread=1500ms", "x", "Idempotency-Key: k") },
	} {
		if a := push(); a.StatusCode > 202 {
			t.Fatal(a.StatusCode, a.body)
		}
		m := rec.last(t)
		if m.Spread != 1500*time.Millisecond || m.Expires.Before(begun.Add(time.Hour)) || m.Expires.After(time.Now().Add(time.Hour)) {
			t.Errorf("%+v", m)
		}
	}
	for query, field := range map[string]string{
		"ttl=0s": "ttl", "ttl=5": "ttl", "ttl=25h": "ttl", "ttl=-1s": "ttl", "spread=99ms": "spread", "spread=2h": "spread", "spread=x": "spread", "spread=-1s": "spread",
		"spread=1s&wait=1s": "spread", "spread=0s": "spread",
	} {
		if p := post(t, ts, "/v1/all?"+query, "x").problem(t); p.Status != 400 || p.Field != field {
			t.Errorf("%s: %+v", query, p)
		}
	}
	for _, to := range []message.Target{message.ToUsers("u"), message.ToSessions(testSID)} {
		m := message.Message{Target: to, Spread: time.Second}
		if err := m.Check(10); err == nil {
			t.Errorf("%v can be spread", to)
		}
	}
	a := parseAnswers(t, post(t, ts, "/v1/batch", `{"to":{"topic":"a"},"text":"x","ttl":5}`+"\n"+`{"to":{"topic":"a"},"text":"x","spread":"5"}`).body)
	if len(a) != 2 || a[0].Error.Field != "ttl" || a[1].Error.Field != "spread" {
		t.Errorf("%+v", a)
	}
}
