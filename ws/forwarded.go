package ws

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"
)

// ForwardHeader is the header field in which trusted proxies name the client's
// address.
type ForwardHeader uint8

const (
	XForwardedFor ForwardHeader = iota
	Forwarded                   // RFC 7239
)

// String returns the name of the field.
func (h ForwardHeader) String() string {
	if h == Forwarded {
		return "Forwarded"
	}
	return "X-Forwarded-For"
}

// ForwardedClient returns the address of the client whose request the trusted
// proxy peer has forwarded. Each proxy appends the address of its own client at
// the right end of the field. So the walk starts there and goes to the left as
// long as trusts returns true. It never reads what is further to the left,
// because the client may have made it up. An element without an address
// ("unknown", "_hidden") ends the walk at the proxy that wrote it. ok is false if
// the walk finds a malformed element; client is peer then.
func ForwardedClient(r *Request, field ForwardHeader, trusts func(netip.Addr) bool, peer netip.AddrPort) (client netip.AddrPort, ok bool) {
	client = peer
	for i := len(r.fields) - 1; i >= 0; i-- {
		if !equalFold(r.bytes(r.fields[i].name), field.String()) {
			continue
		}
		for rest, more := r.bytes(r.fields[i].value), true; more; {
			var element []byte
			if element, rest, more, ok = lastElement(rest, field == Forwarded); !ok {
				return peer, false
			}
			if len(element) == 0 {
				continue // RFC 9110 §5.6.1
			}
			node, ok := element, true
			if field == Forwarded {
				node, ok = forwardedFor(element)
			}
			addr, known, valid := parseNode(node, field != Forwarded)
			switch {
			case !ok || !valid:
				return peer, false
			case !known:
				return client, true
			}
			if client = addr; !trusts(addr.Addr()) {
				return client, true
			}
		}
	}
	return client, true
}

// lastElement splits a comma-separated list before its last element. With quotes
// set, commas within quotes do not count. It reads from the right, so unmatched
// quotes further to the left have no effect. more is false if the element is the
// only one. ok is false if the element's own quotes do not match.
func lastElement(list []byte, quotes bool) (element, rest []byte, more, ok bool) {
	quoted := false
	i := len(list) - 1
	for ; i >= 0; i-- {
		switch c := list[i]; {
		case c == '"' && quotes:
			escapes := 0
			for escapes < i && list[i-1-escapes] == '\\' {
				escapes++
			}
			if quoted && escapes%2 == 1 {
				i -= escapes
				continue
			}
			quoted = !quoted
		case c == ',' && !quoted:
			return bytes.Trim(list[i+1:], " \t"), list[:i], true, true
		}
	}
	return bytes.Trim(list, " \t"), nil, false, !quoted
}

// forwardedFor returns the parameter "for" of an element of Forwarded, without
// quotes; "unknown" if there is none. ok is false if the element is malformed.
func forwardedFor(element []byte) (node []byte, ok bool) {
	node = []byte("unknown")
	found := false
	for len(element) > 0 {
		name, rest, has := bytes.Cut(element, []byte("="))
		if !has || !isToken(bytes.Trim(name, " \t")) {
			return nil, false
		}
		var value []byte
		if value, element, ok = parameterValue(rest); !ok {
			return nil, false
		}
		if equalFold(bytes.Trim(name, " \t"), "for") {
			if found {
				return nil, false
			}
			node, found = value, true
		}
	}
	return node, true
}

// parameterValue reads a token or a quoted string, up to ";" or the end. It
// returns the string without quotes and backslashes.
func parameterValue(p []byte) (value, rest []byte, ok bool) {
	if len(p) == 0 || p[0] != '"' {
		value, rest, _ = bytes.Cut(p, []byte(";"))
		value = bytes.Trim(value, " \t")
		return value, rest, isToken(value)
	}
	for i := 1; i < len(p); i++ {
		switch p[i] {
		case '\\':
			if i++; i == len(p) {
				return nil, nil, false
			}
			value = append(value, p[i])
		case '"':
			after := bytes.TrimLeft(p[i+1:], " \t")
			if len(after) > 0 && after[0] != ';' {
				return nil, nil, false
			}
			return value, bytes.TrimPrefix(after, []byte(";")), true
		default:
			value = append(value, p[i])
		}
	}
	return nil, nil, false
}

// parseNode reads an address with an optional port. bare allows an IPv6 address
// without brackets, which X-Forwarded-For has. known is false for a node that
// hides its address (RFC 7239 §6.2, §6.3).
func parseNode(node []byte, bare bool) (a netip.AddrPort, known, ok bool) {
	text := string(node)
	if strings.EqualFold(text, "unknown") || strings.HasPrefix(text, "_") {
		return a, false, true
	}
	host, port := text, ""
	switch {
	case strings.HasPrefix(text, "["):
		end := strings.IndexByte(text, ']')
		if end < 0 || end+1 < len(text) && text[end+1] != ':' {
			return a, false, false
		}
		host, port = text[1:end], strings.TrimPrefix(text[end+1:], ":")
	case !bare || strings.Count(text, ":") == 1:
		host, port, _ = strings.Cut(text, ":")
	}
	addr, err := netip.ParseAddr(host)
	if err != nil || strings.HasPrefix(text, "[") != addr.Is6() && !(bare && addr.Is6()) {
		return a, false, false
	}
	var n uint64
	if port != "" && port[0] != '_' {
		if n, err = strconv.ParseUint(port, 10, 16); err != nil {
			return a, false, false
		}
	}
	return netip.AddrPortFrom(addr.Unmap().WithZone(""), uint16(n)), true, true
}
