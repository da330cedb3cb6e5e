package hostile

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"belfry/bench"
)

// Attack is one kind of hostile behaviour.
type Attack struct {
	Name string
	What string // for the table
	// Counts are the numbers of attackers; a row for each.
	Counts []int
	// Settings of all nodes, NAME=VALUE; settings that the binary does not know
	// are left out. props says what {dir} and {backend} stand for.
	Settings []string
	File     string // configuration file of all nodes; the same holds for it
	// Plan returns how the attackers of a run behave.
	Plan func(count int, aim Aim) Plan

	Setup       bool          // the attack begins when all attackers are connected, not with the first connect
	Grow        [2]int64      // most bytes by which the node and the joined node may grow; 0: no limit for this attack
	Memory      bool          // memory is read again after some time
	Longer      int           // duration as a multiple of the usual one; 0 is 1
	Joined      bool          // a third node is joined to the one under attack
	Files       int           // limit of open files of the node; 0 is that of the rig
	Crowd       int           // innocent clients that connect to the attacked node during the attack and stay
	SlowReaders int           // innocent clients that read slowly and have a backlog
	Shut        string        // why newcomers cannot be let in, "" if they must be
	Pushes      func() Pushes // pushes besides those to the witness; nil: none
}

// Aim is the target of an attack.
type Aim struct {
	UID string // of a user whose shard is that of the first witness
	Key []byte // private key of the identity provider: an attacker may be a user with tokens
}

// Pushes are pushes of a backend to the attackers.
type Pushes struct {
	Path     string // of the API
	Rate     int    // a second
	Size     int    // bytes
	Document bool   // JSON that compresses as that of an API does, not letters
}

// Plan is the behaviour of attackers: they connect, send the beginning, and
// then send once, byte by byte, or without end.
type Plan struct {
	Count   int     // connections in all
	Rate    float64 // connections begun per second; 0: as fast as they are accepted
	Hold    int     // most open connections, beyond which the oldest is closed; 0: no limit
	API     bool    // at the address of the HTTP API
	TLS     bool    // at the address for TLS
	Address int     // 0: each has its own address; else all have this one of 127.66.0.0/16
	// Head returns the first bytes of connection n; nil: none.
	Head func(n int) []byte
	// Upgrade makes the attacker wait for the 101 first, Events for the 200 of an
	// event stream.
	Upgrade, Events bool
	// Bytes makes the attacker wait for any answer first.
	Bytes bool
	// Deflate says that Head offers permessage-deflate. An attacker whose offer
	// is declined has failed.
	Deflate bool
	// Once is sent after that, OnceTimes times; 0 is 1.
	Once      []byte
	OnceTimes int
	// Flood returns the buffer that connection n sends next.
	Flood func(n, round int) []byte
	// Cap is the most bytes per second that all connections send together; 0:
	// as many as a gigabit link carries.
	Cap int
	// Renew makes an attacker send one buffer of Flood and a ping behind it. When
	// the pong shows that the server has read everything, the connection is reset
	// and replaced by a new one, which has the full token buckets of a new
	// session. Without Flood it is reset as soon as it is accepted.
	Renew bool
	// Again replaces each connection that the server refuses or ends by a new
	// one.
	Again bool
	// Stays makes the attacker ignore that the server has shut the connection
	// down: it goes on sending, and never closes the socket by itself.
	Stays bool
	// Drip is sent repeatedly, one byte every Every.
	Drip  []byte
	Every time.Duration
	// Reads says whether the attacker reads. If not, its receive buffer is as
	// small as possible and fills.
	Reads bool
}

// accepted returns the status for which attackers wait before they go on, "" if
// they do not wait.
func (p *Plan) accepted() string {
	switch {
	case p.Upgrade:
		return "101"
	case p.Events:
		return "200"
	case p.Bytes:
		return anyAnswer
	}
	return ""
}

// anyAnswer is what accepted returns if any bytes will do.
const anyAnswer = "any"

// upgradeRequest is a WebSocket handshake for a target, with more header fields.
func upgradeRequest(target, subprotocol string, fields ...string) []byte {
	return bench.AppendRequest(nil, "127.0.0.1", target, fields, subprotocol)
}

// eventsRequest is the request of an EventSource.
func eventsRequest(target string) []byte {
	return []byte("GET " + target + " HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\nCache-Control: no-cache\r\n\r\n")
}

// isLimited says whether a belfry.v1 message reports a rate limit.
func isLimited(p []byte) bool { return bytes.Contains(p, []byte(`"rate_limited"`)) }

// Find returns the named attacks, or all if there are no names. A name with a
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

// maxAttackers fits into the usual limit of open files of a process.
const maxAttackers = 18_000

// Names returns the names of all attacks.
func Names() []string {
	var names []string
	for _, a := range Attacks() {
		names = append(names, a.Name)
	}
	return names
}
