package ws

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// Origins decides which web pages may connect. WebSocket has no same-origin
// rule and cookies travel with the handshake, so without it any page that a
// user visits could open a session in the user's name (RFC 6455 §10.2).
//
// A nil Origins allows the pages of the same host only. It is immutable and
// may be used from several goroutines at once.
type Origins struct {
	any      bool
	null     bool
	file     bool // file://, which has no host
	sameName bool // see OrSameName
	rules    []originRule
}

// fileOrigin is what clients send whose page is a local file, and libraries
// that name none: Android's WebView, some for microcontrollers.
const fileOrigin = "file://"

type originRule struct {
	scheme string // lower case
	host   string // lower case; ".example.com" if subdomains is set
	port   int    // 0: the scheme has no default; anyPort
	// subdomains makes the rule match every name below host, however deep,
	// and not host itself.
	subdomains bool
}

const anyPort = -1

// CompileOrigins compiles a list of allowed origins: "https://app.example.com",
// "http://localhost:3000", "http://localhost:*" for any port,
// "https://*.example.com" for all names below example.com and not itself,
// "null" for pages without an origin (sandboxed frames, local files), "file://"
// for clients that send just that, "*" for all. An empty list gives nil: the same host. Errors are *OptionError and name
// the pattern.
func CompileOrigins(patterns []string) (*Origins, error) {
	if len(patterns) == 0 {
		return nil, nil
	}
	o := &Origins{}
	for _, pattern := range patterns {
		switch {
		case pattern == "*":
			o.any = true
		case pattern == "null":
			o.null = true
		case equalFold(pattern, fileOrigin):
			o.file = true
		default:
			rule, problem := compileOrigin(pattern)
			if problem != "" {
				return nil, &OptionError{"origins", fmt.Sprintf("pattern %q: %s", pattern, problem)}
			}
			o.rules = append(o.rules, rule)
		}
	}
	return o, nil
}

// OrSameName returns o with the pages allowed as well whose host name is the
// request's, on whatever port: in development the page and the WebSocket come
// from two servers of one machine, and a phone knows that by its address.
func (o *Origins) OrSameName() *Origins {
	more := &Origins{}
	if o != nil {
		*more = *o
	}
	more.sameName = true
	return more
}

func compileOrigin(pattern string) (rule originRule, problem string) {
	for i := 0; i < len(pattern); i++ {
		if c := pattern[i]; c <= ' ' || c >= 0x7f {
			return rule, "has a character that an origin cannot have; international names are written in their xn-- form"
		}
	}
	lower := strings.ToLower(pattern)
	parts, ok := parseOrigin([]byte(lower))
	if !ok || !schemeForm(string(parts.scheme)) {
		return rule, "is not scheme://host or scheme://host:port"
	}
	rule = originRule{scheme: string(parts.scheme), host: string(parts.host), port: anyPort}
	if string(parts.port) != "*" {
		if rule.port, ok = portNumber(parts.port, parts.scheme); !ok {
			return rule, "port; allowed are 1 to 65535 and *"
		}
	}
	if rest, found := strings.CutPrefix(rule.host, "*"); found {
		if len(rest) < 2 || rest[0] != '.' {
			return rule, "a * in the host stands for whole labels at its start, as in https://*.example.com"
		}
		rule.host, rule.subdomains = rest, true
	}
	switch {
	case strings.Contains(rule.host, "*"):
		return rule, "a * in the host stands for whole labels at its start, as in https://*.example.com"
	case strings.ContainsAny(rule.host, "/?#@,"):
		return rule, "has more than a scheme, a host and a port"
	}
	return rule, ""
}

// schemeForm says whether s, in lower case, can be a scheme (RFC 3986 §3.1); a
// pattern with another one would never match.
func schemeForm(s string) bool {
	return s[0] >= 'a' && s[0] <= 'z' && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789+-.") == ""
}

// Allow says whether a page of the given origin may connect to host, the value
// of the request's Host. An empty origin passes: what sends none is no
// browser. It does not allocate.
func (o *Origins) Allow(origin, host []byte) bool {
	if len(origin) == 0 || o != nil && o.any {
		return true
	}
	if string(origin) == "null" {
		return o != nil && o.null
	}
	if equalFold(origin, fileOrigin) {
		return o != nil && o.file
	}
	parts, ok := parseOrigin(origin)
	if !ok {
		return false
	}
	if o == nil {
		return sameHost(parts, host)
	}
	if o.sameName && sameName(parts, host) {
		return true
	}
	for i := range o.rules {
		if o.rules[i].match(parts) {
			return true
		}
	}
	return false
}

