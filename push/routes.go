package push

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"belfry/message"
	"belfry/ws"
)

// routeID names a route in the counters.
type routeID uint8

const (
	routeOther routeID = iota // paths that do not exist
	routeAll
	routeTopic
	routeUser
	routeSession
	routeSessionAuth
	routeUserExpire
	routeUserPermissions
	routeTokensExpire
	routeUserRead
	routeUserEnd
	routeUserJoin
	routeUserLeave
	routeSessionRead
	routeSessionEnd
	routeSessionJoin
	routeSessionLeave
	routeTopicRead
	routeTopicList
	routePresence
	routeNodes
	routeBatch
	routeDrain
	routeDrainRead
	routeDrainStop
	routeStats
	routeConfig
	routeReload
	routeHealthz
	routeReadyz
	routeMetrics
	routeDev
	routeCount
)

// String returns the path as docs/openapi.yaml writes it. For paths with several
// methods, all but POST have the method in front, so that pushes are counted apart.
func (id routeID) String() string {
	return [...]string{"other", "/v1/all", "/v1/topics/{topic}", "/v1/users/{uid}", "/v1/sessions/{sid}",
		"/v1/sessions/{sid}/auth", "/v1/users/{uid}/expire", "/v1/users/{uid}/permissions", "/v1/tokens/expire",
		"GET /v1/users/{uid}", "DELETE /v1/users/{uid}", "PUT /v1/users/{uid}/topics/{topic}", "DELETE /v1/users/{uid}/topics/{topic}",
		"GET /v1/sessions/{sid}", "DELETE /v1/sessions/{sid}", "PUT /v1/sessions/{sid}/topics/{topic}", "DELETE /v1/sessions/{sid}/topics/{topic}",
		"GET /v1/topics/{topic}", "/v1/topics", "/v1/presence", "/v1/nodes",
		"/v1/batch", "/v1/drain", "GET /v1/drain", "DELETE /v1/drain", "/v1/stats", "/v1/config", "/v1/reload", "/healthz", "/readyz", "/metrics", "/"}[id]
}

// call has what admit knows about a request.
type call struct {
	begun time.Time
	conn  *conn     // nil if the listener is not one of this package
	key   *keyCount // nil if the route needs no key
}

// handle serves a request that was admitted. It returns the status of its answer.
type handle func(w http.ResponseWriter, r *http.Request, c call) (status int)

// route is one line of the table of routes.
type route struct {
	id      routeID
	method  string // "" for any
	pattern string // of http.ServeMux, without the method
	access  access
	serve   handle
}

// access says what a route requires.
type access uint8

const (
	accessOpen   access = iota // nothing
	accessHealth               // nothing; connections that are reserved for health can use the route too (HealthReserve)
	accessKeyed                // an API key, if any is set
	accessPush                 // an API key, if any is set; the route reads a body
)

// apiRoutes returns the routes under /v1/ and, with Options.Dev, those of the demo
// page.
func (s *Server) apiRoutes() []route {
	routes := []route{
		{routeAll, http.MethodPost, "/v1/all", accessPush, s.pushTo(message.ScopeAll, "")},
		{routeTopic, http.MethodPost, "/v1/topics/{topic}", accessPush, s.pushTo(message.ScopeTopics, "topic")},
		{routeUser, http.MethodPost, "/v1/users/{uid}", accessPush, s.pushTo(message.ScopeUsers, "uid")},
		{routeSession, http.MethodPost, "/v1/sessions/{sid}", accessPush, s.pushTo(message.ScopeSessions, "sid")},
		{routeBatch, http.MethodPost, "/v1/batch", accessPush, s.batch},
		{routeStats, http.MethodGet, "/v1/stats", accessKeyed, s.shown("statistics", s.opt.Stats)},
		// Without a key the API does not show which paths exist under /v1/.
		// The route /v1 keeps the mux from redirecting it to /v1/.
		{routeOther, "", "/v1/", accessKeyed, s.notFound},
		{routeOther, "", "/v1", accessKeyed, s.notFound},
		{routeOther, "", "/", accessOpen, s.notFound},
	}
	if s.opt.Sessions != nil {
		routes = append(routes, s.sessionRoutes()...)
	}
	if s.opt.Presence != nil {
		routes = append(routes, s.presenceRoutes()...)
	}
	if s.opt.Drain != nil {
		routes = append(routes, s.drainRoutes()...)
	}
	if s.opt.Config != nil {
		routes = append(routes, route{routeConfig, http.MethodGet, "/v1/config", accessKeyed, s.shown("settings", s.opt.Config)})
	}
	if s.opt.Reload != nil {
		routes = append(routes, route{routeReload, http.MethodPost, "/v1/reload", accessKeyed, s.reload})
	}
	if s.opt.Dev != nil {
		routes = append(routes, route{routeDev, "", "/{$}", accessOpen, foreign(s.opt.Dev)},
			route{routeDev, "", "/assets/", accessOpen, foreign(s.opt.Dev)})
	}
	return routes
}

