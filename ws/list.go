package ws

import "bytes"

// addLine adds another line of a known field. All lines of a list field are one
// list (RFC 9110 §5.3), so a line adds its members to those of the earlier
// lines.
func (ps *Parser) addLine(f knownName, value span) {
	k := &ps.req.known[f]
	k.value = value
	k.count++
	line := ps.req.bytes(value)
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
		ps.req.addOffers(value)
	}
}

// addOffers adds the members of a line of Sec-WebSocket-Protocol. Empty members
// are added too, because they are an error there.
func (r *Request) addOffers(line span) {
	for at := line.from; ; at++ {
		end := at
		for end < line.to && r.head[end] != ',' {
			end++
		}
		r.offers = append(r.offers, trimSpace(r.head, span{at, end}))
		if at = end; at == line.to {
			return
		}
	}
}

// addMembers reads the members of a line and looks for the wanted one. It skips
// empty members (RFC 9110 §5.6.1.2).
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

// nextMember splits a comma-separated list after its first member.
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

// isProtocol returns whether p can be a member of Upgrade: a token, or a token, a
// slash and a version (RFC 9110 §7.8).
func isProtocol(p []byte) bool {
	name, version, ok := bytes.Cut(p, []byte("/"))
	return isToken(name) && (!ok || isToken(version))
}
