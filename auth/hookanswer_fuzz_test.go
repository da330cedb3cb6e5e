package auth

import (
	"net/http"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"belfry/session"
	"belfry/webhook"
)

// Whatever a backend answers, reading it does not panic; a reason is one short line,
// and a decision is remembered for no negative time.
func FuzzHookAnswer(f *testing.F) {
	for _, seed := range []string{``, `{}`, `{"uid":"a","topics":["b"],"subscribe":["c.*"],"meta":{},"expires":1,"limits":{"idle":"5s"},"device_class":"tv"}`,
		`{"allow":true,"ttl":"1m","for":"everybody","reason":"\u0000\ud800"}`, `{"reason":"` + "\xff" + `"}`, `[`, `{"expires":1e400}`} {
		f.Add(200, seed)
		f.Add(403, seed)
	}
	f.Fuzz(func(t *testing.T, status int, body string) {
		answer := &webhook.Answer{Status: status, Header: http.Header{"Cache-Control": {body}}, Body: []byte(body)}
		if g, err := readGrant(answer, session.Grant{}); err == nil && len(g.Meta) > session.MaxMeta {
			t.Errorf("meta of %d bytes", len(g.Meta))
		} else if err == nil && session.CheckDeviceClass(g.DeviceClass) != nil {
			t.Errorf("device class %q", g.DeviceClass)
		}
		if age := maxAge(answer.Header); age < 0 {
			t.Errorf("max-age %v", age)
		}
		if a, err := readSubscription(answer); err == nil && (a.ttl < 0 || a.ttl > 1<<31*time.Second || a.is == session.Undecided || a.is == session.Permitted && status/100 != 2) {
			t.Errorf("%+v", a)
		}
		reason := readReason([]byte(body))
		if len(reason) > maxReason || !utf8.ValidString(reason) {
			t.Errorf("reason %q", reason)
		}
		for _, r := range reason {
			if !unicode.IsPrint(r) {
				t.Errorf("reason %q", reason)
			}
		}
	})
}