// healthRoutes returns the routes for health and metrics, which never require a
// key.
func (s *Server) healthRoutes() []route {
	routes := []route{
		{routeHealthz, http.MethodGet, "/healthz", accessHealth, s.healthz},
		{routeReadyz, http.MethodGet, "/readyz", accessHealth, s.readyz},
	}
	if s.opt.Metrics != nil {
		routes = append(routes, route{routeMetrics, http.MethodGet, "/metrics", accessHealth, s.scrape(s.opt.Metrics)})
	}
	return routes
}

// handler returns the handler of one address. guard may be nil.
func (s *Server) handler(guard *browserGuard, routes []route) http.Handler {
	mux := http.NewServeMux()
	methods := map[string][]string{} // by pattern
	for _, rt := range routes {
		if rt.method == "" {
			mux.Handle(rt.pattern, s.admit(rt, guard))
			continue
		}
		mux.Handle(rt.method+" "+rt.pattern, s.admit(rt, guard))
		methods[rt.pattern] = append(methods[rt.pattern], rt.method)
	}
	for _, rt := range routes { // the first route of a pattern counts requests with a wrong method
		if allowed := methods[rt.pattern]; allowed != nil {
			rt.serve = s.wrongMethod(allowed)
			mux.Handle(rt.pattern, s.admit(rt, guard))
			delete(methods, rt.pattern)
		}
	}
	noPath := s.admit(route{id: routeOther, serve: s.notFound}, guard)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodConnect || !strings.HasPrefix(r.URL.Path, "/") {
			noPath.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, keepPath(r))
	})
}

// admit returns a handler that serves requests of a route and counts the answers. A
// panic ends in a 500.
func (s *Server) admit(rt route, guard *browserGuard) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c := call{begun: time.Now(), conn: connOf(r)}
		if c.conn != nil {
			c.conn.serving.Store(true)
			defer c.conn.serving.Store(false)
		}
		defer s.recovered(rt, w)
		if c.conn.ambiguous() {
			w.Header()["Connection"] = closeConn
		}
		pending := c.conn != nil && r.ContentLength != 0 && !c.conn.whole()
		if pending && rt.access != accessPush {
			// Otherwise net/http would read the body before it sends the
			// answer, as long as ReadTimeout allows.
			_ = http.NewResponseController(w).EnableFullDuplex()
		}
		status := s.serve(rt, guard, w, r, c)
		s.count.request(rt.id, status)
		if status >= http.StatusBadRequest || pending && !c.conn.whole() {
			s.discardRest(w, r, c.conn, status)
		}
		s.count.durations[rt.id].add(time.Since(c.begun))
	}
}

// serve checks a request and passes it to its route: the place of its connection,
// its Host and origin, and its key.
func (s *Server) serve(rt route, guard *browserGuard, w http.ResponseWriter, r *http.Request, c call) (status int) {
	if p := s.checkPlace(rt, w, c.conn); p != nil {
		return s.refuse(w, p)
	}
	if r.Host != "" && !ws.ValidHost(r.Host) { // HTTP/1.0 may have none
		return s.refuse(w, &problem{cause: CauseField, field: "Host", detail: fmt.Sprintf("%q; allowed is host or host:port (RFC 9110 §7.2)", r.Host)})
	}
	if guard != nil {
		if p := guard.check(r); p != nil {
			s.logs.refused(rt.id, r, keyNone, p.cause)
			return s.refuse(w, p)
		}
	}
	if rt.access < accessKeyed {
		return rt.serve(w, r, c)
	}
	var err error
	c.key, err = s.keys.Load().check(r)
	c.key.requests.Add(1)
	if err != nil {
		s.logs.refused(rt.id, r, logKey(err), CauseUnauthorized)
		w.Header().Set("WWW-Authenticate", challenge(err))
		return s.refuse(w, &problem{cause: CauseUnauthorized, field: "Authorization", detail: err.Error()})
	}
	if status = rt.serve(w, r, c); status < http.StatusBadRequest && c.conn != nil {
		c.conn.authenticated = true
	}
	return status
}

