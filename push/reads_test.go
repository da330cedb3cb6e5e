package push

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"belfry/message"
	"belfry/presence"
)

// facts is a Presence whose answers repeat what it was asked. A name that begins with
// "fail:" selects an error.
type facts struct{}

var seen = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

func (facts) session(sid, uid string) presence.Session {
	return presence.Session{SID: sid, UID: uid, Node: "a", Since: seen, LastActivity: seen, Address: "192.0.2.7:1", Agent: "x", Transport: "websocket", Encoding: "belfry.v1",
		Topics: []string{"a"}, Subscriptions: 1, Backlog: presence.Backlog{Messages: 1, Bytes: 2}, Meta: json.RawMessage(`{"a":1}`)}
}

func (f facts) User(ctx context.Context, uid, after string, limit int) (*presence.User, error) {
	u := &presence.User{UID: uid, Count: limit, Next: after, Sessions: []presence.Session{f.session(testSID, uid)}, Reach: presence.Reach{Nodes: 1}}
	switch uid {
	case "fail:other":
		return nil, errBroken
	case "fail:field":
		return nil, &message.FieldError{Field: "uid", Detail: "not that one"}
	case "fail:panic":
		panic("injected")
	case "gone":
		return &presence.User{UID: uid, Sessions: []presence.Session{}, LastSeen: seen, Reach: presence.Reach{Nodes: 2}}, nil
	case "fail:some":
		u.Silent, u.Degraded = []presence.Silent{{Node: "c", Detail: "no answer in time"}}, []string{"bus: away"}
	}
	if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > 2*time.Second || time.Until(deadline) < time.Second {
		return nil, fmt.Errorf("the deadline is %v", deadline)
	}
	return u, nil
}

func (facts) Users(_ context.Context, uids []string) (*presence.Users, error) {
	if uids[0] == "fail:panic" {
		panic("injected")
	}
	u := &presence.Users{Reach: presence.Reach{Nodes: 3}}
	for i, uid := range uids {
		u.Users = append(u.Users, presence.UserPresence{UID: uid, Sessions: i})
	}
	u.Users[0].LastSeen = seen
	return u, nil
}

func (f facts) Session(_ context.Context, sid string) (*presence.Session, *presence.Silent, error) {
	switch sid[0] {
	case 'N':
		return nil, nil, nil
	case 'S':
		return nil, &presence.Silent{Node: "edge-3", Detail: "no answer in time"}, nil
	case 'P':
		panic("injected")
	}
	s := f.session(sid, "")
	return &s, nil, nil
}

func (facts) Topic(_ context.Context, topic string, members bool, after string, limit int) (*presence.Topic, error) {
	if topic == "panic" {
		panic("injected")
	}
	t := &presence.Topic{Topic: topic, Count: limit, Reach: presence.Reach{Nodes: 1}}
	if members {
		t.Members, t.Next = []presence.Member{{SID: testSID, UID: "u"}}, after
	}
	return t, nil
}

func (facts) Topics(_ context.Context, prefix, after string, limit int) (*presence.Topics, error) {
	if prefix == "panic" {
		panic("injected")
	}
	return &presence.Topics{Topics: []presence.TopicCount{{Topic: prefix + "x", Count: limit}}, Next: after, Reach: presence.Reach{Nodes: 1}}, nil
}

func (facts) Nodes(context.Context) (*presence.Nodes, error) {
	skew, wrong := -0.25, 0.001
	return &presence.Nodes{Nodes: []presence.Node{
		{Name: "a", ID: "0000002a", State: presence.StateAlive, Self: true, NodeState: &presence.NodeState{Version: "1", Ready: true, Load: 0.5}},
		{Name: "b", ID: "0000002b", State: presence.StateAlive, NodeState: &presence.NodeState{Version: "1", Reasons: []string{"shutting down"}}, Skew: &skew, SkewError: &wrong},
		{Name: "c", ID: "0000002c", State: presence.StateSuspected, Detail: "no answer in time"},
	}, Degraded: []string{"bus: away"}}, nil
}

const otherSID = "AAEAAAAqAAAAAQAAAAEAAAAAAAAAAA"

