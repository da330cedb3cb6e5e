package push

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"belfry/idempotency"
	"belfry/report"
)

func loadDocument(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromFile("../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(context.Background()); err != nil {
		t.Fatal(err)
	}
	return doc
}

// The document has exactly the routes and methods of the handlers.
func TestDocumentHasTheRoutes(t *testing.T) {
	s, err := New(Options{Publisher: &recorder{}, Sessions: new(changes), Presence: facts{}, Drain: new(drainNode), Metrics: http.NotFoundHandler(), Dev: http.NotFoundHandler(), Config: func() any { return nil }, Reload: reloads(nil)})
	if err != nil {
		t.Fatal(err)
	}
	var inCode, inDocument []string
	for _, rt := range append(s.apiRoutes(), s.healthRoutes()...) {
		if rt.method == "" {
			continue
		}
		path := rt.pattern
		if path != rt.id.String() && rt.method+" "+path != rt.id.String() {
			t.Errorf("route %q is counted as %q", path, rt.id)
		}
		inCode = append(inCode, rt.method+" "+path)
	}
	for path, item := range loadDocument(t).Paths.Map() {
		for method := range item.Operations() {
			inDocument = append(inDocument, method+" "+path)
		}
	}
	slices.Sort(inCode)
	slices.Sort(inDocument)
	if !slices.Equal(inCode, inDocument) {
		t.Errorf("handlers: %q\ndocument: %q", inCode, inDocument)
	}
}

// The code, the document and docs/api.md have the same problem types.
func TestDocumentsHaveTheProblemTypes(t *testing.T) {
	var inDocument []string
	typ := loadDocument(t).Components.Schemas["Problem"].Value.Properties["type"].Value
	known, _ := typ.Extensions["x-extensible-enum"].([]any)
	for _, v := range known {
		inDocument = append(inDocument, v.(string))
	}
	if typ.Enum != nil {
		t.Error("the problem types are closed: a later version could not add one")
	}
	page, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	var inCode []string
	for _, c := range Causes() {
		inCode = append(inCode, c.Type())
		if row := fmt.Sprintf("| `%s` | %d | ", c, c.Status()); !bytes.Contains(page, []byte(row)) {
			t.Errorf("docs/api.md has no line %q", row)
		}
	}
	if !slices.Equal(inCode, inDocument) {
		t.Errorf("code: %q\ndocument: %q", inCode, inDocument)
	}
	if n := strings.Count(string(page), "\n| `"); n < len(inCode) {
		t.Errorf("docs/api.md has %d lines in its tables", n)
	}
}

// Later versions may add members to answers, so the schemas of answers are open.
// The schemas of requests are closed, because the handlers refuse unknown members.
func TestAnswersAreOpenToAdditions(t *testing.T) {
	doc := loadDocument(t)
	requests := map[string]bool{"BatchLine": true, "Target": true, "SessionChange": true, "PermissionChange": true, "UserExpiry": true, "TokenExpiry": true, "PresenceQuestion": true, "DrainRequest": true}
	for name, schema := range doc.Components.Schemas {
		closed := schema.Value.AdditionalProperties.Has != nil && !*schema.Value.AdditionalProperties.Has
		if closed != requests[name] {
			t.Errorf("%s: closed %v", name, closed)
		}
	}
	for _, answer := range []string{`{"id":"x","new":1}`, `{"ready":true,"new":1}`, `{"healthy":true,"new":1}`,
		`{"line":1,"id":"x","new":1}`, `{"type":"urn:belfry:problem:new","title":"x","status":418,"detail":"x","new":1}`} {
		var v any
		if err := json.Unmarshal([]byte(answer), &v); err != nil {
			t.Fatal(err)
		}
		taken := false
		for _, name := range []string{"Accepted", "Ready", "Healthy", "BatchAnswer", "Problem"} {
			taken = taken || doc.Components.Schemas[name].Value.VisitJSON(v) == nil
		}
		if !taken {
			t.Errorf("%s is refused", answer)
		}
	}
}

// contract validates real exchanges and records what occurred.
type contract struct {
	t      *testing.T
	doc    *openapi3.T
	seen   map[string]bool // "POST /v1/all 202"
	causes map[string]bool // problem types
}

