package auth

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"belfry/session"
	"belfry/webhook"
	"belfry/ws"
)

// seen is a call as the backend gets it.
type seen struct {
	header http.Header
	body   string
}

// recording returns a handler that admits everybody, and what it was sent.
func recording() (http.HandlerFunc, <-chan seen) {
	got := make(chan seen, 16)
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- seen{r.Header, string(body)}
		w.WriteHeader(http.StatusNoContent)
	}, got
}

func told(h Hook) WebhookOptions {
	return WebhookOptions{Hook: h, Headers: []string{"accept-language", "x-none"}, Cookies: []string{"session"}, Subscribe: []string{"public.*"}}
}

// The bodies are those of docs/webhooks.md.
func TestConnectBody(t *testing.T) {
	handler, got := recording()
	h := hookAt(t, handler)
	w := newWebhook(t, granted{grant: ann}, told(h))
	askHook(w, browser(t, "/ws?token=secret&topic=rooms.7&%74oken=secret&lang=de")).expect(t, "connect", 0, "", "")
	r := <-got
	if want := documented(t, "connect"); r.body != want {
		t.Errorf("got  %s\nwant %s", r.body, want)
	}
	for name, want := range map[string]string{"Ce-Type": "belfry.session.connect", "Ce-Source": "/nodes/a", "Ce-Uid": "ann", "Content-Type": "application/json"} {
		if got := r.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if strings.Contains(r.body, "secret") {
		t.Error("the token was passed on")
	}

	alone := newWebhook(t, nil, WebhookOptions{Hook: h, Headers: []string{"authorization"}})
	askHook(alone, browser(t, "/ws?token=secret")).expect(t, "alone", 0, "", "")
	const want = `{"event":"connect","address":"192.0.2.7:51034","path":"/ws","query":"token=secret","headers":{"authorization":["Bearer secret"]},"cookies":{},"agent":"Mozilla/5.0","encoding":"belfry.v1"}`
	if r := <-got; r.body != want || r.header["Ce-Uid"] != nil {
		t.Errorf("got  %s\nwant %s", r.body, want)
	}

	loginOf := func(w *Webhook) outcome {
		return waitFor(func(later func(session.Grant, *ws.Refusal)) (session.Grant, *ws.Refusal, bool) {
			return w.Login(&client, []byte("secret"), later)
		})
	}
	loginOf(alone).expect(t, "login", 0, "", "")
	r = <-got
	if want := documented(t, "login"); r.body != want || r.header.Get("Ce-Type") != "belfry.session.login" {
		t.Errorf("got  %s %s\nwant %s", r.header.Get("Ce-Type"), r.body, want)
	}
	if o := loginOf(w); o.grant.UID != "ann" {
		t.Errorf("%+v", o)
	}
	if r := <-got; strings.Contains(r.body, "secret") || !strings.HasPrefix(r.body, `{"event":"login","uid":"ann","grant":{`) {
		t.Errorf("login with a token: %s", r.body)
	}
}

func TestConnectAnswers(t *testing.T) {
	always := func(session.Grant) bool { return true }
	for _, tc := range []struct {
		status int
		answer string
		want   int // status of the refusal; 0: admitted
		cause  ws.Cause
		says   string
		grant  func(session.Grant) bool
	}{
		{status: 204, grant: func(g session.Grant) bool {
			return g.UID == "ann" && slices.Equal(g.Topics, ann.Topics) && g.Expires.Equal(ann.Expires)
		}},
		{status: 200, answer: " \n", grant: func(g session.Grant) bool { return g.UID == "ann" && g.Issued.Equal(issued) }},
		{status: 200, answer: `{}`, grant: func(g session.Grant) bool { return g.UID == "ann" && string(g.Meta) == string(ann.Meta) }},
		{status: 201, answer: `{"uid":"bob","topics":[],"publish":["a"],"meta":{"n":1},"uid2":null}`, want: 503, cause: session.CauseHookAnswer},
		{status: 201, answer: `{"uid":"bob","topics":[],"subscribe":"x.*","publish":["a"],"meta":{"n":1}}`, grant: func(g session.Grant) bool {
			return g.UID == "bob" && len(g.Topics) == 0 && slices.Equal(g.Subscribe, []string{"x.*"}) && slices.Equal(g.Publish, []string{"a"}) && string(g.Meta) == `{"n":1}`
		}},
		{status: 200, answer: `{"uid":"","expires":1900000000,"limits":{"topics":3,"idle":"2m"}}`, grant: func(g session.Grant) bool {
			return g.UID == "" && g.Expires.Unix() == 1900000000 && g.Limits.Topics == 3 && g.Limits.Idle == 2*time.Minute
		}},
		{status: 200, answer: `{"expires":"2030-01-31T12:00:00Z"}`, grant: func(g session.Grant) bool { return g.Expires.Unix() == 1896091200 }},
		{status: 200, answer: `{"uid":null,"expires":null}`, grant: func(g session.Grant) bool { return g.UID == "ann" && g.Expires.Equal(ann.Expires) }},
		{status: 200, answer: `{"uid":7}`, want: 503, cause: session.CauseHookAnswer},
		{status: 200, answer: `{"expires":"tomorrow"}`, want: 503, cause: session.CauseHookAnswer},
		{status: 200, answer: `{"expires":"0001-01-01T00:00:00Z"}`, want: 503, cause: session.CauseHookAnswer},
		{status: 200, answer: `{"device_class":"phone"}`, grant: func(g session.Grant) bool { return g.UID == "ann" && g.DeviceClass == "phone" }},
		{status: 200, answer: `{"device_class":null}`, grant: func(g session.Grant) bool { return g.DeviceClass == "" }},
		{status: 200, answer: `{"device_class":""}`, want: 503, cause: session.CauseHookAnswer},
		{status: 200, answer: `{"device_class":"a phone"}`, want: 503, cause: session.CauseHookAnswer},
		{status: 200, answer: `{"limits":{"topics":-3}}`, want: 503, cause: session.CauseHookAnswer},
		{status: 200, answer: `{"uid":"a","uid":"b"}`, want: 503, cause: session.CauseHookAnswer},
		{status: 200, answer: `<html>ok</html>`, want: 503, cause: session.CauseHookAnswer},
		{status: 200, answer: "\xff\xfe\x00", want: 503, cause: session.CauseHookAnswer},
		{status: 200, answer: `{"meta":"no object"}`, want: 503, cause: session.CauseHookAnswer},
		{status: 401, want: 401, cause: session.CauseHookRefused, says: "auth.webhook"},
		{status: 403, answer: `{"reason":"no seat left"}`, want: 403, cause: session.CauseHookRefused, says: "no seat left"},
		{status: 403, answer: `{"reason":"two\r\nlines \u0000"}`, want: 403, cause: session.CauseHookRefused, says: "two  lines"},
		{status: 403, answer: `{"reason":"` + strings.Repeat("é", 200) + `"}`, want: 403, cause: session.CauseHookRefused, says: strings.Repeat("é", 60)},
		{status: 403, answer: `<html>`, want: 403, cause: session.CauseHookRefused},
		{status: 403, answer: `{"reason":7}`, want: 403, cause: session.CauseHookRefused},
		{status: 400, want: 503, cause: session.CauseHookUnavailable},
		{status: 404, want: 503, cause: session.CauseHookUnavailable},
		{status: 302, want: 503, cause: session.CauseHookUnavailable},
		{status: 500, want: 503, cause: session.CauseHookUnavailable},
		{status: 200, answer: strings.Repeat(" ", 10<<20), want: 503, cause: session.CauseHookUnavailable},
	} {
		what := tc.answer[:min(len(tc.answer), 80)]
		for _, later := range []bool{false, true} {
			w := newWebhook(t, granted{grant: ann, later: later}, told(hookAt(t, answers(tc.status, tc.answer))))
			o := askHook(w, browser(t, "/ws"))
			o.expect(t, what, tc.want, tc.cause, tc.says)
			if tc.want == 0 && o.refusal == nil && !orElse(tc.grant, always)(o.grant) {
				t.Errorf("%d %s: %+v", tc.status, what, o.grant)
			}
			if o.refusal != nil && (len(o.refusal.Detail) > 160 || strings.ContainsAny(o.refusal.Detail, "\r\n\x00")) {
				t.Errorf("%d %s: %q", tc.status, what, o.refusal.Detail)
			}
			if r := o.refusal; r != nil && r.Status == 503 && r.RetryAfter == 0 {
				t.Errorf("%d %s: 503 without Retry-After", tc.status, what)
			}
			w.wantEmpty(t)
		}
	}
}

func orElse[T any](f, other func(T) bool) func(T) bool {
	if f == nil {
		return other
	}
	return f
}

// Topics that the request asks for need a permission of everybody, of the token or
// of the webhook.
func TestConnectTopics(t *testing.T) {
	for _, tc := range []struct {
		next          session.LoginAuthenticator
		answer, query string
		topics        []string
		want          int
	}{
		{granted{grant: ann}, `{}`, "topic=rooms.7", []string{"news", "rooms.7"}, 0},
		{granted{grant: ann}, `{}`, "topic=public.a&topic=news", []string{"news", "public.a"}, 0},
		{granted{grant: ann}, `{}`, "topic=secret", nil, 403},
		{granted{grant: ann}, `{"subscribe":["secret"]}`, "topic=secret", []string{"news", "secret"}, 0},
		{granted{grant: ann}, `{"subscribe":["secret"]}`, "topic=rooms.7", nil, 403},
		{granted{grant: ann}, `{"subscribe":["inbox.{uid}"]}`, "topic=inbox.ann", []string{"news", "inbox.ann"}, 0},
		{granted{grant: ann}, `{"subscribe":["inbox.{uid}"]}`, "topic=inbox.bob", nil, 403},
		{granted{grant: ann}, `{"subscribe":["*.a"]}`, "topic=b.a", nil, 403}, // no valid pattern; the door refuses the grant as well
		{nil, ``, "topic=public.a", []string{"public.a"}, 0},
		{nil, ``, "topic=news", nil, 403},
		{nil, ``, "Topic=public.a", nil, 400},
		{nil, ``, "topic=a+b", nil, 400},
	} {
		w := newWebhook(t, tc.next, told(hookAt(t, answers(200, tc.answer))))
		o := askHook(w, browser(t, "/ws?"+tc.query))
		o.expect(t, tc.query, tc.want, session.CauseTopic, "opic")
		if !slices.Equal(o.grant.Topics, tc.topics) {
			t.Errorf("%s %s: topics %q, want %q", tc.answer, tc.query, o.grant.Topics, tc.topics)
		}
	}
	if !slices.Equal(ann.Topics, []string{"news"}) {
		t.Errorf("the grant was changed: %q", ann.Topics)
	}
}

// The token decides first, and the webhook sees what it grants.
func TestConnectAfterToken(t *testing.T) {
	handler, got := recording()
	a := start(t, Options{JWT: JWT{Secret: secret}, LeaveTopics: true})
	w := newWebhook(t, a, told(hookAt(t, handler)))
	token := signed(t, "HS256", "", with(map[string]any{"subscribe": []string{"rooms.*"}}))
	o := askHook(w, attempt(t, "/ws?topic=rooms.7&topic=public.x", bearerLine(token)))
	o.expect(t, "good token", 0, "", "")
	if !slices.Equal(o.grant.Topics, []string{"rooms.7", "public.x"}) || o.grant.UID != "ann" {
		t.Errorf("%+v", o.grant)
	}
	if r := <-got; strings.Contains(r.body, token) || !strings.Contains(r.body, `"uid":"ann"`) {
		t.Errorf("%s", r.body)
	}
	askHook(w, attempt(t, "/ws", "")).expect(t, "no token", 401, session.CauseTokenMissing, "")
	askHook(w, attempt(t, "/ws", bearerLine(token+"x"))).expect(t, "bad token", 401, session.CauseTokenSignature, "")
	if len(got) != 0 {
		t.Error("the webhook was asked about a client without a valid token")
	}
	w.wantEmpty(t)
	wantDecisions(t, w.Stats(), map[string]uint64{"admitted": 1})
}

// silent accepts connections and never answers; what it is for is up to the test.
func silent(t testing.TB, serve func(net.Conn)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open []net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open = append(open, c)
			go serve(c)
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
		for _, c := range open {
			c.Close()
		}
	})
	return "http://" + l.Addr().String()
}