// What a request asks is what Presence is asked, and its answer is that of the request.
func TestReads(t *testing.T) {
	_, ts, _ := start(t, Options{Presence: facts{}})
	get := func(path, want string) {
		t.Helper()
		if a := request(t, ts, "GET", "/v1/"+path, nil); a.StatusCode != 200 || !strings.Contains(a.body, want) || a.Header.Get("Content-Type") != "application/json" || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %s %v, want %s", path, a.StatusCode, a.body, a.Header, want)
		}
	}
	get("users/J%C3%B6rg%2F1", `{"user":"Jörg/1","count":1000,"sessions":[{"session":"`+testSID+`","user":"Jörg/1","node":"a","since":"2026-01-31T12:00:00Z","last_activity":"2026-01-31T12:00:00Z",`+
		`"address":"192.0.2.7:1","agent":"x","transport":"websocket","encoding":"belfry.v1","topics":["a"],"subscriptions":1,"backlog":{"messages":1,"bytes":2},"meta":{"a":1}}],"nodes":1}`)
	get("users/u?limit=7&after="+otherSID, `"count":7,`)
	get("users/u?limit=7&after="+otherSID, `"next":"`+otherSID+`"`)
	get("users/gone", `{"user":"gone","count":0,"sessions":[],"last_seen":"2026-01-31T12:00:00Z","nodes":2}`)
	get("users/fail:some", `"nodes":1,"silent":[{"node":"c","detail":"no answer in time"}],"degraded":["bus: away"]}`)
	get("sessions/"+testSID, `{"session":"`+testSID+`","node":"a",`)
	get("topics/a%2Fb", `{"topic":"a/b","count":1000,"nodes":1}`)
	get("topics/a?members=1&limit=2&after="+otherSID, `{"topic":"a","count":2,"members":[{"session":"`+testSID+`","user":"u"}],"next":"`+otherSID+`","nodes":1}`)
	get("topics", `{"topics":[{"topic":"x","count":1000}],"nodes":1}`)
	get("topics?prefix=chat.&after=chat.1&limit=5", `{"topics":[{"topic":"chat.x","count":5}],"next":"chat.1","nodes":1}`)
	get("nodes", `{"nodes":[{"node":"a","id":"0000002a","state":"alive","self":true,"version":"1",`)
	a := post(t, ts, "/v1/presence", `{"users":["u1","Jörg"]}`)
	if want := `{"users":[{"user":"u1","sessions":0,"last_seen":"2026-01-31T12:00:00Z"},{"user":"Jörg","sessions":1}],"nodes":3}` + "\n"; a.StatusCode != 200 || a.body != want {
		t.Errorf("%d %s, want %s", a.StatusCode, a.body, want)
	}
	many := `{"users":["` + strings.Repeat(strings.Repeat(`\u00e4`, 64)+`","`, presence.MaxUsers-1) + `u"]}`
	if a := post(t, ts, "/v1/presence", many); a.StatusCode != 200 || !strings.Contains(a.body, `"sessions":999}`) {
		t.Errorf("%d users in %d bytes: %d %.200s", presence.MaxUsers, len(many), a.StatusCode, a.body)
	}
	if a := request(t, ts, "HEAD", "/v1/users/u", nil); a.StatusCode != 200 || a.body != "" {
		t.Errorf("HEAD: %d %q", a.StatusCode, a.body)
	}
	for path, want := range map[string]string{"users/u": "DELETE, GET, HEAD, POST", "topics": "GET, HEAD", "presence": "POST", "topics/a": "GET, HEAD, POST"} {
		_, both, _ := start(t, Options{Presence: facts{}, Sessions: new(changes)})
		if a := request(t, both, "PATCH", "/v1/"+path, nil); a.StatusCode != 405 || a.Header.Get("Allow") != want {
			t.Errorf("%s: %d, Allow %q, want %q", path, a.StatusCode, a.Header.Get("Allow"), want)
		}
	}
	if a := raw(t, ts, "GET /v1/users/.. HTTP/1.1\r\nHost: localhost\r\n\r\n"); a.StatusCode != 200 || !strings.Contains(a.body, `{"user":".."`) {
		t.Errorf("the user ..: %d %s", a.StatusCode, a.body)
	}
}

