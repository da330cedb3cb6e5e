package ws

import "bytes"

// Answers to an offer of permessage-deflate (RFC 7692 §7.1). Neither side takes
// over its context from one message to the next: the server compresses a frame
// once for all clients, and it keeps no window for a connection. RFC 7692 allows
// both parameters in an answer to an offer without them.
const (
	deflateAnswer       = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	deflateWindowAnswer = deflateAnswer + "; server_max_window_bits=15"
)

// brokenDeflate are parts of the User-Agent of browsers that offer deflate and
// then lose messages or the connection: Safari 15.0 to 15.3, and everything that
// uses the WebKit of iOS 15.0 to 15.3.
var brokenDeflate = []string{
	"Version/15.0", "Version/15.1", "Version/15.2", "Version/15.3",
	"OS 15_0", "OS 15_1", "OS 15_2", "OS 15_3",
}

// NegotiateDeflate accepts the first offer of permessage-deflate that this
// package supports, and returns whether there is one; AppendAccept then answers
// it. It declines if the client is one of the browsers that are known to break.
func (r *Request) NegotiateDeflate() bool {
	if r.known[fieldExtensions].count == 0 {
		return false
	}
	agent := r.Header("User-Agent")
	for _, part := range brokenDeflate {
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

// acceptDeflate returns the answer to the first acceptable offer of
// permessage-deflate in a line of Sec-WebSocket-Extensions, "" if there is none.
// An offer with an unknown or repeated parameter or a wrong value is declined;
// it is not an error (RFC 7692 §7).
func acceptDeflate(line []byte) (answer string) {
	for {
		name, rest, ok := nextExtension(line)
		if !ok || name == nil {
			return ""
		}
		offer := deflateOffer{valid: string(name) == "permessage-deflate"}
		if line, ok = offer.read(rest); !ok {
			return ""
		}
		if offer.valid {
			return offer.answer()
		}
	}
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

// read reads the parameters of an offer. rest begins with the comma behind it.
// ok is false if the line is malformed.
func (o *deflateOffer) read(p []byte) (rest []byte, ok bool) {
	for {
		name, value, rest, ok := nextParameter(p)
		if !ok || name == nil {
			return rest, ok
		}
		o.add(name, value)
		p = rest
	}
}

// add adds a parameter; value is nil if it has none.
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
		// The Inflater supports every window that a client may use.
		o.valid = o.valid && (value == nil || windowBits(value) != 0)
	case serverWindow:
		// Clients share frames, which are compressed with a window of 32 KiB.
		o.valid = o.valid && windowBits(value) == 15
	}
}

// windowBits returns the value of a parameter: decimal, 8 to 15, without leading
// zeros, with or without quotes. It returns 0 for any other value.
func windowBits(value []byte) int {
	quoted := len(value) > 0 && value[0] == '"'
	if quoted {
		value = value[1 : len(value)-1]
	}
	n, digits := 0, 0
	for i := 0; i < len(value); i++ {
		if quoted && value[i] == '\\' {
			i++ // skipQuoted has checked that a byte follows
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