// checkPlace refuses requests on connections without a place: connections of the
// reserve, which can use only health routes, and evicted connections. While the
// server holds it refuses all others.
func (s *Server) checkPlace(rt route, w http.ResponseWriter, c *conn) *problem {
	if s.holding.Load() && rt.access != accessHealth {
		w.Header()["Connection"] = closeConn
		return &problem{cause: CauseShutdown, detail: "this process is being replaced by a new one: try again; nothing was delivered"}
	}
	if c == nil || !c.healthOnly && !c.evicted.Load() {
		return nil
	}
	w.Header()["Connection"] = closeConn
	if rt.access == accessHealth {
		c.health = true
		return nil
	}
	return &problem{cause: CauseBusy, detail: fmt.Sprintf("allowed are at most %d connections (api.max_connections)", s.opt.MaxConnections)}
}

// enter takes one of the places of MaxRequests. The caller must call leave in every
// case, also if enter returned a problem.
func (s *Server) enter() *problem {
	if s.count.inFlight.Add(1) > int64(s.opt.MaxRequests) {
		return &problem{cause: CauseBusy, detail: s.busyDetail}
	}
	return nil
}

// leave gives back what enter took.
func (s *Server) leave() { s.count.inFlight.Add(-1) }

// recovered recovers from a panic of a handler. It answers with a 500, or closes
// the connection if the answer has begun.
func (s *Server) recovered(rt route, w http.ResponseWriter) {
	v := recover()
	if v == nil {
		return
	}
	s.log.Error("handler panicked", zap.Stringer("route", rt.id), zap.Any("panic", v), zap.Stack("stack"))
	s.count.request(rt.id, http.StatusInternalServerError)
	if v == http.ErrAbortHandler || len(w.Header()["Content-Type"]) > 0 {
		s.count.rejected[CauseInternal].Add(1)
		panic(http.ErrAbortHandler) // this makes net/http close the connection
	}
	s.refuse(w, &problem{cause: CauseInternal, detail: faultDetail})
}

const faultDetail = "a fault of this server; its log has the details"

// refuse answers with a problem and counts it.
func (s *Server) refuse(w http.ResponseWriter, p *problem) (status int) {
	s.count.rejected[p.cause].Add(1)
	return p.write(w)
}

func (s *Server) notFound(w http.ResponseWriter, r *http.Request, _ call) int {
	detail := "no such path; the API has /v1/all, /v1/topics, /v1/topics/{topic}, /v1/users/{uid}, /v1/sessions/{sid}, the last two also with /topics/{topic}, /v1/presence, /v1/nodes, /v1/sessions/{sid}/auth, /v1/users/{uid}/expire, /v1/users/{uid}/permissions, /v1/tokens/expire, /v1/batch, /v1/drain, /v1/stats, /v1/config and /v1/reload"
	if !strings.HasPrefix(r.URL.Path, "/v1") {
		detail += "; WebSocket clients connect to the addresses of listen"
	}
	for _, prefix := range namePrefixes {
		if strings.HasPrefix(r.URL.EscapedPath(), prefix) {
			detail = "no such path; a / inside a topic, uid or session is written %2F: " + prefix + "a%2Fb"
		}
	}
	return s.refuse(w, &problem{cause: CauseNotFound, detail: detail})
}

func (s *Server) wrongMethod(allowed []string) handle {
	allow := strings.Replace(strings.Join(slices.Sorted(slices.Values(allowed)), ", "), http.MethodGet, "GET, HEAD", 1)
	return func(w http.ResponseWriter, r *http.Request, _ call) int {
		w.Header().Set("Allow", allow)
		return s.refuse(w, &problem{cause: CauseMethod, detail: "allowed is " + allow})
	}
}

// namePrefixes are the beginnings of paths that end with a name.
var namePrefixes = [...]string{"/v1/topics/", "/v1/users/", "/v1/sessions/"}

// keepPath returns r with a path that http.ServeMux does not redirect. The mux
// redirects a path with "//", "/./" or "/../" to a cleaned path. But "." and ".."
// are valid uids, and clients cannot escape a dot (it is unreserved, RFC 3986
// §2.3). Any other path that the mux would redirect becomes a path that does not
// exist, because most clients lose a push that is redirected.
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
	u.Path, u.RawPath = "/v1/-", ""
	for _, prefix := range namePrefixes {
		rest, ok := strings.CutPrefix(p, prefix)
		name, after, deeper := strings.Cut(rest, "/")
		switch {
		case !ok:
		case (name == "." || name == "..") && (!deeper || !unclean("/"+after)):
			u.Path, u.RawPath = r.URL.Path, prefix+strings.ReplaceAll(name, ".", "%2E")+rest[len(name):]
		default:
			u.Path = prefix + "-/-" // not found, with the text for this prefix
		}
	}
	return kept
}

// unclean reports whether the mux would redirect p.
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