func TestReadsRefused(t *testing.T) {
	_, ts, _ := start(t, Options{Presence: facts{}})
	for path, want := range map[string]string{
		"users/u?limit=0": "limit 400", "users/u?limit=1001": "limit 400", "users/u?limit=x": "limit 400", "users/u?limit=1&limit=2": "limit 400",
		"users/u?after=x": "after 400", "users/u?prefix=x": "prefix 400", "users/u%0A": "uid 400", "users/u?%zz": " 400",
		"users/fail:field": "uid 400", "users/fail:other": " 500",
		"sessions/x": "sid 400", "sessions/" + testSID + "?x=1": "x 400",
		"topics/a..b": "topic 400", "topics/a?members=yes": "members 400", "topics/a?limit=5": "members 400", "topics/a?members=1&after=x": "after 400",
		"topics?prefix=a..b": "prefix 400", "topics?prefix=.": "prefix 400", "topics?prefix=*": "prefix 400", "topics?after=a%20b": "after 400",
		"topics?prefix=" + strings.Repeat("a", 129): "prefix 400", "nodes?x=1": "x 400",
		"sessions/N" + testSID[1:]: " 404", "sessions/S" + testSID[1:]: " 503",
	} {
		a := request(t, ts, "GET", "/v1/"+path, nil)
		if p := a.problem(t); fmt.Sprint(p.Field, " ", a.StatusCode) != want || strings.Contains(a.body, errBroken.Error()) {
			t.Errorf("%s: %d %s, want %s", path, a.StatusCode, a.body, want)
		}
	}
	if a := request(t, ts, "GET", "/v1/sessions/S"+testSID[1:], nil); !strings.Contains(a.body, "node edge-3: no answer in time") || a.Header.Get("Retry-After") == "" {
		t.Errorf("%s %v", a.body, a.Header)
	}
	for body, field := range map[string]string{
		``: "users", `{}`: "users", `{"users":[]}`: "users", `{"users":"u"}`: "users", `{"users":[1]}`: "users[0]", `{"users":["a",""]}`: "users[1]", `{"users":["a"],"x":1}`: "x",
		`{"users":["` + strings.Repeat(`u","`, presence.MaxUsers) + `u"]}`: "users", `[]`: "body",
	} {
		a := post(t, ts, "/v1/presence", body)
		if p := a.problem(t); a.StatusCode != 400 || p.Field != field {
			t.Errorf("%.60s: %d %s, want %s", body, a.StatusCode, a.body, field)
		}
	}
	_, without, _ := start(t, Options{})
	for _, path := range []string{"users/u", "topics", "nodes"} {
		if a := request(t, without, "GET", "/v1/"+path, nil); a.StatusCode != 404 && a.StatusCode != 405 {
			t.Errorf("without Presence %s: %d", path, a.StatusCode)
		}
	}
}

