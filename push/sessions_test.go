package push

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"belfry/message"
)

// changes is a Sessions that keeps what it is told. A uid or pattern that starts
// with "fail:" makes it return the outcome or error of that name.
type changes struct {
	mu    sync.Mutex
	calls []string
	left  time.Duration // until the deadline of the last call
}

func (c *changes) done(ctx context.Context, name, call string) (Outcome, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, call)
	deadline, _ := ctx.Deadline()
	c.left = time.Until(deadline)
	switch name {
	case "fail:some":
		return Outcome{Sessions: 3, Nodes: 2, Failed: []NodeError{{"edge-3", "no answer in time"}, {"0000002a", "not present"}}}, nil
	case "fail:away":
		return Outcome{Sessions: 1, Nodes: 1, Degraded: []string{"no connection to NATS"}}, nil
	case "fail:room":
		return Outcome{Sessions: 2, Full: 1, Nodes: 2}, nil
	case "fail:full":
		return Outcome{}, &FullError{"the tokens of 65536 users are revoked"}
	case "fail:field":
		return Outcome{}, &message.FieldError{Field: "issued_before", Detail: "in the future"}
	case "fail:other":
		return Outcome{}, errBroken
	}
	return Outcome{Sessions: 3, Nodes: 2}, nil
}

func (c *changes) last() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.calls) == 0 {
		return ""
	}
	last := c.calls[len(c.calls)-1]
	c.calls = nil
	return last
}

func (c *changes) ExpireSession(ctx context.Context, sid string) (Outcome, error) {
	return c.done(ctx, "", "expire "+sid)
}

func (c *changes) ExpireUser(ctx context.Context, uid string, before time.Time) (Outcome, error) {
	if time.Since(before).Abs() < time.Minute {
		return c.done(ctx, uid, "expire "+uid+" now")
	}
	return c.done(ctx, uid, fmt.Sprintf("expire %s %s", uid, before.UTC().Format(time.RFC3339Nano)))
}

func (c *changes) ExpireTokens(ctx context.Context, before time.Time) (Outcome, error) {
	if before.Year() == 1999 {
		return c.done(ctx, "fail:full", "")
	}
	if before.Year() == 1998 {
		return c.done(ctx, "fail:some", "")
	}
	return c.done(ctx, "", "expire all "+before.UTC().Format(time.RFC3339Nano))
}

func (c *changes) permit(ctx context.Context, who string, p Permissions) (Outcome, error) {
	return c.done(ctx, strings.Join(p.Subscribe, " "), fmt.Sprintf("permit %s %#v %#v", who, p.Subscribe, p.Publish))
}

func (c *changes) PermitSession(ctx context.Context, sid string, p Permissions) (Outcome, error) {
	return c.permit(ctx, sid, p)
}

func (c *changes) PermitUser(ctx context.Context, uid string, p Permissions) (Outcome, error) {
	return c.permit(ctx, uid, p)
}

func (c *changes) End(ctx context.Context, sel Selection, code uint16, reason string) (Outcome, error) {
	return c.done(ctx, sel.UID, fmt.Sprintf("end %+v %d %q", sel, code, reason))
}

func (c *changes) Join(ctx context.Context, sel Selection, topic string) (Outcome, error) {
	return c.done(ctx, sel.UID, fmt.Sprintf("join %+v %s", sel, topic))
}

func (c *changes) Leave(ctx context.Context, sel Selection, topic string) (Outcome, error) {
	return c.done(ctx, sel.UID, fmt.Sprintf("leave %+v %s", sel, topic))
}

