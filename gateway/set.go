package gateway

import (
	"bytes"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"belfry/session"
	"belfry/ws"
)

// set is the routes that a session may use, by its path and subprotocol. Sessions
// have its number.
type set struct {
	number  session.Route
	mask    uint64
	byKind  [kinds][]*route // in the order of the configuration
	headers []string        // that some route wants to be kept
	cookies map[string]bool
}

// sets has every set that some session has had. There are few: at most one for each
// pair of a path and a subprotocol of the routes.
type sets struct {
	mu    sync.Mutex // for writing
	table atomic.Pointer[setTable]
}

type setTable struct {
	byMask   map[uint64]*set
	byNumber []*set // number 0 is no set
}

// get returns the set with that number.
func (s *sets) get(number session.Route) *set { return s.table.Load().byNumber[number] }

// of returns the set of the routes in mask.
func (s *sets) of(mask uint64, routes []*route) *set {
	if found := s.table.Load().byMask[mask]; found != nil {
		return found
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.table.Load()
	if found := old.byMask[mask]; found != nil {
		return found
	}
	made := &set{number: session.Route(len(old.byNumber)), mask: mask, cookies: map[string]bool{}}
	headers := map[string]bool{}
	for _, r := range routes {
		if r.bit&mask == 0 {
			continue
		}
		for _, k := range r.Events {
			made.byKind[k] = append(made.byKind[k], r)
		}
		for name := range r.headers {
			if !headers[name] {
				headers[name] = true
				made.headers = append(made.headers, name)
			}
		}
		maps.Copy(made.cookies, r.cookies)
	}
	table := &setTable{byMask: maps.Clone(old.byMask), byNumber: append(old.byNumber[:len(old.byNumber):len(old.byNumber)], made)}
	table.byMask[mask] = made
	s.table.Store(table)
	return made
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
