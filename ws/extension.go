package ws

import "bytes"

// What the offer of permessage-deflate is answered with (RFC 7692 §7.1). Both
// sides begin each message without what came before: the server because a
// frame is compressed once for all clients, the client because the server
// keeps no window for a connection. Clients may be told so without having
// asked.
const (
	deflateAnswer       = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	deflateWindowAnswer = deflateAnswer + "; server_max_window_bits=15"
)

// brokenDeflate finds browsers that offer deflate and lose messages or the
// connection when they get it: Safari 15.0 to 15.3, and everything that is
// built on the WebKit of iOS 15.0 to 15.3.
var brokenDeflate = []string{
	"Version/15.0", "Version/15.1", "Version/15.2", "Version/15.3",
	"OS 15_0", "OS 15_1", "OS 15_2", "OS 15_3",
}

// NegotiateDeflate accepts the first offer of permessage-deflate that this
// server can serve, over all fields, and says whether there is one; AppendAccept
// then answers it. An offer is declined if the User-Agent of the client contains
// a string of except; nil stands for browsers that are known to break.
func (r *Request) NegotiateDeflate(except []string) bool {
	if r.known[fieldExtensions].count == 0 {
		return false
	}
	if except == nil {
		except = brokenDeflate
	}
	agent := r.Header("User-Agent")
	for _, part := range except {
		if bytes.Contains(agent, []byte(part)) {
			return false
		}
	}
	r.HeaderAll(fieldExtensions.String(), func(line []byte) bool {
		r.extension = acceptDeflate(line)
		return r.extension == ""
	})
	return r.extension != ""
}

// acceptDeflate returns the answer to the first offer of permessage-deflate in
// a line of Sec-WebSocket-Extensions that can be accepted, "" if there is none.
// An offer with an unknown or repeated parameter or a wrong value is not an
// error, it is declined (RFC 7692 §7).
func acceptDeflate(line []byte) (answer string) {
	for len(line) > 0 {
		if line[0] == ',' || isSpace(line[0]) {
			line = line[1:]
			continue
		}
		rest, ok := skipToken(line)
		if !ok {
			return ""
		}
		offer := deflateOffer{valid: string(line[:len(line)-len(rest)]) == "permessage-deflate"}
		if line, ok = offer.read(rest); !ok {
			return ""
		}
		if offer.valid {
			return offer.answer()
		}
	}
	return ""
}

// deflateParameter is a parameter of permessage-deflate.
type deflateParameter uint8

const (
	serverNoContext deflateParameter = 1 << iota
	clientNoContext
	serverWindow
	clientWindow
)

func deflateParameterOf(name []byte) deflateParameter {
	switch string(name) {
	case "server_no_context_takeover":
		return serverNoContext
	case "client_no_context_takeover":
		return clientNoContext
	case "server_max_window_bits":
		return serverWindow
	case "client_max_window_bits":
		return clientWindow
	}
	return 0
}

// deflateOffer is one offer of permessage-deflate.
type deflateOffer struct {
	valid bool // so far
	given deflateParameter
}

func (o *deflateOffer) answer() string {
	if o.given&serverWindow != 0 {
		return deflateWindowAnswer
	}
	return deflateAnswer
}

// read reads the parameters of an offer, up to the comma or the end. ok is
// false if the line is malformed.
func (o *deflateOffer) read(p []byte) (rest []byte, ok bool) {
	for {
		if p = skipSpace(p); len(p) == 0 || p[0] == ',' {
			return p, true
		}
		if p[0] != ';' {
			return nil, false
		}
		name := skipSpace(p[1:])
		if p, ok = skipToken(name); !ok {
			return nil, false
		}
		name = name[:len(name)-len(p)]
		if p = skipSpace(p); len(p) == 0 || p[0] != '=' {
			o.add(name, nil)
			continue
		}
		value := skipSpace(p[1:])
		if len(value) > 0 && value[0] == '"' {
			p, ok = skipQuoted(value)
		} else {
			p, ok = skipToken(value)
		}
		if !ok {
			return nil, false
		}
		o.add(name, value[:len(value)-len(p)])
	}
}

// add takes in a parameter, whose value is nil if it has none.
func (o *deflateOffer) add(name, value []byte) {
	p := deflateParameterOf(name)
	if p == 0 || o.given&p != 0 {
		o.valid = false
		return
	}
	o.given |= p
	switch p {
	case serverNoContext, clientNoContext:
		o.valid = o.valid && value == nil
	case clientWindow:
		// Any window that a client chooses can be inflated.
		o.valid = o.valid && (value == nil || windowBits(value) != 0)
	case serverWindow:
		// Frames are shared, so all are made with the one window of 32 KiB.
		o.valid = o.valid && windowBits(value) == 15
	}
}

// windowBits reads the value of a parameter: decimal, 8 to 15, no leading
// zeros, possibly quoted. It returns 0 for any other.
func windowBits(value []byte) int {
	quoted := len(value) > 0 && value[0] == '"'
	if quoted {
		value = value[1 : len(value)-1]
	}
	n, digits := 0, 0
	for i := 0; i < len(value); i++ {
		if quoted && value[i] == '\\' {
			i++ // skipQuoted saw to it that something follows
		}
		c := value[i]
		if !isDigit(c) || digits == 2 || digits == 0 && c == '0' {
			return 0
		}
		n = 10*n + int(c-'0')
		digits++
	}
	if n < 8 || n > 15 {
		return 0
	}
	return n
}
