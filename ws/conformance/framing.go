package conformance

import (
	"fmt"
	"strings"
)

// name writes the number of a case.
func name(section string, i int) string { return fmt.Sprintf("%s.%d", section, i) }

// echoCases is section 1: messages around the lengths at which the form of the
// length changes.
func echoCases() (cases []testCase) {
	for i, op := range []byte{opText, opBinary} {
		fill := [...]string{"*", "\xfe"}[i]
		for j, n := range []int{0, 125, 126, 127, 128, 65535, 65536, 65536} {
			chop := j == 7
			cases = append(cases, testCase{fmt.Sprintf("1.%d.%d", i+1, j+1), func(c *client) {
				payload := strings.Repeat(fill, n)
				if chop {
					c.chop(frame(fin|op, payload), 997)
				} else {
					c.send(atOnce, frame(fin|op, payload))
				}
				c.want(op, payload)
				c.closes()
			}})
		}
	}
	return cases
}

// pingCases is section 2: pings and pongs.
func pingCases() []testCase {
	pong := func(way delivery, payload string) func(c *client) {
		return func(c *client) {
			c.send(way, frame(fin|opPing, payload))
			c.want(opPong, payload)
			c.closes()
		}
	}
	unsolicited := func(payload string) func(c *client) {
		return func(c *client) {
			c.send(atOnce, frame(fin|opPong, payload))
			c.closes()
		}
	}
	tenPings := func(way delivery) func(c *client) {
		return func(c *client) {
			var pings [][]byte
			for i := range 10 {
				pings = append(pings, frame(fin|opPing, fmt.Sprintf("payload-%d", i)))
			}
			c.send(way, pings...)
			for i := range 10 {
				c.want(opPong, fmt.Sprintf("payload-%d", i))
			}
			c.closes()
		}
	}
	return []testCase{
		{"2.1", pong(atOnce, "")},
		{"2.2", pong(atOnce, "Hello, world!")},
		{"2.3", pong(atOnce, "\x00\xff\xfe\xfd\xfc\xfb\x00\xff")},
		{"2.4", pong(atOnce, strings.Repeat("\xfe", 125))},
		{"2.5", func(c *client) {
			c.send(atOnce, frame(fin|opPing, strings.Repeat("\xfe", 126)))
			c.fails(1002)
		}},
		{"2.6", pong(octetWise, strings.Repeat("\xfe", 125))},
		{"2.7", unsolicited("")},
		{"2.8", unsolicited("unsolicited pong payload")},
		{"2.9", func(c *client) {
			c.send(atOnce, frame(fin|opPong, "unsolicited pong payload"), frame(fin|opPing, "ping payload"))
			c.want(opPong, "ping payload")
			c.closes()
		}},
		{"2.10", tenPings(atOnce)},
		{"2.11", tenPings(octetWise)},
	}
}

const hello = "Hello, world!"

// afterEcho sends a valid message, an invalid frame and a ping. The message is
// echoed, the frame ends the connection, the ping is not answered.
func afterEcho(way delivery, bad []byte) func(c *client) {
	return func(c *client) {
		c.send(way, frame(fin|opText, hello), bad, frame(fin|opPing, ""))
		c.want(opText, hello)
		c.fails(1002)
	}
}

// alone sends an invalid frame as the first one.
func alone(bad []byte) func(c *client) {
	return func(c *client) {
		c.send(atOnce, bad)
		c.fails(1002)
	}
}

// reservedBitCases is section 3: RSV bits without an extension.
func reservedBitCases() []testCase {
	rsv := func(bits, op byte, payload string) []byte { return frame(fin|bits<<4|op, payload) }
	return []testCase{
		{"3.1", alone(rsv(1, opText, hello))},
		{"3.2", afterEcho(atOnce, rsv(2, opText, hello))},
		{"3.3", afterEcho(frameWise, rsv(3, opText, hello))},
		{"3.4", afterEcho(octetWise, rsv(4, opText, hello))},
		{"3.5", alone(rsv(5, opBinary, "\x00\xff\xfe\xfd\xfc\xfb\x00\xff"))},
		{"3.6", alone(rsv(6, opPing, hello))},
		{"3.7", alone(rsv(7, opClose, ""))},
	}
}

