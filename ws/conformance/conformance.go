// Package conformance checks a WebSocket server with the cases of the Autobahn
// fuzzing client, sections 1 to 7, 9, 10, 12 and 13, over TCP or TLS. The cases
// were written from their public descriptions and have the same numbers. They are
// stricter: a result that the suite accepts as NON-STRICT fails, and so does a
// wrong close code. Sections 8 and 11 are empty. Sections 12 and 13, compression,
// send fewer messages than the suite.
//
// Where the suite sleeps so that the server can react, the cases here wait for
// the reaction. The package is for tests. It uses the server only through its
// address.
package conformance

import (
	"net"
	"testing"
	"time"
)

// Path is the path that the cases use. The server has to echo each message of up
// to 16 MiB, in up to 65,536 fragments, with its opcode, and to refuse a message
// of more than 32 MiB.
const Path = "/echo"

// timeout limits the time of a connection. Only a failing case needs it.
const timeout = 30 * time.Second

// testCase is one case. run gets a new connection and reports failures to the
// client's test.
type testCase struct {
	id  string // number in the suite
	run func(c *client)
}

// Run runs all cases as parallel subtests against the WebSocket server at addr
// (host:port). deflate is true if the server negotiates permessage-deflate.
// Otherwise it must decline each offer, and sections 12 and 13 are skipped.
func Run(t *testing.T, addr string, deflate bool) {
	RunOver(t, func() (net.Conn, error) { return net.DialTimeout("tcp", addr, timeout) }, deflate)
}

// RunOver is Run over connections that dial makes, such as those of TLS.
func RunOver(t *testing.T, dial func() (net.Conn, error), deflate bool) {
	for _, section := range [][]testCase{
		echoCases(), pingCases(), reservedBitCases(), opcodeCases(), fragmentCases(), utf8Cases(), failFastCases(),
		closeOrderCases(), closePayloadCases(), volumeCases(), manyMessagesCases(), autoFragmentCases(), beyondCases(),
	} {
		for _, tc := range section {
			t.Run(tc.id, func(t *testing.T) {
				t.Parallel()
				c := connect(t, dial, "")
				defer c.conn.Close()
				tc.run(c)
			})
		}
	}
	if !deflate {
		runOffers(t, dial, declinedCases())
		return
	}
	runOffers(t, dial, deflateCases())
	runOffers(t, dial, deflateParameterCases())
	runOffers(t, dial, deflateBeyondCases())
}