// A backend that fails, in every way, for several users, is told and bounded; what
// happens to clients is a setting. For one user alone it is not left alone.
func TestConnectFailures(t *testing.T) {
	hangs := silent(t, func(net.Conn) {})
	dies := silent(t, func(c net.Conn) { c.Read(make([]byte, 1)); c.Close() })
	garbage := silent(t, func(c net.Conn) { io.WriteString(c, "\x00\x01\x02 not HTTP\r\n\r\n"); c.Close() })
	drips := silent(t, func(c net.Conn) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
		for ticks := time.NewTicker(5 * time.Millisecond); ; <-ticks.C {
			if _, err := io.WriteString(c, "{"); err != nil {
				return
			}
		}
	})
	for name, url := range map[string]string{"hangs": hangs, "dies": dies, "garbage": garbage, "drips": drips, "refuses": "http://127.0.0.1:1"} {
		for _, admit := range []bool{false, true} {
			o := told(hookOf(t, webhook.Options{URLs: []string{url}, Timeout: 50 * time.Millisecond}))
			o.Admit = admit
			next := &granted{grant: ann}
			w := newWebhook(t, next, o)
			for range 8 { // the breaker opens after five
				next.grant.UID += "x"
				decided := askHook(w, browser(t, "/ws"))
				if admit {
					decided.expect(t, name, 0, "", "")
				} else {
					decided.expect(t, name, 503, session.CauseHookUnavailable, "does not answer")
				}
			}
			if st := w.Stats(); st.Backend.Calls["open"] != 3 || st.Backend.Open != 1 {
				t.Errorf("%s: %+v", name, st.Backend)
			}
			result := map[bool]string{false: "unavailable", true: "admitted_without"}[admit]
			wantDecisions(t, w.Stats(), map[string]uint64{result: 8})
			w.wantEmpty(t)
		}
		w := newWebhook(t, granted{grant: ann}, told(hookOf(t, webhook.Options{URLs: []string{url}, Timeout: 10 * time.Millisecond})))
		for range 8 {
			askHook(w, browser(t, "/ws"))
		}
		if st := w.Stats(); (st.Backend.Open > 0) != (name == "refuses") {
			t.Errorf("%s, one user: %+v", name, st.Backend)
		}
	}
}

