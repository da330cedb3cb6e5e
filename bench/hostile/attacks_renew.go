package hostile

import "fmt"

// renewAttacks use up the token buckets of a session and then begin a new one,
// so they are never limited.
func renewAttacks() []Attack {
	burst := func(name, what, subprotocol string, renew int, flood func(n, round int) []byte, settings ...string) Attack {
		return Attack{Name: name, What: what, Counts: usual[:2], Settings: settings, Plan: func(count int, aim Aim) Plan {
			return Plan{Count: count, Head: upgrades(count, aim, subprotocol), Upgrade: true, Flood: flood, Renew: renew, Reads: true}
		}}
	}
	command := appendText(nil, `{"type":"ping"}`)
	message := appendFrame(nil, true, opText, []byte("x"))
	return []Attack{
		burst("renew-connects", "sessions that are reset at once and begin anew", "", 1, constant(message)),
		burst("renew-commands", "500 ping commands, reset, and anew", "belfry.v1", 500*len(command), constant(command)),
		burst("renew-messages", "1,000 messages of one byte, reset, and anew", "", 1000*len(message), constant(message)),
		burst("renew-bytes", "4 MiB in messages of 60,000 bytes, reset, and anew", "", 4<<20, constant(appendText(nil, filler(60_000)))),
		burst("renew-costly", "4 MiB in commands of 60,000 bytes with 10,000 fields, reset, and anew", "belfry.v1", 4<<20, constant(appendText(nil, costly()))),
		burst("renew-topics", "500 new topics, reset, and anew", "belfry.v1", len(newTopics(0, 1))/4, newTopics),
	}
}

// costly is a command that is refused and takes long to parse.
func costly() string {
	p := []byte(`{"type":"ping"`)
	for i := range 10_000 {
		p = fmt.Appendf(p, `,"%x":0`, i)
	}
	return string(p[:min(len(p), 60_000)]) + "}"
}
