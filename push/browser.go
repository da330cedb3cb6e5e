package push

import (
	"fmt"
	"net/http"
	"strings"

	"belfry/ws"
)

// browserGuard keeps web pages from using an API that asks for no key.
// Listening on loopback is no protection against them: every page open on
// this machine can send it a form or a "simple" fetch.
//
//   - Host must name this machine, or a page whose name was rebound to
//     127.0.0.1 would be of the same origin.
//   - Sec-Fetch-Site and Origin, which browsers set and pages cannot, must say
//     that the request comes from a page of this very server. That refuses
//     "null", the origin of sandboxed frames, data: pages and forms under
//     no-referrer. Programs send neither header and are let through.
type browserGuard struct {
	hosts map[string]struct{} // allowed besides loopback, lower case, with or without port
}

func newBrowserGuard(allowed []string) (*browserGuard, error) {
	g := &browserGuard{hosts: make(map[string]struct{}, len(allowed))}
	for _, h := range allowed {
		if host, _ := splitHost(h); host == "" || strings.ContainsAny(h, "/@ *") {
			return nil, fmt.Errorf("push: AllowedHosts has %q; allowed are host or host:port", h)
		}
		g.hosts[strings.ToLower(h)] = struct{}{}
	}
	return g, nil
}

// check returns nil if the request may pass.
func (g *browserGuard) check(r *http.Request) *problem {
	if !g.hostAllowed(r.Host) {
		return &problem{cause: CauseHost, field: "Host",
			detail: fmt.Sprintf("%q is neither a loopback name nor in api.allowed_hosts: list it there, or set api.keys, with which any Host will do", r.Host)}
	}
	site, once := single(r.Header, "Sec-Fetch-Site")
	switch {
	case once && (site == "" || site == "same-origin" || site == "none"): // none: typed into the address bar
	default:
		if pageVisit(r) {
			return nil
		}
		return &problem{cause: CauseOrigin, field: "Sec-Fetch-Site",
			detail: fmt.Sprintf("the request comes from another web page (%q); allowed is same-origin, or any with a key (api.keys)", site)}
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
		detail: fmt.Sprintf("the request comes from a web page of %q; allowed is http://%s, or any with a key (api.keys)", strings.Join(origins, ", "), r.Host)}
}

// hostAllowed says whether a Host header names this machine or is allowed.
func (g *browserGuard) hostAllowed(hostport string) bool {
	host, _ := splitHost(hostport)
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

// pageVisit says whether the request is somebody following a link from
// another site to the demo page. That shows the page to the person and
// nothing to the other site; frames of it are a different destination.
func pageVisit(r *http.Request) bool {
	return r.URL.Path == "/" && (r.Method == http.MethodGet || r.Method == http.MethodHead) &&
		onlyIs(r, "Sec-Fetch-Mode", "navigate") && onlyIs(r, "Sec-Fetch-Dest", "document")
}

// onlyIs says whether a field is there once, with that value.
func onlyIs(r *http.Request, name, want string) bool {
	value, once := single(r.Header, name)
	return once && value == want
}
