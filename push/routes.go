package push

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"

	"belfry/session"
)

// routeID names a route in the counters.
type routeID uint8

const (
	routeOther routeID = iota // paths that do not exist
	routeAll
	routeTopic
	routeUser
	routeSession
	routeBatch
	routeStats
	routeHealthz
	routeReadyz
	routeMetrics
	routeDev
	routeCount
)

// String returns the path as docs/openapi.yaml writes it.
func (id routeID) String() string {
	return [...]string{"other", "/v1/all", "/v1/topics/{topic}", "/v1/users/{uid}", "/v1/sessions/{sid}",
		"/v1/batch", "/v1/stats", "/healthz", "/readyz", "/metrics", "/"}[id]
}

// handle serves a request that was let in and returns the status it answered.
type handle func(w http.ResponseWriter, r *http.Request) (status int)

// route is one line of the table of routes.
type route struct {
	id      routeID
	method  string // "" for any
	pattern string // of http.ServeMux, without the method
	keyed   bool   // asks for an API key and counts towards MaxRequests
	serve   handle
}

// apiRoutes are the routes under /v1/ and, in --dev, the page.
func (s *Server) apiRoutes() []route {
	routes := []route{
		{routeAll, http.MethodPost, "/v1/all", true, s.pushTo(session.ScopeAll, "")},
		{routeTopic, http.MethodPost, "/v1/topics/{topic...}", true, s.pushTo(session.ScopeTopics, "topic")},
		{routeUser, http.MethodPost, "/v1/users/{uid}", true, s.pushTo(session.ScopeUsers, "uid")},
		{routeSession, http.MethodPost, "/v1/sessions/{sid}", true, s.pushTo(session.ScopeSessions, "sid")},
		{routeBatch, http.MethodPost, "/v1/batch", true, s.batch},
		{routeStats, http.MethodGet, "/v1/stats", true, s.serveStats},
		// What does not exist under /v1/ is not told without a key either.
		// The last two keep the mux from redirecting to them with a slash.
		{routeOther, "", "/v1/", true, s.notFound},
		{routeOther, "", "/v1", true, s.notFound},
		{routeOther, "", "/v1/topics", true, s.notFound},
	}
	if s.opt.Dev != nil {
		routes = append(routes, route{routeDev, "", "/", false, foreign(s.opt.Dev)})
	} else {
		routes = append(routes, route{routeOther, "", "/", false, s.notFound})
	}
	return routes
}

// healthRoutes are the routes that never ask for a key.
func (s *Server) healthRoutes() []route {
	routes := []route{
		{routeHealthz, http.MethodGet, "/healthz", false, s.healthz},
		{routeReadyz, http.MethodGet, "/readyz", false, s.readyz},
	}
	if s.opt.Metrics != nil {
		routes = append(routes, route{routeMetrics, http.MethodGet, "/metrics", false, foreign(s.opt.Metrics)})
	}
	return routes
}

// handler builds the handler of one address. guard may be nil.
func (s *Server) handler(guard *browserGuard, routes []route) http.Handler {
	mux := http.NewServeMux()
	for _, rt := range routes {
		if rt.method == "" {
			mux.Handle(rt.pattern, s.admit(rt, guard))
			continue
		}
		mux.Handle(rt.method+" "+rt.pattern, s.admit(rt, guard))
		other := rt
		other.serve = s.wrongMethod(rt.method)
		mux.Handle(rt.pattern, s.admit(other, guard))
	}
	odd := s.admit(route{id: routeOther, serve: s.notFound}, guard)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodConnect || !strings.HasPrefix(r.URL.Path, "/") {
			odd.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, keepPath(r))
	})
}

// admit lets a request in to a route and counts what was answered. A panic ends
// in a 500.
func (s *Server) admit(rt route, guard *browserGuard) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		defer s.recovered(rt, w)
		status := s.serve(rt, guard, w, r)
		s.count.request(rt.id, status)
		if status >= http.StatusBadRequest {
			s.takeIn(w, r)
		}
	}
}

// serve serves a request if it comes from this machine or with a key, and there
// are not too many at once.
func (s *Server) serve(rt route, guard *browserGuard, w http.ResponseWriter, r *http.Request) (status int) {
	if guard != nil {
		if p := guard.check(r); p != nil {
			return s.refuse(w, p)
		}
	}
	if !rt.keyed {
		return rt.serve(w, r)
	}
	if err := s.keys.check(r); err != nil {
		w.Header().Set("WWW-Authenticate", challenge(err))
		return s.refuse(w, &problem{cause: CauseUnauthorized, field: "Authorization", detail: err.Error()})
	}
	n := s.count.inFlight.Add(1)
	defer s.count.inFlight.Add(-1)
	if n > int64(s.opt.MaxRequests) {
		return s.refuse(w, &problem{cause: CauseBusy, detail: s.busyDetail})
	}
	return rt.serve(w, r)
}

