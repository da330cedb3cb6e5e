package million

import (
	"net/netip"

	"belfry/bench"
)

// dial is the command that makes count connections of a piece, the first of
// them with number first, to see broadcasts from number next on.
func dial(o *Options, addr netip.AddrPort, piece Piece, first, count int, next uint32) *bench.Dial {
	d := &bench.Dial{Targets: []netip.AddrPort{addr}, First: first, Count: count, Window: dialWindow, Next: next,
		Timeout: int64(dialTimeout), Wire: bench.Wire{Path: bench.DevPath(o.Topics), Topics: o.Topics}}
	if piece.Source.IsValid() {
		d.Sources = []netip.Addr{piece.Source}
	}
	return d
}