// opcodeCases is section 4: reserved opcodes, of data and of control frames.
func opcodeCases() (cases []testCase) {
	for i, first := range []byte{3, 11} {
		section := name("4", i+1)
		cases = append(cases,
			testCase{name(section, 1), alone(frame(fin|first, ""))},
			testCase{name(section, 2), alone(frame(fin|(first+1), "reserved opcode payload"))},
			testCase{name(section, 3), afterEcho(frameWise, frame(fin|(first+2), ""))},
			testCase{name(section, 4), afterEcho(atOnce, frame(fin|(first+3), hello))},
			testCase{name(section, 5), afterEcho(octetWise, frame(fin|(first+4), hello))},
		)
	}
	return cases
}

// fragmentCases is section 5: fragmentation, and frames between fragments.
func fragmentCases() []testCase {
	cases := []testCase{
		{"5.1", alone(append(frame(opPing, "fragment1"), frame(fin|opCont, "fragment2")...))},
		{"5.2", alone(append(frame(opPong, "fragment1"), frame(fin|opCont, "fragment2")...))},
	}
	for i, way := range deliveries {
		cases = append(cases,
			testCase{name("5", 3+i), func(c *client) {
				c.send(way, frame(opText, "fragment1"), frame(fin|opCont, "fragment2"))
				c.want(opText, "fragment1fragment2")
				c.closes()
			}},
			testCase{name("5", 6+i), func(c *client) {
				c.send(way, frame(opText, "fragment1"), frame(fin|opPing, "ping payload"), frame(fin|opCont, "fragment2"))
				c.want(opPong, "ping payload")
				c.want(opText, "fragment1fragment2")
				c.closes()
			}},
			testCase{name("5", 9+i), func(c *client) {
				c.send(way, frame(fin|opCont, "non-continuation payload"), frame(fin|opText, hello))
				c.fails(1002)
			}},
			testCase{name("5", 12+i), func(c *client) {
				c.send(way, frame(opCont, "non-continuation payload"), frame(fin|opText, hello))
				c.fails(1002)
			}},
		)
	}
	return append(cases,
		testCase{"5.15", func(c *client) {
			c.send(atOnce, frame(opText, "fragment1"), frame(fin|opCont, "fragment2"),
				frame(opCont, "fragment3"), frame(fin|opText, "fragment4"))
			c.want(opText, "fragment1fragment2")
			c.fails(1002)
		}},
		testCase{"5.16", continuationFirst(opCont)},
		testCase{"5.17", continuationFirst(fin | opCont)},
		testCase{"5.18", alone(append(frame(opText, "fragment1"), frame(fin|opText, "fragment2")...))},
		testCase{"5.19", pingsBetween(frameWise)},
		testCase{"5.20", pingsBetween(atOnce)},
	)
}

func continuationFirst(first byte) func(c *client) {
	return func(c *client) {
		for range 2 {
			c.send(atOnce, frame(first, "fragment1"), frame(opText, "fragment2"), frame(fin|opCont, "fragment3"))
		}
		c.fails(1002)
	}
}

// pingsBetween has the first ping answered before the message goes on.
func pingsBetween(way delivery) func(c *client) {
	return func(c *client) {
		c.send(way, frame(opText, "fragment1"), frame(opCont, "fragment2"), frame(fin|opPing, "pongme 1!"))
		c.want(opPong, "pongme 1!")
		c.send(way, frame(opCont, "fragment3"), frame(opCont, "fragment4"), frame(fin|opPing, "pongme 2!"), frame(fin|opCont, "fragment5"))
		c.want(opPong, "pongme 2!")
		c.want(opText, "fragment1fragment2fragment3fragment4fragment5")
		c.closes()
	}
}
