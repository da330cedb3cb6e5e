//go:build !race

package broadcast

import (
	_ "unsafe" // for go:linkname

	_ "github.com/nats-io/nats-server/v2/server" // its package pse is initialised first
)

// The NATS server's package pse reads /proc/self/stat once a second from the start
// of the process, also if no server runs in it, for figures of its monitoring page,
// which belfry does not serve. On a host with many idle nodes that was a fifth of
// what a node costs. It stops when it cannot read the file. Its timer may already have
// been started when the variable is written, which the race detector reports: so this
// file is not in its builds.
//
//go:linkname procStatFile github.com/nats-io/nats-server/v2/server/pse.procStatFile
var procStatFile string

func init() { procStatFile = "" }
