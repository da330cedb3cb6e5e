package conformance

// beyondCases are not in the suite: what a server with an output queue gets
// wrong easily. Their numbers begin with x.
func beyondCases() []testCase {
	big := filler(opBinary, 8<<20)
	return []testCase{
		// The pong has to wait for the end of the frame that is partly sent.
		{"x.1", func(c *client) {
			c.write(append(appendFrame(nil, fin|opBinary, big), frame(fin|opPing, "behind")...))
			c.returned(opBinary, big)
			c.want(opPong, "behind")
			c.closes()
		}},
		// So has the close frame of a failure.
		{"x.2", func(c *client) {
			c.write(append(appendFrame(nil, fin|opBinary, big), frame(fin|0x3, "")...))
			c.returned(opBinary, big)
			c.fails(1002)
		}},
	}
}