// What requests say is what Sessions is told.
func TestSessionChanges(t *testing.T) {
	told := new(changes)
	_, ts, _ := start(t, Options{Sessions: told, Limits: Limits{MaxPayload: 10}}) // their bodies may be larger than messages
	for _, c := range []struct{ path, body, want string }{
		{"sessions/" + testSID + "/auth", `{"expire":true}`, "expire " + testSID},
		{"sessions/" + testSID + "/auth", `{"subscribe":["a","b.*"],"publish":[]}`, "permit " + testSID + ` []string{"a", "b.*"} []string{}`},
		{"sessions/" + testSID + "/auth", `{"publish":["inbox.{uid}"],"subscribe":[]}`, "permit " + testSID + ` []string{} []string{"inbox.{uid}"}`},
		{"users/J%C3%B6rg/expire", ``, "expire Jörg now"},
		{"users/u1/expire", `{}`, "expire u1 now"},
		{"users/u1/expire", `{"issued_before":"2026-01-31T13:00:00.5+01:00"}`, "expire u1 2026-01-31T12:00:00.5Z"},
		{"users/u1/expire", `{"issued_before":1769860800}`, "expire u1 2026-01-31T12:00:00Z"},
		{"users/u1/expire", `{"issued_before":1769860800.25}`, "expire u1 2026-01-31T12:00:00.25Z"},
		{"users/a%2Fexpire/permissions", `{"subscribe":[],"publish":[]}`, `permit a/expire []string{} []string{}`},
		{"tokens/expire", `{"issued_before":"2026-01-31T12:00:00Z"}`, "expire all 2026-01-31T12:00:00Z"},
	} {
		a := post(t, ts, "/v1/"+c.path, c.body)
		if got := told.last(); got != c.want || a.StatusCode != 200 || a.body != `{"sessions":3,"nodes":2}`+"\n" {
			t.Errorf("%s %s: %d %s told %q, want %q", c.path, c.body, a.StatusCode, a.body, got, c.want)
		}
	}
	for _, uid := range []string{".", ".."} { // raw: clients clean such paths
		a := raw(t, ts, "POST /v1/users/"+uid+"/expire HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if got := told.last(); a.StatusCode != 200 || got != "expire "+uid+" now" {
			t.Errorf("%q: %d %q", uid, a.StatusCode, got)
		}
	}
	if a := raw(t, ts, "POST /v1/users/../../expire HTTP/1.1\r\nHost: localhost\r\n\r\n"); a.StatusCode != 404 || told.last() != "" {
		t.Errorf("a path that climbs: %d", a.StatusCode)
	}
	if told.left <= time.Second || told.left > 2*time.Second {
		t.Errorf("other nodes have %v", told.left)
	}
}

func TestSessionChangesRefused(t *testing.T) {
	told := new(changes)
	_, ts, _ := start(t, Options{Sessions: told})
	session := "sessions/" + testSID + "/auth"
	for _, c := range []struct {
		path, body string
		status     int
		field      string
	}{
		{session, `{"publish":[]}`, 400, "subscribe"}, {session, `{"subscribe":[]}`, 400, "publish"}, {session, `{"expire":false}`, 400, "expire"},
		{session, `{"expire":true,"publish":[]}`, 400, "expire"}, {session, `{"expires":true}`, 400, "expires"},
		{session, `{"subscribe":"a"}`, 400, "subscribe"}, {session, `{"subscribe":["a",1]}`, 400, "subscribe[1]"},
		{session, `{"publish":null}`, 400, "publish"}, {session, `{"publish":[],"publish":[]}`, 400, "publish"},
		{session, `{"publish":[` + strings.Repeat(`"a",`, 256) + `"a"]}`, 400, "publish"},
		{session, `[]`, 400, "body"}, {session, `{`, 400, "body"}, {session, "\xff", 400, "body"},
		{"sessions/short/auth", `{"expire":true}`, 400, "sid"},
		{"users/u%0A/expire", ``, 400, "uid"}, {"users/u%0A/permissions", `{"publish":[]}`, 400, "uid"},
		{"users/u1/expire", `{"issued_before":"yesterday"}`, 400, "issued_before"},
		{"users/u1/expire", `{"issued_before":true}`, 400, "issued_before"},
		{"users/u1/expire", `{"issued_before":-1}`, 400, "issued_before"},
		{"users/u1/expire", `{"issued_before":1e300}`, 400, "issued_before"},
		{"users/u1/expire", `{"issued_before":"9999-01-01T00:00:00Z"}`, 400, "issued_before"},
		{"users/u1/expire", `{"expire":true}`, 400, "expire"},
		{"users/u1/permissions", `{"expire":true}`, 400, "expire"},
		{"users/u1/permissions", `{"publish":[]}`, 400, "subscribe"},
		{"tokens/expire", ``, 400, "issued_before"}, {"tokens/expire", `{}`, 400, "issued_before"},
		{"users/u1/expire?x=1", ``, 400, "x"},
		{"users/u1/expire", `{` + strings.Repeat(" ", maxCommandBody) + `}`, 413, "body"},
	} {
		a := post(t, ts, "/v1/"+c.path, c.body)
		if p := a.problem(t); a.StatusCode != c.status || p.Field != c.field {
			t.Errorf("%s %.60s: %d %s", c.path, c.body, a.StatusCode, a.body)
		}
		if got := told.last(); got != "" {
			t.Errorf("%s %.60s: told %q", c.path, c.body, got)
		}
	}
	for uid, want := range map[string]string{"fail:full": "too-many-revocations 507", "fail:field": "invalid-field 400", "fail:other": "internal 500"} {
		a := post(t, ts, "/v1/users/"+uid+"/expire", "")
		if p := a.problem(t); fmt.Sprint(strings.TrimPrefix(p.Type, typePrefix), " ", a.StatusCode) != want || strings.Contains(a.body, errBroken.Error()) {
			t.Errorf("%s: %d %s", uid, a.StatusCode, a.body)
		}
	}
	_, without, _ := start(t, Options{})
	if a := post(t, without, "/v1/users/u1/expire", ""); a.StatusCode != 404 {
		t.Errorf("without Sessions: %d", a.StatusCode)
	}
}

