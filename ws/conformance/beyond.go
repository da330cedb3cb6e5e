package conformance

// beyondCases are not in the suite: typical errors of servers with an output
// queue. Their numbers begin with x.
func beyondCases() []testCase {
	big := filler(opBinary, 8<<20)
	return []testCase{
		// The pong must not be sent within the frame that is partly sent.
		{"x.1", func(c *client) {
			c.write(append(appendFrame(nil, fin|opBinary, big), frame(fin|opPing, "behind")...))
			c.returned(opBinary, big)
			c.want(opPong, "behind")
			c.closes()
		}},
		// Neither must the close frame of a failure.
		{"x.2", func(c *client) {
			c.write(append(appendFrame(nil, fin|opBinary, big), frame(fin|0x3, "")...))
			c.returned(opBinary, big)
			c.fails(1002)
		}},
	}
}
