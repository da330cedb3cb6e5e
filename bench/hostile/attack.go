package hostile

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"belfry/bench"
)

// Attack is one thing that hostile clients do.
type Attack struct {
	Name string
	What string // for the table
	// Counts are the numbers of attackers; a row for each.
	Counts []int
	// Settings of all nodes, NAME=VALUE; those that the binary does not know
	// are left out.
	Settings []string
	// Plan says how the attackers of a run behave.
	Plan func(count int, aim Aim) Plan

	Setup       bool          // it begins when all attackers are connected, not with their first connect
	Grow        [2]int64      // most bytes that the node and the joined one may grow by; 0: no bound of this attack's own
	Memory      bool          // memory is read again after it has had time to come back
	Longer      int           // times the duration of others; 0 is once
	Joined      bool          // a third node is joined to the one under attack
	Files       int           // descriptors of the node; 0 is what the rig has
	Crowd       int           // innocent clients that connect to the attacked node and stay
	SlowReaders int           // innocent clients that read slowly and have a backlog
	Pushes      func() Pushes // beside those to the witness; nil: none
}

// Aim is what an attack is directed at.
type Aim struct {
	UID string // of a user whose shard is that of the first witness
}

// Pushes are what a backend sends to the attackers.
type Pushes struct {
	Path string // of the API
	Rate int    // a second
	Size int    // bytes
}

// Plan is how attackers behave: connect, send what begins the connection, and
// then once, dripping or flooding.
type Plan struct {
	Count   int     // connections in all
	Rate    float64 // connections begun a second; 0: as fast as they are accepted
	Hold    int     // most that are open at once, the oldest give way; 0: all
	API     bool    // at the address of the HTTP API
	Address int     // 0: addresses of their own; else all have this one of 127.66.0.0/16
	// Head is what connection n sends first; nil: nothing.
	Head func(n int) []byte
	// Upgrade: wait for the 101 before anything else.
	Upgrade bool
	// Once is sent then; OnceTimes times, 0 is 1.
	Once      []byte
	OnceTimes int
	// Flood returns the buffer that connection n sends next.
	Flood func(n, round int) []byte
	// Cap is the most that all of them send a second, in bytes; 0: as much as a
	// link of a gigabit carries.
	Cap int
	// Renew is how many bytes a connection sends before it is reset and another
	// one begun in its place, with all tokens of a new session; 0: it stays.
	Renew int
	// Drip is sent a byte at a time, again and again, one every Every.
	Drip  []byte
	Every time.Duration
	// Reads: what the server sends is read. Otherwise the receive buffer is as
	// small as can be and fills.
	Reads bool
}

// upgradeRequest is a WebSocket handshake for a target.
func upgradeRequest(target, subprotocol string) []byte {
	return bench.AppendRequest(nil, "127.0.0.1", target, nil, subprotocol)
}

// isLimited says whether a message of belfry.v1 tells of a rate limit.
func isLimited(p []byte) bool { return bytes.Contains(p, []byte(`"rate_limited"`)) }

// Find returns the attacks that are named, all without a name. A name with a
// number (ping:8) chooses one of the counts.
func Find(names []string) ([]Attack, error) {
	all := Attacks()
	if len(names) == 0 {
		return all, nil
	}
	var chosen []Attack
	for _, name := range names {
		base, number, counted := strings.Cut(name, ":")
		at := slices.IndexFunc(all, func(a Attack) bool { return a.Name == base })
		if at < 0 {
			return nil, fmt.Errorf("--only %s: allowed are %s, each with or without a number of attackers (commands:8)", name, strings.Join(Names(), ", "))
		}
		a := all[at]
		if counted {
			n := 0
			if _, err := fmt.Sscanf(number, "%d", &n); err != nil || n < 1 || n > maxAttackers || fmt.Sprint(n) != number {
				return nil, fmt.Errorf("--only %s: attackers: 1 to %d", name, maxAttackers)
			}
			a.Counts = []int{n}
		}
		chosen = append(chosen, a)
	}
	return chosen, nil
}

// maxAttackers is what the descriptors of one process hold on a usual host.
const maxAttackers = 18_000

// Names are those of all attacks.
func Names() []string {
	var names []string
	for _, a := range Attacks() {
		names = append(names, a.Name)
	}
	return names
}