// Without users the addresses are the callers.
func TestConnectCallersByAddress(t *testing.T) {
	w := newWebhook(t, nil, told(hookAt(t, answers(500, ""))))
	for n := range 9 {
		at := browser(t, "/ws")
		at.Remote = func() netip.AddrPort { return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}), 1) }
		if n < 5 {
			at.Remote = func() netip.AddrPort { return address }
		}
		askHook(w, at)
	}
	if calls := w.Stats().Backend.Calls; calls["failed"] != 7 || calls["open"] != 2 {
		t.Errorf("%v", calls)
	}
}

// What waits is bounded in bytes. Beyond it the answer is 503 at once.
func TestConnectQueueFull(t *testing.T) {
	release := make(chan bool)
	h := hookAt(t, func(w http.ResponseWriter, r *http.Request) {
		<-release
		w.WriteHeader(http.StatusNoContent)
	})
	h.Workers, h.QueueBytes = 2, 1<<16
	w := newWebhook(t, granted{later: true}, told(h))
	decided := make(chan outcome, 1000)
	waiting := 0
	for ; ; waiting++ {
		g, refusal, pending := w.Authenticate(browser(t, "/ws?x="+strings.Repeat("x", 1000)), func(g session.Grant, r *ws.Refusal) { decided <- outcome{g, r} })
		if !pending {
			outcome{g, refusal}.expect(t, "beyond the limit", 503, session.CauseHookQueue, "auth.webhook.queue_bytes")
			break
		}
	}
	if waiting < 20 || waiting > 60 {
		t.Errorf("%d clients with 1 KiB each wait in 64 KiB", waiting)
	}
	close(release)
	for range waiting {
		(<-decided).expect(t, "released", 0, "", "")
	}
	w.wantEmpty(t)
	if st := w.Stats(); st.QueueFull != 1 {
		t.Errorf("%+v", st)
	}
}

