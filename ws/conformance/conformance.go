// Package conformance holds a WebSocket server against the cases of the
// Autobahn fuzzing client, sections 1 to 7, 9 and 10, over plain TCP. The
// cases are written anew from their public descriptions, under their numbers
// there, and judge more strictly: what the suite would accept as NON-STRICT
// fails, and so does any other close code than the right one. Sections 12 and
// 13 are about compression, 8 and 11 are empty.
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
// to 16 MiB, in up to 65,536 fragments, with its type.
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
// listens at addr (host:port).
func Run(t *testing.T, addr string) {
	for _, section := range [][]testCase{
		echoCases(), pingCases(), reservedBitCases(), opcodeCases(), fragmentCases(), utf8Cases(), failFastCases(),
		closeOrderCases(), closePayloadCases(), volumeCases(), manyMessagesCases(), autoFragmentCases(), beyondCases(),
	} {
		for _, tc := range section {
			t.Run(tc.id, func(t *testing.T) {
				t.Parallel()
				c := dial(t, addr)
				defer c.conn.Close()
				tc.run(c)
			})
		}
	}
}
