package gateway

import (
	"bytes"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"belfry/session"
	"belfry/ws"
)

// origin is what decides which routes a session may use.
type origin struct {
	path        string // of its request
	subprotocol string // that it got
	names       string // of its routes, with commas, if a process before knew no more of it
}

// allows says whether a session may use a route.
func (o *origin) allows(r *Route) bool {
	if o.names != "" {
		for name := range strings.SplitSeq(o.names, ",") {
			if name == r.Name {
				return true
			}
		}
		return false
	}
	return (r.Path == "" || r.Path == o.path) && (r.Subprotocol == "" || r.Subprotocol == o.subprotocol)
}

// routes returns the routes that a session may use, in the order of the configuration.
func (o *origin) routes(all []*route) (some []*route) {
	for _, r := range all {
		if o.allows(r.Route) {
			some = append(some, r)
		}
	}
	return some
}

// set is the routes that sessions of an origin may use. Sessions have its number. A
// reload makes another set of that number.
type set struct {
	number  session.Route
	origin  origin
	routes  []*route        // in the order of the configuration
	byKind  [kinds][]*route // the same
	headers []string        // that some route wants to be kept
	cookies map[string]bool
}

func newSet(number session.Route, o origin, all []*route) *set {
	s := &set{number: number, origin: o, routes: o.routes(all), cookies: map[string]bool{}}
	headers := map[string]bool{}
	for _, r := range s.routes {
		for _, k := range r.Events {
			s.byKind[k] = append(s.byKind[k], r)
		}
		for name := range r.headers {
			if !headers[name] {
				headers[name] = true
				s.headers = append(s.headers, name)
			}
		}
		maps.Copy(s.cookies, r.cookies)
	}
	return s
}

// sets has a set for every origin of a session that had routes. There are few: one for
// each pair of a path and a subprotocol that belfry serves.
type sets struct {
	mu    sync.Mutex // for writing
	table atomic.Pointer[setTable]
}

// setTable is the sets of the routes in force. It does not change.
type setTable struct {
	routes   []*route // in force
	byOrigin map[origin]*set
	byNumber []*set // number 0 is no set
}

// routes returns the routes in force.
func (g *Gateway) routes() []*route { return g.sets.table.Load().routes }

// get returns the set with that number.
func (s *sets) get(number session.Route) *set { return s.table.Load().byNumber[number] }

// of returns the set of an origin, nil if no route in force is for it and none was.
func (s *sets) of(o origin) *set {
	now := s.table.Load()
	if found := now.byOrigin[o]; found != nil || len(o.routes(now.routes)) == 0 {
		return found
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.table.Load()
	if found := old.byOrigin[o]; found != nil {
		return found
	}
	made := newSet(session.Route(len(old.byNumber)), o, old.routes)
	table := &setTable{routes: old.routes, byOrigin: maps.Clone(old.byOrigin), byNumber: append(slices.Clip(old.byNumber), made)}
	table.byOrigin[o] = made
	s.table.Store(table)
	return made
}

// change puts routes in force: every set of before gets those that are for its origin,
// so sessions keep their numbers.
func (s *sets) change(routes []*route) {
	s.mu.Lock()
	defer s.mu.Unlock()
	table := &setTable{routes: routes, byOrigin: map[origin]*set{}, byNumber: []*set{nil}}
	if old := s.table.Load(); old != nil {
		for _, was := range old.byNumber[1:] {
			made := newSet(was.number, was.origin, routes)
			table.byNumber = append(table.byNumber, made)
			table.byOrigin[was.origin] = made
		}
	}
	s.table.Store(table)
}

// keep returns the headers and cookies of a request that the set's routes want, as
// lines "Name: value\n", and whether some were left out because of session.MaxKept.
func (s *set) keep(r *ws.Request) (kept []byte, cut bool) {
	add := func(name string, value []byte) {
		if len(kept)+len(name)+len(value)+3 > session.MaxKept {
			cut = true
			return
		}
		kept = append(append(append(append(kept, name...), ": "...), value...), '\n')
	}
	for _, name := range s.headers {
		r.HeaderAll(name, func(value []byte) bool {
			add(name, value)
			return true
		})
	}
	if len(s.cookies) > 0 {
		r.HeaderAll("Cookie", func(value []byte) bool {
			for pair := range bytes.SplitSeq(value, []byte(";")) {
				pair = bytes.TrimSpace(pair)
				if name, _, _ := bytes.Cut(pair, []byte("=")); s.cookies[string(name)] {
					add(cookieLine, pair)
				}
			}
			return true
		})
	}
	return kept, cut
}

// cookieLine begins the line of a cookie in what keep returns. No header that a
// route may name begins like this.
const cookieLine = ":"

// keptHeader returns what of the kept lines belongs to the route.
func (r *route) keptHeader(kept []byte) http.Header {
	if len(kept) == 0 {
		return nil
	}
	h := http.Header{}
	var cookies []string
	for line := range strings.Lines(string(kept)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		if name != cookieLine {
			if r.headers[name] {
				h[name] = append(h[name], value)
			}
			continue
		}
		if cookie, _, _ := strings.Cut(value, "="); r.cookies[cookie] {
			cookies = append(cookies, value)
		}
	}
	if len(cookies) > 0 {
		h["Cookie"] = []string{strings.Join(cookies, "; ")}
	}
	return h
}