// check validates an answer to a request for one operation.
func (c *contract) check(method, path string, params map[string]string, req *http.Request, a answer) {
	c.t.Helper()
	item := c.doc.Paths.Find(path)
	op := item.GetOperation(method)
	key := fmt.Sprintf("%s %s %d", method, path, a.StatusCode)
	c.seen[key] = true
	in := &openapi3filter.RequestValidationInput{
		Request: req, PathParams: params,
		Route: &routers.Route{Spec: c.doc, Path: path, PathItem: item, Method: method, Operation: op},
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true,
			AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: a.StatusCode, Header: a.Header, Options: in.Options}
	if strings.HasPrefix(a.Header.Get("Content-Type"), "application/x-ndjson") {
		in.Options.ExcludeResponseBody = true // each line is validated below
		for line := range strings.Lines(a.body) {
			c.schema("BatchAnswer", line)
		}
	}
	out.SetBodyBytes([]byte(a.body))
	if err := openapi3filter.ValidateResponse(context.Background(), out); err != nil {
		c.t.Errorf("%s: %s\n%v", key, a.body, err)
	}
	if a.StatusCode == 202 || a.StatusCode == 200 && req.Header.Get("Content-Type") == "application/json" {
		if err := openapi3filter.ValidateRequest(context.Background(), in); err != nil {
			c.t.Errorf("%s was accepted, but: %v", key, err)
		}
	}
	if a.StatusCode >= 400 && a.Header.Get("Content-Type") == problemType[0] {
		c.causes[a.problem(c.t).Type] = true
	}
}

// schema validates one JSON value against a schema of the document.
func (c *contract) schema(name, text string) {
	c.t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		c.t.Fatalf("%s: %v", text, err)
	}
	if err := c.doc.Components.Schemas[name].Value.VisitJSON(v); err != nil {
		c.t.Errorf("%s is no %s: %v", text, name, err)
	}
	m := v.(map[string]any)
	if e, ok := m["error"].(map[string]any); ok {
		m = e
	}
	if typ, ok := m["type"].(string); ok {
		c.causes[typ] = true
	}
}

// send sends a request to a server and checks the exchange.
func (c *contract) send(ts *httptest.Server, method, template, path, body string, headers ...string) {
	c.t.Helper()
	a := request(c.t, ts, method, path, strings.NewReader(body), headers...)
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	req.Header.Set("Content-Type", "text/plain")
	for _, h := range headers {
		if name, value, ok := strings.Cut(h, ": "); ok {
			req.Header.Set(name, value)
		}
	}
	params := map[string]string{}
	escaped, _, _ := strings.Cut(path, "?")
	segments := strings.Split(escaped, "/")
	for i, segment := range strings.Split(template, "/") {
		if name, ok := strings.CutPrefix(segment, "{"); ok && i < len(segments) {
			params[strings.TrimSuffix(name, "}")], _ = url.PathUnescape(segments[i])
		}
	}
	c.check(method, template, params, req, a)
}

// waits pushes with ?wait=.
func (c *contract) waits() {
	node, reports := onlyNode(c.t, report.Options{})
	_, ts, _ := start(c.t, Options{Publisher: node, Reports: reports})
	for _, p := range [][2]string{{"/v1/all", "/v1/all"}, {"/v1/topics/{topic}", "/v1/topics/news"}, {"/v1/users/{uid}", "/v1/users/u1"}, {"/v1/sessions/{sid}", "/v1/sessions/" + testSID}} {
		c.send(ts, "POST", p[0], p[1]+"?wait=1ms&ack=1", "x")
	}
	c.send(ts, "POST", "/v1/batch", "/v1/batch", `{"to":{"all":true},"text":"x","wait":"1s","ack":true}`)
}

