package session

// pongTimes counts how late clients answer pings, between two ticks of a shard.
//
// On a host that has too little CPU for its pings, clients read a ping seconds after
// it was sent. That says nothing about any one of them. So when many answers are late,
// the shard's clock is slowed down (poller.Shard.PeersLate): pings become fewer, and
// clients have more time. A client that never answers is not counted: one that is gone
// must not give time to others that are gone.
type pongTimes struct {
	limit      uint32 // ticks from which an answer is late: half of the pong timeout; 0: never
	late, seen uint32
}

// Many answers are late if there are minLatePongs at least and they are one in lateShare.
// A few clients cannot slow down the clock of many.
const (
	minLatePongs = 8
	lateShare    = 4
)

func (p *pongTimes) count(ticks uint32) {
	p.seen++
	if p.limit > 0 && ticks >= p.limit {
		p.late++
	}
}

// tick returns whether many answers were late since the last call.
func (p *pongTimes) tick() bool {
	many := p.late >= minLatePongs && p.late*lateShare >= p.seen
	p.late, p.seen = 0, 0
	return many
}
