// Package conformance holds a WebSocket server against the cases of the
// Autobahn fuzzing client, sections 1 to 7, 9, 10, 12 and 13, over plain TCP.
// The cases are written anew from their public descriptions, under their
// numbers there, and judge more strictly: what the suite would accept as
// NON-STRICT fails, and so does any other close code than the right one.
// Sections 8 and 11 are empty. Sections 12 and 13, compression, send fewer
// messages than the suite does.
//
// The waits of the original are gone: where it sleeps so that the server can
// react, the reaction itself is awaited. The package is for tests; it knows
// nothing of the server's insides.
package conformance

import (
	"testing"
	"time"
)

// Path is the endpoint that the cases use. It has to echo every message of up
// to 16 MiB, in up to 65,536 fragments, with its type, and to refuse a message
// of more than 32 MiB.
const Path = "/echo"

// patience is how long a case waits for anything. Only a failing case waits
// that long.
const patience = 30 * time.Second

// testCase is one case: run speaks on a fresh connection and fails the test
// through it.
type testCase struct {
	id  string // number in the suite
	run func(c *client)
}

// Run runs all cases as parallel subtests against the WebSocket server that
// listens at addr (host:port). deflate says whether the server negotiates
// permessage-deflate: if not, sections 12 and 13 are not run and every offer
// has to be declined.
func Run(t *testing.T, addr string, deflate bool) {
	for _, section := range [][]testCase{
		echoCases(), pingCases(), reservedBitCases(), opcodeCases(), fragmentCases(), utf8Cases(), failFastCases(),
		closeOrderCases(), closePayloadCases(), volumeCases(), manyMessagesCases(), autoFragmentCases(), beyondCases(),
	} {
		for _, tc := range section {
			t.Run(tc.id, func(t *testing.T) {
				t.Parallel()
				c := dial(t, addr, "")
				defer c.conn.Close()
				tc.run(c)
			})
		}
	}
	if !deflate {
		runOffers(t, addr, declinedCases())
		return
	}
	runOffers(t, addr, deflateCases())
	runOffers(t, addr, deflateParameterCases())
	runOffers(t, addr, deflateBeyondCases())
}
