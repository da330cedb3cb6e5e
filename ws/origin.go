package ws

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// Origins decides which web pages may connect. Browsers do not apply the
// same-origin rule to WebSockets and send cookies with the handshake. Without
// Origins any page that a user visits could open a session in the user's name
// (RFC 6455 §10.2).
//
// A nil Origins allows only pages of the same host. Origins is immutable:
// several goroutines may use it at once.
type Origins struct {
	any      bool
	null     bool
	file     bool // fileOrigin
	sameName bool // see OrSameName
	rules    []originRule
}

// fileOrigin has no host. Android's WebView sends it for a page that is a local
// file, and some libraries for microcontrollers send it always.
const fileOrigin = "file://"

type originRule struct {
	scheme string // lower case
	host   string // lower case; ".example.com" if subdomains is set
	port   int    // 0: the scheme has no default port; anyPort
	// subdomains makes the rule match every name below host, at any depth, but
	// not host itself.
	subdomains bool
}

const anyPort = -1

// CompileOrigins compiles a list of allowed origins:
//
//   - "https://app.example.com", "http://localhost:3000";
//   - "http://localhost:*" for any port;
//   - "https://*.example.com" for all names below example.com, but not for
//     example.com itself;
//   - "null" for pages without an origin (sandboxed frames, local files);
//   - "file://" for clients that send exactly this;
//   - "*" for all.
//
// An empty list gives nil, which allows the same host. Errors are *OptionError
// and name the pattern.
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
			rule, detail := compileOrigin(pattern)
			if detail != "" {
				return nil, &OptionError{"patterns", fmt.Sprintf("pattern %q: %s", pattern, detail)}
			}
			o.rules = append(o.rules, rule)
		}
	}
	return o, nil
}

// OrSameName returns a copy of o that also allows pages whose host name is that of
// the request, on any port. In development, the page and the WebSocket come from
// two servers on one machine, and a phone uses the address of this machine.
func (o *Origins) OrSameName() *Origins {
	more := &Origins{}
	if o != nil {
		*more = *o
	}
	more.sameName = true
	return more
}

// compileOrigin compiles a pattern that is a URI. detail is "" if it is valid.
func compileOrigin(pattern string) (rule originRule, detail string) {
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
			return rule, "the port is not valid; allowed are 1 to 65535 and *"
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

// schemeForm returns whether s, in lower case and not empty, can be a scheme (RFC
// 3986 §3.1). A pattern with another scheme would never match.
func schemeForm(s string) bool {
	return s[0] >= 'a' && s[0] <= 'z' && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789+-.") == ""
}

// Allow returns whether a page of the given origin may connect to host, the value
// of the request's Host. An empty origin is allowed: the client is no browser. It
// does not allocate.
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

// originParts is an origin that was split (RFC 6454 §6.2).
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

// sameHost compares name and port. On both sides a missing port means the default
// of the origin's scheme: behind a proxy that terminates TLS, Host is
// "example.com" and the origin "https://example.com".
func sameHost(o originParts, host []byte) bool {
	_, port := splitPort(host)
	ours, ok1 := portNumber(port, o.scheme)
	theirs, ok2 := portNumber(o.port, o.scheme)
	return ok1 && ok2 && ours == theirs && sameName(o, host)
}

// sameName compares only the name. A page with a scheme other than HTTP's (of a
// browser extension or an app) never has the same name.
func sameName(o originParts, host []byte) bool {
	name, _ := splitPort(host)
	return isHTTPScheme(o.scheme) && equalFold(o.host, name)
}

// isHTTPScheme returns whether scheme is one of HTTP or WebSocket (RFC 6455 §3).
func isHTTPScheme(scheme []byte) bool {
	return equalFold(scheme, "http") || equalFold(scheme, "https") || equalFold(scheme, "ws") || equalFold(scheme, "wss")
}

// Check returns nil if the page that sent r may connect, and the refusal
// otherwise. setting is the operator's name for the list of allowed origins.
func (o *Origins) Check(r *Request, setting string) *Refusal {
	if o.Allow(r.Origin(), r.Host()) {
		return nil
	}
	return o.refuse(r.Origin(), r.Host(), setting)
}

// refuse returns the refusal for a page that Allow does not allow. Its text has
// the fix, because behind a proxy this is often the first error.
func (o *Origins) refuse(origin, host []byte, setting string) *Refusal {
	detail := fmt.Sprintf("Origin %s: list the origin in %s too", shown(origin), setting)
	_, authority, ok := bytes.Cut(origin, []byte("://"))
	switch {
	case string(origin) == "null", equalFold(origin, fileOrigin):
	case !ok || !isHost(authority):
		detail = fmt.Sprintf("Origin %s: not an origin (scheme://host, scheme://host:port, null)", shown(origin))
	case o == nil || o.sameName:
		detail = fmt.Sprintf("Origin %s, Host %s: list the origin in %s, or let the proxy pass Host on (nginx: proxy_set_header Host $http_host)",
			shown(origin), shown(host), setting)
	}
	return Forbidden(detail).WithCause(CauseOrigin)
}

// maxShown is the number of bytes of a field that a refusal repeats.
const maxShown = 128

// shown returns p for the text of a refusal: cut if it is long, and quoted if it
// has bytes that origins and hosts do not have.
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

// portNumber returns the number of a port. An empty port gives the default of
// scheme, or 0 if the scheme has no default.
func portNumber(port, scheme []byte) (n int, ok bool) {
	switch {
	case len(port) > 5:
		return 0, false
	case len(port) > 0:
		for _, c := range port {
			if !isDigit(c) {
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