// What requests about sessions of a user or a session say is what Sessions is told.
func TestSelections(t *testing.T) {
	told := new(changes)
	_, ts, _ := start(t, Options{Sessions: told})
	for _, c := range []struct{ method, path, want string }{
		{"DELETE", "users/J%C3%B6rg", `end {SID: UID:Jörg} 1000 ""`},
		{"DELETE", "users/u?code=4321&reason=stop%20it", `end {SID: UID:u} 4321 "stop it"`},
		{"DELETE", "sessions/" + testSID, `end {SID:` + testSID + ` UID:} 1000 ""`},
		{"PUT", "users/a%2Fb/topics/c%2Fd", `join {SID: UID:a/b} c/d`},
		{"DELETE", "users/u/topics/news", `leave {SID: UID:u} news`},
		{"PUT", "sessions/" + testSID + "/topics/news", `join {SID:` + testSID + ` UID:} news`},
		{"DELETE", "sessions/" + testSID + "/topics/news", `leave {SID:` + testSID + ` UID:} news`},
	} {
		a := request(t, ts, c.method, "/v1/"+c.path, nil)
		if got := told.last(); got != c.want || a.StatusCode != 200 || a.body != `{"sessions":3,"nodes":2}`+"\n" {
			t.Errorf("%s %s: %d %s told %q, want %q", c.method, c.path, a.StatusCode, a.body, got, c.want)
		}
	}
	for _, c := range []struct{ method, path, want string }{
		{"DELETE", "users/u?code=1006", "code 400"}, {"DELETE", "users/u?code=70536", "code 400"}, {"DELETE", "users/u?code=", "code 400"},
		{"DELETE", "users/u?reason=" + strings.Repeat("x", 124), "reason 400"}, {"DELETE", "users/u?reason=%ff", "reason 400"}, {"DELETE", "users/u?x=1", "x 400"},
		{"DELETE", "users/u%0A", "uid 400"}, {"DELETE", "sessions/x", "sid 400"}, {"PUT", "users/u/topics/a..b", "topic 400"}, {"DELETE", "users/u/topics/a..b", "topic 400"},
		{"PUT", "users/u/topics/a?x=1", "x 400"},
	} {
		a := request(t, ts, c.method, "/v1/"+c.path, nil)
		if p := a.problem(t); fmt.Sprint(p.Field, " ", a.StatusCode) != c.want || told.last() != "" {
			t.Errorf("%s %.60s: %d %s, want %s", c.method, c.path, a.StatusCode, a.body, c.want)
		}
	}
	if a := request(t, ts, "PUT", "/v1/users/fail:room/topics/a", nil); a.StatusCode != 202 || a.body != `{"sessions":2,"full":1,"nodes":2}`+"\n" {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

// selections sends requests that get every answer that those about a selection can have.
func (c *contract) selections(open, keyed, busy *httptest.Server) {
	_, none, _ := start(c.t, Options{})
	_, faulty, _ := start(c.t, Options{Sessions: broken{}})
	for _, op := range [][2]string{
		{"DELETE", "/v1/users/{uid}"}, {"DELETE", "/v1/sessions/{sid}"}, {"PUT", "/v1/users/{uid}/topics/{topic}"}, {"DELETE", "/v1/users/{uid}/topics/{topic}"},
		{"PUT", "/v1/sessions/{sid}/topics/{topic}"}, {"DELETE", "/v1/sessions/{sid}/topics/{topic}"},
	} {
		method, template := op[0], op[1]
		with := func(uid, sid string) string {
			return strings.NewReplacer("{sid}", sid, "{uid}", uid, "{topic}", "a%2Fb").Replace(template)
		}
		path := with("u", testSID)
		c.send(open, method, template, path, "", "Content-Type: application/json")
		c.send(open, method, template, path+"?x=1", "")
		c.send(open, method, template, with("fail:room", testSID), "")
		c.send(keyed, method, template, path, "")
		c.send(open, method, template, path, "", "Host: evil.example")
		c.send(busy, method, template, path, "")
		c.send(faulty, method, template, path, "")
		c.send(none, method, template, path+"/x", "")
		if strings.Contains(template, "{sid}") {
			_, partly, _ := start(c.t, Options{Sessions: &away{}})
			c.send(partly, method, template, path, "")
		}
	}
}

// away is a Sessions whose nodes are away.
type away struct{ changes }

func (a *away) End(context.Context, Selection, uint16, string) (Outcome, error) {
	return Outcome{Failed: []NodeError{{"c", "no answer in time"}}}, nil
}
func (a *away) Join(context.Context, Selection, string) (Outcome, error) {
	return Outcome{Failed: []NodeError{{"c", "no answer in time"}}}, nil
}
func (a *away) Leave(context.Context, Selection, string) (Outcome, error) {
	return Outcome{Failed: []NodeError{{"c", "no answer in time"}}}, nil
}

// reads sends requests that get every answer that a read can have.
func (c *contract) reads(open, keyed, slow, busy *httptest.Server) {
	_, none, _ := start(c.t, Options{})
	for template, paths := range map[string][2]string{ // that work, and that panic
		"/v1/users/{uid}":    {"/v1/users/fail:some", "/v1/users/fail:panic"},
		"/v1/sessions/{sid}": {"/v1/sessions/" + testSID, "/v1/sessions/P" + testSID[1:]},
		"/v1/topics/{topic}": {"/v1/topics/a%2Fb", "/v1/topics/panic"},
		"/v1/topics":         {"/v1/topics", "/v1/topics?prefix=panic"},
		"/v1/nodes":          {"/v1/nodes", ""},
	} {
		path := paths[0]
		c.send(open, "GET", template, path, "", "Content-Type: application/json")
		c.send(open, "GET", template, path+"?x=1", "")
		c.send(keyed, "GET", template, path, "")
		c.send(open, "GET", template, path, "", "Host: evil.example")
		c.send(busy, "GET", template, path, "")
		c.send(none, "GET", template, path+"/x/y", "")
		if paths[1] != "" {
			c.send(open, "GET", template, paths[1], "")
		} else {
			_, faulty, _ := start(c.t, Options{Presence: brokenFacts{}})
			c.send(faulty, "GET", template, path, "")
		}
	}
	c.send(open, "GET", "/v1/users/{uid}", "/v1/users/gone", "", "Content-Type: application/json")
	c.send(open, "GET", "/v1/topics/{topic}", "/v1/topics/a?members=1&limit=3", "", "Content-Type: application/json")
	c.send(open, "GET", "/v1/sessions/{sid}", "/v1/sessions/N"+testSID[1:], "")
	c.send(open, "GET", "/v1/sessions/{sid}", "/v1/sessions/S"+testSID[1:], "")
	const presence, body = "/v1/presence", `{"users":["u1","u2"]}`
	c.send(open, "POST", presence, presence, body, "Content-Type: application/json")
	c.send(open, "POST", presence, presence, `{"users":["fail:panic"]}`)
	c.send(open, "POST", presence, presence, `{}`)
	c.send(keyed, "POST", presence, presence, body)
	c.send(open, "POST", presence, presence, body, "Host: evil.example")
	c.send(open, "POST", presence, presence, strings.Repeat("x", maxPresenceBody+1))
	c.send(open, "POST", presence, presence, body, "Content-Encoding: br")
	c.send(busy, "POST", presence, presence, body)
	c.raw("POST", presence, slow.Listener.Addr().String(), "POST /v1/presence HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nx")
	c.send(none, "POST", presence, presence, body)
}

// brokenFacts is a Presence that panics.
type brokenFacts struct{ Presence }
