package hostile

import (
	"net/netip"
)

// Operations of an attacker process, besides those of package bench.
const (
	opAttack = "attack" // Detail is an Order; answered when all are connected, or have failed
	opReport = "report" // answered with a Report in Detail
)

// Order starts an attack.
type Order struct {
	Attack string         `json:"attack"`
	Count  int            `json:"count"`
	Target netip.AddrPort `json:"target"`
	Aim    Aim            `json:"aim"`
}

// Report is the result of the attackers.
type Report struct {
	Connected int            `json:"connected"`         // upgraded, or connected if there is no upgrade
	Failed    map[string]int `json:"failed,omitempty"`  // never connected, by cause
	Answers   map[string]int `json:"answers,omitempty"` // HTTP statuses
	Closed    map[string]int `json:"closed,omitempty"`  // by close code or cause
	Open      int            `json:"open"`              // at the end
	First     float64        `json:"first_close_s"`     // from the start of the attack; 0 without one
	Last      float64        `json:"last_close_s"`
	Limited   int            `json:"limited"`          // err rate_limited
	Sent      uint64         `json:"sent_bytes"`       // bytes accepted by the attackers' kernel
	Received  uint64         `json:"received_bytes"`   // read
	Seconds   float64        `json:"seconds"`          // that the attack lasted
	Peak      float64        `json:"peak_bytes_per_s"` // most sent in half a second, as a rate
	End       float64        `json:"end_bytes_per_s"`  // in the last half second
}

// newReport returns a Report with its maps.
func newReport() Report {
	return Report{Failed: map[string]int{}, Answers: map[string]int{}, Closed: map[string]int{}}
}

// ClosedCount returns how many attackers were closed, for any cause.
func (r *Report) ClosedCount() (n int) {
	for _, k := range r.Closed {
		n += k
	}
	return n
}