// How much takeIn reads, in bytes: as much as net/http. And how long a
// connection is read on after an answer.
const (
	maxRest    = 256 << 10
	lingerTime = time.Second
)

// takeIn reads what is left of the body of a request that was refused. Closing
// a connection with bytes unread resets it, and the client may never see why it
// was refused (RFC 9112 §9.6). net/http reads on by itself where a connection
// stays open, but for as long as the body has, and the time for the answer is
// over with that.
func (s *Server) takeIn(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength == 0 {
		return
	}
	rc := http.NewResponseController(w)
	now := time.Now()
	_ = rc.SetReadDeadline(now.Add(lingerTime)) // fails in tests that record
	_ = rc.SetWriteDeadline(now.Add(s.opt.WriteTimeout))
	if r.Close || r.Header.Get("Expect") != "" { // it closes: there is nothing to read for but the answer's sake
		_ = rc.Flush()
	}
	// Beyond the bound this reader has net/http close in two steps, with time
	// for the answer in between.
	if _, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, maxRest)); err != nil {
		s.count.bodiesCut.Add(1)
	}
}

// recovered turns a panic of a handler into a 500, or into a broken
// connection if the answer has begun.
func (s *Server) recovered(rt route, w http.ResponseWriter) {
	v := recover()
	if v == nil {
		return
	}
	s.log.Error("handler panicked", zap.Stringer("route", rt.id), zap.Any("panic", v), zap.Stack("stack"))
	s.count.request(rt.id, http.StatusInternalServerError)
	if v == http.ErrAbortHandler || len(w.Header()["Content-Type"]) > 0 {
		s.count.rejected[CauseInternal].Add(1)
		panic(http.ErrAbortHandler) // net/http's own way to break off
	}
	s.refuse(w, &problem{cause: CauseInternal, detail: faultDetail})
}

const faultDetail = "a fault of this server, which is in its log"

// refuse answers with a problem and counts it.
func (s *Server) refuse(w http.ResponseWriter, p *problem) (status int) {
	s.count.rejected[p.cause].Add(1)
	return p.write(w)
}

func (s *Server) notFound(w http.ResponseWriter, r *http.Request) int {
	return s.refuse(w, &problem{cause: CauseNotFound,
		detail: "no such path; the API has /v1/all, /v1/topics/{topic}, /v1/users/{uid}, /v1/sessions/{sid}, /v1/batch and /v1/stats, and a / inside a uid or session is written %2F"})
}

func (s *Server) wrongMethod(allowed string) handle {
	allow := allowed
	if allowed == http.MethodGet {
		allow = "GET, HEAD"
	}
	return func(w http.ResponseWriter, r *http.Request) int {
		w.Header().Set("Allow", allow)
		return s.refuse(w, &problem{cause: CauseMethod, detail: "allowed is " + allow})
	}
}

// namePrefixes are the paths that end in a name. Topics may hold slashes.
var namePrefixes = [...]struct {
	prefix  string
	slashes bool
}{{"/v1/topics/", true}, {"/v1/users/", false}, {"/v1/sessions/", false}}

// keepPath returns r with a path that http.ServeMux takes as it is. The mux
// redirects "//", "/./" and "/../" to a cleaned path, but "a//b" and "a/./b"
// are topics, "." and ".." are uids, and clients have no way to escape a dot
// (it is unreserved, RFC 3986 §2.3). A path that is unclean elsewhere is made
// one that does not exist: a redirected push would be lost on most clients.
func keepPath(r *http.Request) *http.Request {
	p := r.URL.EscapedPath()
	if !unclean(p) {
		return r
	}
	kept := new(http.Request)
	*kept = *r
	u := new(url.URL)
	*u = *r.URL
	kept.URL = u
	for _, n := range namePrefixes {
		name, ok := strings.CutPrefix(p, n.prefix)
		if !ok || !n.slashes && strings.Contains(name, "/") {
			continue
		}
		if name == "." || name == ".." {
			name = strings.ReplaceAll(name, ".", "%2E")
		}
		u.RawPath = n.prefix + strings.ReplaceAll(name, "/", "%2F")
		return kept
	}
	u.Path, u.RawPath = "/v1/-", ""
	return kept
}

// unclean says whether the mux would redirect p.
func unclean(p string) bool {
	if !strings.Contains(p, "//") && !strings.Contains(p, "/.") {
		return false
	}
	for i, seg := range strings.Split(p[1:], "/") {
		last := i == strings.Count(p, "/")-1
		if seg == "." || seg == ".." || seg == "" && !last {
			return true
		}
	}
	return false
}
