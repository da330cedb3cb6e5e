package conformance

import (
	"bytes"
	"fmt"
)

// filler returns n bytes: ASCII for text, anything for binary.
func filler(op byte, n int) []byte {
	if op == opBinary {
		return bytes.Repeat([]byte("\x00\xff\xfe\xfd\xfc\xfb\x80\x7f"), n/8+1)[:n]
	}
	return bytes.Repeat([]byte("belfry 0123456789 "), n/18+1)[:n]
}

// returned expects the echo of a message with this payload.
func (c *client) returned(op byte, payload []byte) {
	c.t.Helper()
	got, p, err := c.next()
	if err != nil {
		c.t.Fatalf("waiting for %d bytes: %v", len(payload), err)
	}
	if got != op || !bytes.Equal(p, payload) {
		c.t.Fatalf("got opcode %d with %d bytes, want %d with %d, or they differ within", got, len(p), op, len(payload))
	}
}

// volumeCases is 9.1 to 9.6: large messages, in one frame, in fragments, and
// in one frame written in small pieces; odd sections text, even ones binary.
func volumeCases() (cases []testCase) {
	const ki, mi = 1 << 10, 1 << 20
	for i, op := range []byte{opText, opBinary} {
		for j, n := range []int{64 * ki, 256 * ki, mi, 4 * mi, 8 * mi, 16 * mi} {
			cases = append(cases, testCase{fmt.Sprintf("9.%d.%d", 1+i, j+1), func(c *client) {
				payload := filler(op, n)
				c.write(appendFrame(nil, fin|op, payload))
				c.returned(op, payload)
				c.closes()
			}})
		}
		for j, size := range []int{64, 256, ki, 4 * ki, 16 * ki, 64 * ki, 256 * ki, mi, 4 * mi} {
			cases = append(cases, testCase{fmt.Sprintf("9.%d.%d", 3+i, j+1), func(c *client) {
				payload := filler(op, 4*mi)
				c.write(fragments(op, payload, size))
				c.returned(op, payload)
				c.closes()
			}})
		}
		for j, size := range []int{64, 128, 256, 512, ki, 2 * ki} {
			cases = append(cases, testCase{fmt.Sprintf("9.%d.%d", 5+i, j+1), func(c *client) {
				payload := filler(op, mi)
				c.chop(appendFrame(nil, fin|op, payload), size)
				c.returned(op, payload)
				c.closes()
			}})
		}
	}
	return cases
}

// manyMessagesCases is 9.7 and 9.8: 1,000 messages. Each is sent after the echo of
// the one before.
func manyMessagesCases() (cases []testCase) {
	for i, op := range []byte{opText, opBinary} {
		for j, n := range []int{0, 16, 64, 256, 1024, 4096} {
			cases = append(cases, testCase{fmt.Sprintf("9.%d.%d", 7+i, j+1), func(c *client) {
				payload := filler(op, n)
				for range 1000 {
					c.write(appendFrame(nil, fin|op, payload))
					c.returned(op, payload)
				}
				c.closes()
			}})
		}
	}
	return cases
}

// autoFragmentCases is section 10: a message in fragments of an odd size.
func autoFragmentCases() []testCase {
	return []testCase{{"10.1.1", func(c *client) {
		payload := filler(opText, 65536)
		c.write(fragments(opText, payload, 1300))
		c.returned(opText, payload)
		c.closes()
	}}}
}
