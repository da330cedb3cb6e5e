package hostile

import "strings"

// deflateOffer is the field of a request that offers permessage-deflate (RFC
// 7692 §7.1).
const deflateOffer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"

// What belfry allows in one message with its defaults: maxMessage bytes of
// content, freeTables Huffman tables without content, and mostTables with it.
const (
	maxMessage = 64 << 10
	freeTables = 32
	mostTables = 593
)

// Messages of the attacks. Text of two-byte characters takes longer to check
// than ASCII.
func largest() []byte       { return compressed(deflated(twoBytes)) }
func emptyTables() []byte   { return compressed(withTables("", freeTables)) }
func manyTables() []byte    { return compressed(withTables(twoBytes, mostTables)) }
func bomb() []byte          { return compressed(deflated(strings.Repeat("a", 16<<20))) }
func tiny() []byte          { return compressed(deflated("x")) }
func pieces() []byte        { return fragmented(deflated(noise(1600))) }
func shortCommand() []byte  { return compressed(deflated(`{"type":"ping"}`)) }
func costlyCommand() []byte { return compressed(deflated(costly())) }

var twoBytes = strings.Repeat("é", maxMessage/2)

// deflateAttacks come from clients that have negotiated permessage-deflate.
func deflateAttacks() []Attack {
	attack := func(name, what, subprotocol string, counts []int, plan func(p *Plan)) Attack {
		return Attack{Name: name, What: what, Counts: counts, Plan: func(count int, aim Aim) Plan {
			p := Plan{Count: count, Head: upgrades(count, aim, subprotocol, deflateOffer), Upgrade: true, Deflate: true, Reads: true}
			plan(&p)
			return p
		}}
	}
	flood := func(name, what, subprotocol string, counts []int, piece func() []byte) Attack {
		return attack(name, what, subprotocol, counts, func(p *Plan) {
			if p.Flood = constant(piece()); subprotocol != "" {
				p.Cap = answered
			}
		})
	}
	burst := func(name, what, subprotocol string, piece func() []byte, times int) Attack {
		return attack(name, what, subprotocol, usual[:2], func(p *Plan) { p.Flood, p.Renew = once(piece(), times), true })
	}
	return []Attack{
		flood("deflate-tables", "flood of compressed messages of 32 Huffman tables without content", "", usual[:], emptyTables),
		flood("deflate-most-tables", "flood of compressed messages of 64 KiB with 593 Huffman tables", "", usual[:2], manyTables),
		flood("deflate-large", "flood of compressed messages of 100 bytes that inflate to 64 KiB", "", usual[:], largest),
		attack("deflate-bombs", "compressed messages of 16 KiB that would inflate to 16 MiB, closed, and anew", "", usual[:2], func(p *Plan) {
			p.Flood, p.Again = constant(bomb()), true
		}),
		flood("deflate-tiny", "flood of compressed messages of one byte", "", usual[:], tiny),
		flood("deflate-fragments", "flood of compressed messages in fragments of one byte", "", usual[:2], pieces),
		flood("deflate-commands", "flood of compressed ping commands", "belfry.v1", usual[:], shortCommand),
		flood("deflate-costly", "flood of compressed commands of 65,000 bytes with 13,000 members", "belfry.v1", usual[:], costlyCommand),
		{
			Name: "deflate-never-reads", What: "subscribers with deflate that never read while messages of 4 KiB are sent to them, beside 20 slow readers", Counts: []int{8, 500},
			Memory: true, SlowReaders: 20, Longer: 2,
			Pushes: func() Pushes { return Pushes{Path: "/v1/topics/rig.busy", Rate: 300, Size: 4096, Document: true} },
			Plan: func(count int, _ Aim) Plan {
				return Plan{Count: count, Head: func(int) []byte { return upgradeRequest("/ws?topic=rig.busy", "", deflateOffer) }, Upgrade: true, Deflate: true}
			},
		},
		attack("renew-deflate-connects", "sessions with deflate that are reset at once and begin anew", "", usual[:2], func(p *Plan) { p.Renew = true }),
		burst("renew-deflate-tables", "60 compressed messages of 32 Huffman tables, reset, and anew", "", emptyTables, 60),
		burst("renew-deflate-most-tables", "three compressed messages of 64 KiB with 593 Huffman tables, reset, and anew", "", manyTables, 3),
		burst("renew-deflate-large", "60 compressed messages that inflate to 64 KiB, reset, and anew", "", largest, 60),
		burst("renew-deflate-costly", "60 compressed commands of 65,000 bytes with 13,000 members, reset, and anew", "belfry.v1", costlyCommand, 60),
	}
}

// noise is n letters that do not compress well.
func noise(n int) string {
	p := make([]byte, n)
	for i, random := 0, uint32(1); i < n; i++ {
		random = random*1664525 + 1013904223
		p[i] = 'a' + byte(random>>24%26)
	}
	return string(p)
}
