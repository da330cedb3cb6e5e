package ws

// readExtensions checks a line of Sec-WebSocket-Extensions (RFC 6455 §9.1).
// found is true if it has at least one extension, ok if all are well formed.
func readExtensions(p []byte) (found, ok bool) {
	for {
		var name []byte
		if name, p, ok = nextExtension(p); !ok || name == nil {
			return found, ok
		}
		found = true
		for name != nil {
			if name, _, p, ok = nextParameter(p); !ok {
				return found, false
			}
		}
	}
}

// nextExtension returns the name of the first extension in p, and as rest its
// parameters and the extensions after it. The name is nil if there is none.
func nextExtension(p []byte) (name, rest []byte, ok bool) {
	for len(p) > 0 && (p[0] == ',' || isSpace(p[0])) {
		p = p[1:]
	}
	if len(p) == 0 {
		return nil, nil, true
	}
	rest, ok = skipToken(p)
	return p[:len(p)-len(rest)], rest, ok
}

// nextParameter returns the first parameter in p, which begins behind the name
// of an extension or behind another parameter. The name is nil if the extension
// has no more parameters. The value is nil if the parameter has none, and keeps
// its quotes.
func nextParameter(p []byte) (name, value, rest []byte, ok bool) {
	if p = skipSpace(p); len(p) == 0 || p[0] == ',' {
		return nil, nil, p, true
	}
	if p[0] != ';' {
		return nil, nil, nil, false
	}
	name = skipSpace(p[1:])
	if rest, ok = skipToken(name); !ok {
		return nil, nil, nil, false
	}
	name = name[:len(name)-len(rest)]
	if rest = skipSpace(rest); len(rest) == 0 || rest[0] != '=' {
		return name, nil, rest, true
	}
	value = skipSpace(rest[1:])
	if len(value) > 0 && value[0] == '"' {
		rest, ok = skipQuoted(value)
	} else {
		rest, ok = skipToken(value)
	}
	return name, value[:len(value)-len(rest)], rest, ok
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

// skipQuoted skips a quoted string. Without its backslashes the string has to be
// a token (RFC 6455 §9.1).
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
