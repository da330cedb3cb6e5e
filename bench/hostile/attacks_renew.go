package hostile

import "strings"

// renewAttacks use up most of the token buckets of a session and then begin a
// new one, so they are never limited.
func renewAttacks() []Attack {
	burst := func(name, what, subprotocol string, flood func(n, round int) []byte) Attack {
		return Attack{Name: name, What: what, Counts: usual[:2], Plan: func(count int, aim Aim) Plan {
			return Plan{Count: count, Head: upgrades(count, aim, subprotocol), Upgrade: true, Flood: flood, Renew: true, Reads: true}
		}}
	}
	return []Attack{
		burst("renew-connects", "sessions that are reset at once and begin anew", "", nil),
		burst("renew-commands", "490 ping commands, reset, and anew", "belfry.v1", once(appendText(nil, `{"type":"ping"}`), 490)),
		burst("renew-messages", "990 messages of one byte, reset, and anew", "", once(appendText(nil, "x"), 990)),
		burst("renew-bytes", "4 MB in messages of 60,000 bytes, reset, and anew", "", once(appendText(nil, filler(60_000)), 69)),
		burst("renew-costly", "4 MB in commands of 65,000 bytes with 13,000 members, reset, and anew", "belfry.v1", once(appendText(nil, costly()), 64)),
		burst("renew-topics", "200 new topics, reset, and anew", "belfry.v1", func(n, _ int) []byte {
			return appendTopics(appendTopics(nil, n, 0), n, 1)
		}),
	}
}

// once sends n copies of a piece, which leave something in every token bucket,
// so that the ping behind them is read at once.
func once(piece []byte, n int) func(n, round int) []byte {
	var buf []byte
	return func(int, int) []byte {
		if buf == nil { // 4 MB are made only for an attack that is carried out
			buf = repeat(piece, n*len(piece))
		}
		return buf
	}
}

// costly is a command that is refused and takes long to parse: the members of
// the object in it are not limited.
func costly() string {
	return `{"type":"ping","a":{` + strings.Repeat(`"":0,`, 13_000) + `"":0}}`
}