// A real server gives every answer that the document describes, and each answer
// matches its schema. Every problem type occurs.
func TestHandlersMatchTheDocument(t *testing.T) {
	c := &contract{t: t, doc: loadDocument(t), seen: map[string]bool{}, causes: map[string]bool{}}
	unfit := Options{Ready: func() []string { return []string{"nats: away"} }, Healthy: func() []string { return []string{"shard 0 stalled"} },
		Stats: func() any { return make(chan int) }, Config: func() any { return make(chan int) },
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "too many scrapes", http.StatusServiceUnavailable)
		})}
	_, open, _ := start(t, Options{Sessions: new(changes), Presence: facts{}, Drain: new(drainNode), Metrics: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		io.WriteString(w, "belfry_sessions 1\n")
	}), Limits: Limits{MaxPayload: 100, MaxBatchLine: 60, MaxBatchLines: 20}, Degraded: func() []string { return []string{"no peers"} },
		Config: func() any { return map[string]any{"settings": []any{}} }})
	_, keyed, _ := start(t, Options{Sessions: new(changes), Presence: facts{}, Drain: new(drainNode), Keys: []Key{{"", "key"}}, Config: func() any { return nil }})
	_, slow, _ := start(t, Options{Sessions: new(changes), Presence: facts{}, Drain: new(drainNode), Limits: Limits{ReadTimeout: 30 * time.Millisecond, BatchIdleTimeout: 30 * time.Millisecond}})
	_, sick, _ := start(t, unfit)
	full, _, _ := start(t, Options{Sessions: new(changes), Presence: facts{}, Drain: new(drainNode), Limits: Limits{MaxRequests: 1, MaxBodies: 1}, Config: func() any { return nil }})
	full.count.inFlight.Add(1) // stands for a request that does not end
	full.bodies.open.Add(1)    // stands for a body that does not arrive
	busy := httptest.NewServer(full.Handler())
	t.Cleanup(func() { busy.Client().CloseIdleConnections(); busy.Close() })

	c.pushes(open, keyed, slow, busy)
	c.waits()
	c.batches(open, slow)
	c.sessions(open, keyed, slow, busy)
	c.selections(open, keyed, busy)
	c.reads(open, keyed, slow, busy)
	for get, method := range map[string]string{"/v1/stats": "GET", "/v1/config": "GET", "/v1/batch": "POST"} {
		c.send(open, method, get, get+"?x=1", "")
		c.send(keyed, method, get, get, "")
		c.send(open, method, get, get, "", "Host: evil.example")
		c.send(busy, method, get, get, "")
	}
	c.send(slow, "GET", "/v1/config", "/v1/config", "") // it has no Config
	c.send(open, "POST", "/v1/batch", "/v1/batch", "", "Content-Type: multipart/mixed")
	c.raw("POST", "/v1/batch", open.Listener.Addr().String(), "POST /v1/batch HTTP/1.1\r\nHost: localhost\r\n\r\n")
	for _, get := range []string{"/v1/stats", "/v1/config", "/healthz", "/readyz", "/metrics"} {
		c.send(open, "GET", get, get, "")
		c.send(open, "GET", get, get, "", "Host: evil.example")
		c.send(open, "GET", get, get, "", "Host: a:xx")
		c.send(sick, "GET", get, get, "")
	}
	c.drains(open, keyed, slow, busy)
	c.reloads()
	c.everywhere()

	for path, item := range c.doc.Paths.Map() {
		for method, op := range item.Operations() {
			for status := range op.Responses.Map() {
				if key := method + " " + path + " " + status; !c.seen[key] {
					t.Errorf("in the document and never seen: %s", key)
				}
			}
		}
	}
	for _, cause := range Causes() {
		if !c.causes[cause.Type()] {
			t.Errorf("never occurred: %s", cause)
		}
	}
}