func (r *originRule) match(o originParts) bool {
	if !equalFold(o.scheme, r.scheme) {
		return false
	}
	if port, ok := portNumber(o.port, o.scheme); !ok || r.port != anyPort && r.port != port {
		return false
	}
	if r.subdomains {
		below := len(o.host) - len(r.host)
		return below > 0 && equalFold(o.host[below:], r.host)
	}
	return equalFold(o.host, r.host)
}

// originParts is an origin taken apart (RFC 6454 §6.2).
type originParts struct{ scheme, host, port []byte }

// parseOrigin splits scheme://host[:port]. An IPv6 address keeps its brackets.
func parseOrigin(p []byte) (o originParts, ok bool) {
	i := bytes.Index(p, []byte("://"))
	if i < 1 {
		return o, false
	}
	o.scheme = p[:i]
	o.host, o.port = splitPort(p[i+3:])
	return o, len(o.host) > 0
}

// sameHost compares name and port. A missing port is the default of the
// origin's scheme on both sides: behind a proxy that ends TLS the Host is
// "example.com" while the browser says "https://example.com".
func sameHost(o originParts, host []byte) bool {
	_, port := splitPort(host)
	mine, ok1 := portNumber(port, o.scheme)
	theirs, ok2 := portNumber(o.port, o.scheme)
	return ok1 && ok2 && mine == theirs && sameName(o, host)
}

// sameName compares the name alone. The page of another scheme (an extension's,
// an app's) is never the same host, whatever it calls itself.
func sameName(o originParts, host []byte) bool {
	name, _ := splitPort(host)
	return isHTTPScheme(o.scheme) && equalFold(o.host, name)
}

// isHTTPScheme says whether scheme is one of HTTP's, to which WebSocket's
// belong (RFC 6455 §3).
func isHTTPScheme(scheme []byte) bool {
	return equalFold(scheme, "http") || equalFold(scheme, "https") || equalFold(scheme, "ws") || equalFold(scheme, "wss")
}

// Check refuses a request of a page that may not connect.
func (o *Origins) Check(r *Request) *Refusal {
	if o.Allow(r.Origin(), r.Host()) {
		return nil
	}
	return o.refuse(r.Origin(), r.Host())
}

// refuse is the answer to a page that Allow does not let connect. Behind a
// proxy it is the first that everybody meets.
func (o *Origins) refuse(origin, host []byte) *Refusal {
	problem := fmt.Sprintf("Origin %s: list the origin in upgrade.origins too", shown(origin))
	_, authority, ok := bytes.Cut(origin, []byte("://"))
	switch {
	case string(origin) == "null", equalFold(origin, fileOrigin):
	case !ok || !isHost(authority):
		problem = fmt.Sprintf("Origin %s: not an origin (scheme://host, scheme://host:port, null)", shown(origin))
	case o == nil || o.sameName:
		problem = fmt.Sprintf("Origin %s, Host %s: list the origin in upgrade.origins, or let the proxy pass Host on (nginx: proxy_set_header Host $http_host)",
			shown(origin), shown(host))
	}
	return Forbidden(problem).WithCause(CauseOrigin)
}

// maxShown bounds what a text repeats of a request, in bytes.
const maxShown = 128

// shown returns p as a text may repeat it: as it is if there is nothing in it
// but what origins and hosts are made of, else quoted, and cut if it is long.
func shown(p []byte) string {
	text, more := string(p[:min(len(p), maxShown)]), ""
	if len(p) > maxShown {
		more = "..."
	}
	if strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~%:/[]") != "" {
		text = strconv.QuoteToASCII(text)
	}
	return text + more
}

// portNumber returns the number of a port, or the default of scheme if there
// is none (0 if that has none).
func portNumber(port, scheme []byte) (n int, ok bool) {
	switch {
	case len(port) > 5:
		return 0, false
	case len(port) > 0:
		for _, c := range port {
			if c < '0' || c > '9' {
				return 0, false
			}
			n = n*10 + int(c-'0')
		}
		return n, n >= 1 && n <= 65535
	case equalFold(scheme, "http"), equalFold(scheme, "ws"):
		return 80, true
	case equalFold(scheme, "https"), equalFold(scheme, "wss"):
		return 443, true
	}
	return 0, true
}
