package conformance

import "strings"

// closeOrderCases is 7.1: frames around the close handshake.
func closeOrderCases() []testCase {
	// closed sends frames. The server must ignore those after the close frame.
	closed := func(frames ...[]byte) func(c *client) {
		return func(c *client) {
			c.send(atOnce, frames...)
			c.wantClose(1000)
			c.wantEnd()
		}
	}
	bye := closeFrame(1000, "")
	return []testCase{
		{"7.1.1", func(c *client) {
			c.send(atOnce, frame(fin|opText, hello))
			c.want(opText, hello)
			c.closes()
		}},
		{"7.1.2", closed(bye, bye)},
		{"7.1.3", closed(bye, frame(fin|opPing, ""))},
		{"7.1.4", closed(bye, frame(fin|opText, hello))},
		{"7.1.5", closed(frame(opText, "fragment1"), bye, frame(fin|opCont, "fragment2"))},
		// Informational in the suite: whether the messages that came before
		// the close frame still come back is up to the server. If they do,
		// then in order and whole.
		{"7.1.6", func(c *client) {
			big := strings.Repeat("0123456789abcdef", 256<<10/16)
			c.send(frameWise, frame(fin|opText, big), frame(fin|opText, hello), bye, frame(fin|opPing, ""))
			c.wantAtMost(opText, big, hello)
			c.wantEnd()
		}},
	}
}

// closePayloadCases is 7.3 to 7.13: the payload of a close frame.
func closePayloadCases() []testCase {
	// answered expects the echo of a valid close frame. refused expects that the
	// server fails the connection.
	answered := func(wire []byte, code uint16) func(c *client) {
		return func(c *client) {
			c.send(atOnce, wire)
			c.wantClose(code)
			c.wantEnd()
		}
	}
	refused := func(wire []byte, code uint16) func(c *client) {
		return func(c *client) {
			c.send(atOnce, wire)
			c.fails(code)
		}
	}
	cases := []testCase{
		{"7.3.1", answered(frame(fin|opClose, ""), 0)},
		{"7.3.2", refused(frame(fin|opClose, "a"), 1002)},
		{"7.3.3", answered(closeFrame(1000, ""), 1000)},
		{"7.3.4", answered(closeFrame(1000, hello), 1000)},
		{"7.3.5", answered(closeFrame(1000, strings.Repeat("*", 123)), 1000)},
		{"7.3.6", refused(closeFrame(1000, strings.Repeat("*", 124)), 1002)},
		{"7.5.1", refused(closeFrame(1000, greek+"\xed\xa0\x80edited"), 1007)},
		{"7.13.1", refused(closeFrame(5000, ""), 1002)},
		{"7.13.2", refused(closeFrame(65535, ""), 1002)},
	}
	for i, code := range []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
		cases = append(cases, testCase{name("7.7", i+1), answered(closeFrame(code, ""), code)})
	}
	for i, code := range []uint16{0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999} {
		cases = append(cases, testCase{name("7.9", i+1), refused(closeFrame(code, ""), 1002)})
	}
	return cases
}