// pushes sends pushes that get every answer a push can have.
func (c *contract) pushes(open, keyed, slow, busy *httptest.Server) {
	keys, err := idempotency.New(idempotency.Options{MaxKeys: 1})
	if err != nil {
		c.t.Fatal(err)
	}
	_, oneKey, _ := start(c.t, Options{Idempotency: keys})
	pushes := map[string]string{"/v1/all": "/v1/all", "/v1/topics/{topic}": "/v1/topics/a%2Fb", "/v1/users/{uid}": "/v1/users/J%C3%B6rg", "/v1/sessions/{sid}": "/v1/sessions/" + testSID}
	for template, path := range pushes {
		c.send(open, "POST", template, path, "hello")
		c.send(open, "POST", template, path, "\xff\x00", "Content-Type: application/octet-stream")
		o := onceOf(&keyCount{name: keyNone}, path, 0, []byte(path), nil, []byte{0}, []byte("x"))
		claim, _, err := keys.Claim(c.t.Context(), o.id, o.print)
		if err != nil {
			c.t.Fatal(err)
		}
		c.send(open, "POST", template, path+"?key=k&ttl=5s&exclude="+testSID, "")
		c.send(open, "POST", template, path+"?tll=5", "x")
		c.send(open, "POST", template, path, "\xff")
		c.send(open, "POST", template, path, "x", "Idempotency-Key: "+path)
		c.send(open, "POST", template, path, "x", "Idempotency-Key: "+path) // replayed
		c.send(open, "POST", template, path, "y", "Idempotency-Key: "+path) // reused
		c.send(oneKey, "POST", template, path, "x", "Idempotency-Key: "+path)
		c.send(oneKey, "POST", template, path, "x", "Idempotency-Key: another")
		claim.Release()
		c.send(keyed, "POST", template, path, "x")
		c.send(open, "POST", template, path, "x", "Host: evil.example")
		c.send(open, "POST", template, path, "x", "Origin: null")
		c.send(open, "POST", template, path, strings.Repeat("x", 101))
		c.send(open, "POST", template, path, "x", "Content-Encoding: br")
		c.send(open, "POST", template, path, "fail:panic")
		c.send(open, "POST", template, path, "fail:full")
		c.send(busy, "POST", template, path, "x")
		c.raw("POST", template, slow.Listener.Addr().String(), "POST "+path+" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nx")
		c.raw("POST", template, open.Listener.Addr().String(), "POST "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if template != path {
			c.raw("POST", template, open.Listener.Addr().String(), "POST "+path+"/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
		}
	}
}

// raw sends a request exactly as written.
func (c *contract) raw(method, template, addr, request string) {
	c.t.Helper()
	c.check(method, template, nil, httptest.NewRequest(method, "/", nil), rawTo(c.t, addr, request))
}

// everywhere provokes the answers that every operation has in common. The health
// routes of the server have their own address.
func (c *contract) everywhere() {
	s, _, _ := serve(c.t, Options{Sessions: new(changes), Presence: facts{}, Drain: new(drainNode), HealthAddress: "127.0.0.1:0", Config: func() any { return nil }, Reload: reloads(nil), Metrics: http.NotFoundHandler()})
	for path, item := range c.doc.Paths.Map() {
		filled := strings.NewReplacer("{topic}", "t", "{uid}", "u", "{sid}", testSID).Replace(path)
		addr := s.Addr().String()
		if !strings.HasPrefix(path, "/v1/") {
			c.raw("GET", path, addr, "GET "+filled+" HTTP/1.1\r\nHost: localhost\r\n\r\n") // 404
			addr = s.HealthAddr().String()
		}
		for method := range item.Operations() {
			c.raw(method, path, addr, "PATCH "+filled+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
			c.raw(method, path, addr, method+" "+filled+" HTTP/1.1\r\nHost: localhost\r\nX: "+strings.Repeat("x", 64<<10)+"\r\n\r\n")
		}
	}
	for _, request := range []string{"nonsense\r\n\r\n", "GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", "GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n"} {
		c.schema("Problem", rawTo(c.t, s.Addr().String(), request).body)
	}
}

// batches sends lines of every kind. It also validates the accepted lines.
func (c *contract) batches(open, slow *httptest.Server) {
	good := []string{
		`{"to":{"all":true},"text":"x"}`,
		`{"to":{"topics":["a","b"]},"json":null,"key":"k"}`,
		`{"to":{"user":"u"},"json":[1]}`,
		`{"to":{"session":"` + testSID + `"},"base64":"/w=="}`,
	}
	for _, line := range good {
		c.schema("BatchLine", line)
	}
	bad := []string{`nonsense`, `{"to":{"all":true},"text":"fail:full"}`, `{"to":{"all":true},"text":"fail:panic"}`, `{"to":{"all":true},"text":"` + strings.Repeat("x", 60) + `"}`}
	c.send(open, "POST", "/v1/batch", "/v1/batch", strings.Join(append(good, bad...), "\n")+strings.Repeat("\n"+good[0], 20))
	req := httptest.NewRequest("POST", "/v1/batch", nil)
	for _, request := range []string{
		"POST /v1/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{",
		"POST /v1/batch HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	} {
		c.check("POST", "/v1/batch", nil, req, raw(c.t, slow, request))
	}
	rec := &recorder{arrived: make(chan struct{}, 1)}
	s, stop, _ := serve(c.t, Options{Publisher: rec})
	pr, pw := io.Pipe()
	defer pw.Close()
	answered := make(chan answer)
	go func() {
		resp, err := http.Post("http://"+s.Addr().String()+"/v1/batch", "", pr)
		if err != nil {
			close(answered)
			return
		}
		defer resp.Body.Close()
		line, _ := bufio.NewReader(resp.Body).ReadString('x') // reads to the end
		answered <- answer{resp, line}
	}()
	fmt.Fprintln(pw, good[0])
	<-rec.arrived
	stop()
	if a, ok := <-answered; ok {
		c.check("POST", "/v1/batch", nil, req, a)
	}
}