// A client that has waited too long is not asked about: it has gone.
func TestConnectWaited(t *testing.T) {
	handler, got := recording()
	w := newWebhook(t, nil, told(hookAt(t, handler)))
	d := &decision{event: "connect", since: time.Now().Add(-11 * time.Second), facts: []byte(`"a":1`)}
	_, refusal := w.ask(d, session.Grant{})
	outcome{refusal: refusal}.expect(t, "waited", 503, session.CauseHookUnavailable, "")
	if len(got) != 0 {
		t.Error("the webhook was asked")
	}
}

// At the end nobody waits any more: neither for a call nor in the queue.
func TestConnectClose(t *testing.T) {
	in := make(chan bool, 10)
	h := hookAt(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // else the server does not notice that the client has gone
		in <- true
		<-r.Context().Done()
	})
	h.Workers = 1
	w, err := NewWebhook(nil, told(h))
	if err != nil {
		t.Fatal(err)
	}
	decided := make(chan outcome, 3)
	for range 3 {
		w.Authenticate(browser(t, "/ws"), func(g session.Grant, r *ws.Refusal) { decided <- outcome{g, r} })
	}
	<-in
	w.Close()
	for range 3 {
		(<-decided).expect(t, "closed", 503, session.CauseShutdown, "stops")
	}
	askHook(w, browser(t, "/ws")).expect(t, "after Close", 503, session.CauseHookQueue, "")
	w.wantEmpty(t)
}

// A panic costs one decision.
func TestConnectFault(t *testing.T) {
	w := newWebhook(t, nil, told(hookAt(t, answers(204, ""))))
	everybody := w.everybody
	w.opt.Hook.Backend, w.caller.opt.Backend = nil, nil // calling it panics
	askHook(w, browser(t, "/ws")).expect(t, "fault", 500, session.CauseInternal, "")
	w.wantEmpty(t)
	w.caller.opt.Backend = hookAt(t, answers(204, "")).Backend
	w.everybody = everybody
	askHook(w, browser(t, "/ws")).expect(t, "afterwards", 0, "", "")
}

func TestConnectOptions(t *testing.T) {
	h := hookAt(t, answers(204, ""))
	for what, o := range map[string]WebhookOptions{
		"nobody to admit by": {Hook: h, Admit: true},
		"no backend":         {},
		"too many headers":   {Hook: h, Headers: make([]string, 17)},
		"too many cookies":   {Hook: h, Cookies: make([]string, 17)},
		"a bad pattern":      {Hook: h, Subscribe: []string{"a.*.b"}},
	} {
		if _, err := NewWebhook(nil, o); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
}
