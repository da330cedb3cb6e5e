package conformance

import (
	"bytes"
	"strings"
)

// deflateBeyondCases are not in the suite: what RFC 7692 demands where nothing
// goes its usual way. Their numbers begin with y.
func deflateBeyondCases() (cases []offerCase) {
	add := func(id, offers string, mayDecline bool, run func(*client)) {
		cases = append(cases, offerCase{id: id, offers: offers, mayDecline: mayDecline, run: run})
	}
	hello := func(frames ...[]byte) func(*client) {
		return func(c *client) {
			c.write(bytes.Join(frames, nil))
			c.want(opText, "Hello")
			c.closes()
		}
	}
	failing := func(code uint16, frames ...[]byte) func(*client) {
		return func(c *client) {
			c.write(bytes.Join(frames, nil))
			c.fails(code)
		}
	}
	const first = fin | opText | rsv1

	// The examples of §7.2.3.
	add("y.1.1", offer, false, hello(frame(first, "\xf2\x48\xcd\xc9\xc9\x07\x00")))
	add("y.1.2", offer, false, hello(frame(opText|rsv1, "\xf2\x48\xcd"), frame(fin|opCont, "\xc9\xc9\x07\x00")))
	add("y.1.3", offer, false, hello(frame(first, "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00")))
	add("y.1.4", offer, false, hello(frame(first, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00")))
	add("y.1.5", offer, false, hello(frame(first, "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00")))

	// A message that is not compressed may come at any time.
	add("y.2.1", offer, false, hello(frame(fin|opText, "Hello")))
	add("y.2.2", offer, false, func(c *client) {
		c.sendDeflated(opText, []byte(strings.Repeat("belfry", 1000)), 0)
		c.write(frame(fin|opText, "plain"))
		c.sendDeflated(opText, []byte(strings.Repeat("belfry", 1000)), 0)
		c.want(opText, strings.Repeat("belfry", 1000))
		c.want(opText, "plain")
		c.want(opText, strings.Repeat("belfry", 1000))
		c.closes()
	})
	add("y.2.3", offer, false, func(c *client) { // the empty message
		c.write(frame(first, "\x00"))
		c.want(opText, "")
		c.closes()
	})
	add("y.2.4", offer, false, func(c *client) { // empty fragments, and a ping between
		c.write(bytes.Join([][]byte{frame(opText|rsv1, ""), frame(opCont, "\xf2\x48\xcd"), frame(fin|opPing, "p"),
			frame(opCont, ""), frame(opCont, "\xc9\xc9\x07\x00"), frame(fin|opCont, "")}, nil))
		c.want(opPong, "p")
		c.want(opText, "Hello")
		c.closes()
	})
	add("y.2.5", offer, false, func(c *client) { // characters cut by fragments and by writes
		text := []byte(strings.Repeat("κόσμε ", 500))
		c.chop(fragments(opText|rsv1, c.deflate.compress(text), 7), 3)
		c.returned(opText, text)
		c.closes()
	})

	// RSV1 belongs to the first frame of a data message (§6).
	add("y.3.1", offer, false, failing(1002, frame(opText|rsv1, "\xf2\x48\xcd"), frame(fin|opCont|rsv1, "\xc9\xc9\x07\x00")))
	add("y.3.2", offer, false, failing(1002, frame(opText, "Hel"), frame(fin|opCont|rsv1, "lo")))
	add("y.3.3", offer, false, failing(1002, frame(fin|opPing|rsv1, "")))
	add("y.3.4", offer, false, failing(1002, frame(fin|opClose|rsv1, "")))
	add("y.3.5", offer, false, failing(1002, frame(fin|opText|0x20, "")))
	add("y.3.6", offer, false, failing(1002, frame(first|0x10, "\x00")))

	// Payloads that are none.
	add("y.4.1", offer, false, failing(1007, frame(first, "\x06")))
	add("y.4.2", offer, false, failing(1007, frame(first, "")))
	add("y.4.3", offer, false, failing(1007, frame(first, "\xf2\x48\xcd")))
	add("y.4.4", offer, false, failing(1007, frame(fin|opBinary|rsv1, "\x1a\x03\x11\x00"))) // a match with nothing
	add("y.4.5", offer, false, func(c *client) {                                            // not UTF-8 once it is inflated
		c.sendDeflated(opText, []byte(strings.Repeat("fine ", 100)+"\xed\xa0\x80"), 0)
		c.fails(1007)
	})
	add("y.4.6", offer, false, func(c *client) { // binary may hold it
		p := []byte(strings.Repeat("fine ", 100) + "\xed\xa0\x80")
		c.sendDeflated(opBinary, p, 0)
		c.returned(opBinary, p)
		c.closes()
	})

	// Bombs, within the limit and beyond.
	add("y.5.1", offer, false, func(c *client) {
		c.sendDeflated(opBinary, make([]byte, 16<<20), 0)
		c.returned(opBinary, make([]byte, 16<<20))
		c.closes()
	})
	add("y.5.2", offer, false, func(c *client) {
		c.sendDeflated(opBinary, make([]byte, tooLarge), 0)
		c.fails(1009)
	})

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
		add(name("y.6", i+1), offers, true, func(c *client) { c.t.Fatal("the server accepted an invalid offer") })
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
