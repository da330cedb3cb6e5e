package ws

import "bytes"

// addLine takes in another line of a known field. Where the field is a list
// its lines are one list (RFC 9110 §5.3), so each adds to what the earlier
// ones said.
func (h *Parser) addLine(f knownName, value span) {
	k := &h.req.known[f]
	k.value = value
	k.count++
	line := h.req.bytes(value)
	switch f {
	case fieldConnection:
		k.addMembers(line, "upgrade", isToken)
	case fieldUpgrade:
		k.addMembers(line, "websocket", isProtocol)
	case fieldTransferEncoding:
		// The last coding decides (RFC 9112 §6.3).
		for len(line) > 0 {
			var member []byte
			if member, line = nextMember(line); len(member) > 0 {
				k.found = equalFold(member, "chunked")
			}
		}
	case fieldExtensions:
		found, ok := readExtensions(line)
		k.found, k.malformed = k.found || found, k.malformed || !ok
	case fieldSubprotocol:
		for at := value.from; ; at++ {
			end := at
			for end < value.to && h.req.head[end] != ',' {
				end++
			}
			h.req.offers = append(h.req.offers, trimSpace(h.req.head, span{at, end}))
			if at = end; at == value.to {
				return
			}
		}
	}
}

// addMembers goes through the members of a line. Empty ones are passed over
// (RFC 9110 §5.6.1.2).
func (k *knownField) addMembers(line []byte, wanted string, valid func([]byte) bool) {
	for len(line) > 0 {
		var member []byte
		if member, line = nextMember(line); len(member) == 0 {
			continue
		}
		if equalFold(member, wanted) {
			k.found = true
		} else if !valid(member) {
			k.malformed = true
		}
	}
}

// nextMember cuts the first member from a comma-separated list.
func nextMember(list []byte) (member, rest []byte) {
	member, rest, _ = bytes.Cut(list, []byte(","))
	s := trimSpace(member, span{0, uint32(len(member))})
	return member[s.from:s.to], rest
}

// trimSpace returns s without the spaces and tabs at its ends.
func trimSpace(p []byte, s span) span {
	for s.from < s.to && isSpace(p[s.from]) {
		s.from++
	}
	for s.from < s.to && isSpace(p[s.to-1]) {
		s.to--
	}
	return s
}

// isProtocol says whether p is a member of Upgrade: a token, with a version
// behind a slash or without (RFC 9110 §7.8).
func isProtocol(p []byte) bool {
	name, version, ok := bytes.Cut(p, []byte("/"))
	return isToken(name) && (!ok || isToken(version))
}

// readExtensions goes through a line of Sec-WebSocket-Extensions (RFC 6455
// §9.1). found says whether there is one at all, ok whether all are well
// formed.
func readExtensions(p []byte) (found, ok bool) {
	for {
		p = skipSpace(p)
		switch {
		case len(p) == 0:
			return found, true
		case p[0] == ',':
			p = p[1:]
			continue
		}
		if p, ok = skipToken(p); !ok {
			return found, false
		}
		found = true
		if p, ok = skipParameters(p); !ok {
			return found, false
		}
	}
}

// skipParameters skips what is behind the name of an extension, up to the
// comma or the end.
func skipParameters(p []byte) (rest []byte, ok bool) {
	for {
		if p = skipSpace(p); len(p) == 0 || p[0] == ',' {
			return p, true
		}
		if p[0] != ';' {
			return p, false
		}
		if p, ok = skipToken(skipSpace(p[1:])); !ok {
			return p, false
		}
		if p = skipSpace(p); len(p) == 0 || p[0] != '=' {
			continue
		}
		if p = skipSpace(p[1:]); len(p) > 0 && p[0] == '"' {
			p, ok = skipQuoted(p)
		} else {
			p, ok = skipToken(p)
		}
		if !ok {
			return p, false
		}
	}
}

func skipSpace(p []byte) []byte {
	for len(p) > 0 && isSpace(p[0]) {
		p = p[1:]
	}
	return p
}

func skipToken(p []byte) (rest []byte, ok bool) {
	n := 0
	for n < len(p) && isTokenByte(p[n]) {
		n++
	}
	return p[n:], n > 0
}

// skipQuoted skips a quoted string, in which a token has to be once its
// backslashes are gone (RFC 6455 §9.1).
func skipQuoted(p []byte) (rest []byte, ok bool) {
	for i := 1; i < len(p); i++ {
		if p[i] == '"' {
			return p[i+1:], i > 1
		}
		if p[i] == '\\' {
			i++
		}
		if i == len(p) || !isTokenByte(p[i]) {
			break
		}
	}
	return p, false
}
