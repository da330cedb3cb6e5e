package conformance

import (
	"bytes"
	"slices"
	"strings"
)

// deflateBeyondCases are not in the suite: rare cases of RFC 7692. Their numbers
// begin with y.
func deflateBeyondCases() (cases []offerCase) {
	return slices.Concat(deflateExampleCases(), deflateMixedCases(), deflateReservedCases(), deflateBrokenCases(), invalidOfferCases())
}

// deflateFirst is the first byte of a compressed text message in one frame.
const deflateFirst = fin | opText | rsv1

// sending is a case that sends the frames of one text message and expects its echo.
func sending(id, text string, frames ...[]byte) offerCase {
	return offerCase{id: id, offers: offer, run: func(c *client) {
		c.write(bytes.Join(frames, nil))
		c.want(opText, text)
		c.closes()
	}}
}

// failing is a case that sends frames for which the server must close with code.
func failing(id string, code uint16, frames ...[]byte) offerCase {
	return offerCase{id: id, offers: offer, run: func(c *client) {
		c.write(bytes.Join(frames, nil))
		c.fails(code)
	}}
}

// deflateExampleCases are the examples of §7.2.3.
func deflateExampleCases() []offerCase {
	return []offerCase{
		sending("y.1.1", "Hello", frame(deflateFirst, "\xf2\x48\xcd\xc9\xc9\x07\x00")),
		sending("y.1.2", "Hello", frame(opText|rsv1, "\xf2\x48\xcd"), frame(fin|opCont, "\xc9\xc9\x07\x00")),
		sending("y.1.3", "Hello", frame(deflateFirst, "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00")),
		sending("y.1.4", "Hello", frame(deflateFirst, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00")),
		sending("y.1.5", "Hello", frame(deflateFirst, "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00")),
	}
}

// deflateMixedCases mix compressed messages with others, and fragment them.
func deflateMixedCases() []offerCase {
	long := strings.Repeat("belfry", 1000)
	return []offerCase{
		sending("y.2.1", "Hello", frame(fin|opText, "Hello")),
		{id: "y.2.2", offers: offer, run: func(c *client) {
			c.sendDeflated(opText, []byte(long), 0)
			c.write(frame(fin|opText, "plain"))
			c.sendDeflated(opText, []byte(long), 0)
			c.want(opText, long)
			c.want(opText, "plain")
			c.want(opText, long)
			c.closes()
		}},
		sending("y.2.3", "", frame(deflateFirst, "\x00")),
		{id: "y.2.4", offers: offer, run: func(c *client) { // empty fragments, and a ping between
			c.write(bytes.Join([][]byte{frame(opText|rsv1, ""), frame(opCont, "\xf2\x48\xcd"), frame(fin|opPing, "p"),
				frame(opCont, ""), frame(opCont, "\xc9\xc9\x07\x00"), frame(fin|opCont, "")}, nil))
			c.want(opPong, "p")
			c.want(opText, "Hello")
			c.closes()
		}},
		{id: "y.2.5", offers: offer, run: func(c *client) { // characters cut by fragments and by writes
			text := []byte(strings.Repeat("κόσμε ", 500))
			c.chop(fragments(opText|rsv1, c.deflate.compress(text), 7), 3)
			c.returned(opText, text)
			c.closes()
		}},
	}
}

// deflateReservedCases: RSV1 belongs to the first frame of a data message (§6).
func deflateReservedCases() []offerCase {
	return []offerCase{
		failing("y.3.1", 1002, frame(opText|rsv1, "\xf2\x48\xcd"), frame(fin|opCont|rsv1, "\xc9\xc9\x07\x00")),
		failing("y.3.2", 1002, frame(opText, "Hel"), frame(fin|opCont|rsv1, "lo")),
		failing("y.3.3", 1002, frame(fin|opPing|rsv1, "")),
		failing("y.3.4", 1002, frame(fin|opClose|rsv1, "")),
		failing("y.3.5", 1002, frame(fin|opText|0x20, "")),
		failing("y.3.6", 1002, frame(deflateFirst|0x10, "\x00")),
	}
}

// deflateBrokenCases send payloads that are not valid, or that inflate to too many
// bytes.
func deflateBrokenCases() []offerCase {
	invalid := []byte(strings.Repeat("fine ", 100) + "\xed\xa0\x80")
	return []offerCase{
		failing("y.4.1", 1007, frame(deflateFirst, "\x06")),
		failing("y.4.2", 1007, frame(deflateFirst, "")),
		failing("y.4.3", 1007, frame(deflateFirst, "\xf2\x48\xcd")),
		failing("y.4.4", 1007, frame(fin|opBinary|rsv1, "\x1a\x03\x11\x00")), // a match with nothing
		{id: "y.4.5", offers: offer, run: func(c *client) { // not UTF-8 once it is inflated
			c.sendDeflated(opText, invalid, 0)
			c.fails(1007)
		}},
		{id: "y.4.6", offers: offer, run: func(c *client) { // which binary need not be
			c.sendDeflated(opBinary, invalid, 0)
			c.returned(opBinary, invalid)
			c.closes()
		}},
		{id: "y.5.1", offers: offer, run: func(c *client) { // a bomb within the limit
			c.sendDeflated(opBinary, make([]byte, 16<<20), 0)
			c.returned(opBinary, make([]byte, 16<<20))
			c.closes()
		}},
		{id: "y.5.2", offers: offer, run: func(c *client) {
			c.sendDeflated(opBinary, make([]byte, 32<<20+1), 0)
			c.fails(1009)
		}},
	}
}

// invalidOfferCases offer parameters that the server must decline without an error.
func invalidOfferCases() (cases []offerCase) {
	for i, offers := range []string{
		"permessage-deflate; unknown",
		"permessage-deflate; server_no_context_takeover=1",
		"permessage-deflate; client_no_context_takeover; client_no_context_takeover",
		"permessage-deflate; server_max_window_bits",
		"permessage-deflate; server_max_window_bits=7",
		"permessage-deflate; server_max_window_bits=08",
		"permessage-deflate; client_max_window_bits=16",
		"x-webkit-deflate-frame",
	} {
		cases = append(cases, offerCase{id: name("y.6", i+1), offers: offers, mayDecline: true,
			run: func(c *client) { c.t.Fatal("the server accepted an invalid offer") }})
	}
	return cases
}

// declinedCases are for a server without deflate. Their numbers begin with z.
func declinedCases() (cases []offerCase) {
	for i, offers := range []string{offer, "permessage-deflate", "x-webkit-deflate-frame, permessage-deflate; server_max_window_bits=15"} {
		cases = append(cases, offerCase{id: name("z.1", i+1), offers: offers, mayDecline: true,
			run: func(c *client) { c.t.Fatal("the server accepted an extension") }})
	}
	return cases
}