// The answer says which nodes did not do it, and its status that not all did.
func TestSessionChangesInPart(t *testing.T) {
	_, ts, _ := start(t, Options{Sessions: new(changes), Limits: Limits{MaxRequests: 1}}) // each gives its place back
	if a := post(t, ts, "/v1/users/fail:some/expire", ""); a.StatusCode != 202 ||
		a.body != `{"sessions":3,"nodes":2,"failed":[{"node":"edge-3","detail":"no answer in time"},{"node":"0000002a","detail":"not present"}]}`+"\n" {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if a := post(t, ts, "/v1/users/fail:away/expire", ""); a.StatusCode != 202 || a.body != `{"sessions":1,"nodes":1,"degraded":["no connection to NATS"]}`+"\n" {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	w := httptest.NewRecorder()
	if status := (&Outcome{Sessions: 2, Full: 1, Nodes: 1}).write(w); status != 202 || w.Body.String() != `{"sessions":2,"full":1,"nodes":1}`+"\n" {
		t.Errorf("%d %s", status, w.Body)
	}
}

// sessions sends requests that get every answer that those about sessions can have.
func (c *contract) sessions(open, keyed, slow, busy *httptest.Server) {
	const asJSON = "Content-Type: application/json"
	for template, bodies := range map[string][2]string{ // of an answer 200, and of one 202
		"/v1/sessions/{sid}/auth":     {`{"expire":true}`, `{"subscribe":["fail:some"],"publish":[]}`},
		"/v1/users/{uid}/permissions": {`{"publish":["chat.*"],"subscribe":[]}`, `{"subscribe":["fail:away"],"publish":[]}`},
		"/v1/users/{uid}/expire":      {``, `{"issued_before":"2026-01-31T12:00:00Z"}`},
		"/v1/tokens/expire":           {`{"issued_before":1769860800}`, `{"issued_before":"1998-01-31T12:00:00Z"}`},
	} {
		with := func(uid string) string { return strings.NewReplacer("{sid}", testSID, "{uid}", uid).Replace(template) }
		path := with("J%C3%B6rg")
		c.send(open, "POST", template, path, bodies[0], asJSON)
		c.send(open, "POST", template, with("fail:some"), bodies[1], asJSON)
		c.send(open, "POST", template, path, `{"x":1}`)
		c.send(keyed, "POST", template, path, bodies[0])
		c.send(open, "POST", template, path, bodies[0], "Host: evil.example")
		c.send(open, "POST", template, path, strings.Repeat("x", maxCommandBody+1))
		c.send(open, "POST", template, path, bodies[0], "Content-Encoding: br")
		c.send(busy, "POST", template, path, bodies[0])
		c.raw("POST", template, slow.Listener.Addr().String(), "POST "+path+" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nx")
		_, none, _ := start(c.t, Options{})
		c.raw("POST", template, none.Listener.Addr().String(), "POST "+path+" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
		_, faulty, _ := start(c.t, Options{Sessions: broken{}})
		c.raw("POST", template, faulty.Listener.Addr().String(), fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", path, len(bodies[0]), bodies[0]))
	}
	c.send(open, "POST", "/v1/users/{uid}/expire", "/v1/users/fail:full/expire", "", asJSON)
	c.send(open, "POST", "/v1/tokens/expire", "/v1/tokens/expire", `{"issued_before":"1999-01-31T12:00:00Z"}`, asJSON)
}

// broken is a Sessions that panics.
type broken struct{ Sessions }
