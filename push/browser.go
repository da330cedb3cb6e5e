package push

import (
	"fmt"
	"net/http"
	"strings"

	"belfry/ws"
)

// browserGuard keeps web pages from using an API without keys. Listening on
// loopback does not protect the API: every page that is open on this machine can
// send it a form or a "simple" fetch.
//
//   - Host must name this machine. Otherwise a page whose name was rebound to
//     127.0.0.1 would have the same origin.
//   - Sec-Fetch-Site and Origin must say that the request comes from a page of
//     this server. Browsers set these headers and pages cannot. This refuses
//     "null", the origin of sandboxed frames, data: pages and forms under
//     no-referrer. Programs send neither header; their requests pass.
type browserGuard struct {
	hosts map[string]struct{} // hosts allowed besides loopback, lower case, with or without port
}

func newBrowserGuard(allowed []string) (*browserGuard, error) {
	g := &browserGuard{hosts: make(map[string]struct{}, len(allowed))}
	for _, h := range allowed {
		if host, _ := ws.SplitHost(h); host == "" || strings.ContainsAny(h, "/@ *") {
			return nil, fmt.Errorf("push: AllowedHosts has %q; allowed are host or host:port", h)
		}
		g.hosts[strings.ToLower(h)] = struct{}{}
	}
	return g, nil
}

// check returns nil if the request passes, and otherwise the problem.
func (g *browserGuard) check(r *http.Request) *problem {
	if !g.hostAllowed(r.Host) {
		return &problem{cause: CauseHost, field: "Host",
			detail: fmt.Sprintf("%q is neither a loopback name nor in api.allowed_hosts: list it there, or set api.keys (then every Host is accepted)", r.Host)}
	}
	site, once := single(r.Header, "Sec-Fetch-Site")
	switch {
	case once && (site == "" || site == "same-origin" || site == "none"): // none: typed into the address bar
	default:
		if pageVisit(r) {
			return nil
		}
		return &problem{cause: CauseOrigin, field: "Sec-Fetch-Site",
			detail: fmt.Sprintf("the request comes from a page of another site (%q); allowed is same-origin, or any request with a key (api.keys)", site)}
	}
	origins := r.Header["Origin"]
	if len(origins) == 0 {
		return nil
	}
	for _, scheme := range [...]string{"http://", "https://"} { // https: a proxy in front may speak TLS
		if len(origins) == 1 && strings.HasPrefix(origins[0], scheme) && strings.EqualFold(origins[0][len(scheme):], r.Host) {
			return nil
		}
	}
	return &problem{cause: CauseOrigin, field: "Origin",
		detail: fmt.Sprintf("the request comes from a web page of %q; allowed is http://%s, or any request with a key (api.keys)", strings.Join(origins, ", "), r.Host)}
}

// hostAllowed reports whether a Host header names this machine or is in hosts.
func (g *browserGuard) hostAllowed(hostport string) bool {
	host, _ := ws.SplitHost(hostport)
	if ws.IsLoopback(host) {
		return true
	}
	if len(g.hosts) == 0 {
		return false
	}
	_, whole := g.hosts[strings.ToLower(hostport)]
	_, name := g.hosts[strings.ToLower(host)]
	return whole || name
}

// pageVisit reports whether the request comes from a link on another site to the
// demo page. Such a request is safe: the person sees the page, and the other site
// learns nothing. (A frame has another Sec-Fetch-Dest.)
func pageVisit(r *http.Request) bool {
	return r.URL.Path == "/" && (r.Method == http.MethodGet || r.Method == http.MethodHead) &&
		onlyIs(r, "Sec-Fetch-Mode", "navigate") && onlyIs(r, "Sec-Fetch-Dest", "document")
}

// onlyIs reports whether the request has a field once, with that value.
func onlyIs(r *http.Request, name, want string) bool {
	value, once := single(r.Header, name)
	return once && value == want
}
