package hostile

// readAttacks ask the node for what it has to ask other nodes about, and answer what
// they were not asked.
func readAttacks() []Attack {
	say := func(name, what, command string) Attack {
		flood := constant(appendText(nil, command))
		return Attack{Name: name, What: what, Counts: usual[:], Memory: true, Plan: func(count int, aim Aim) Plan {
			return Plan{Count: count, Head: v1(count, aim), Upgrade: true, Flood: flood, Cap: answered, Reads: true}
		}}
	}
	presence := say("presence", "flood of presence commands, with a joined node", `{"type":"presence","ref":1,"topic":"public.t"}`)
	presence.Settings, presence.Joined = []string{"session.presence=public.*"}, true
	acks := say("acks", "flood of acks of messages that nobody sent, from subscribers who are asked for others 50 times a second", `{"type":"ack","id":"00000000-0-0"}`)
	acks.Pushes = func() Pushes { return Pushes{Path: "/v1/topics/rig.acks?wait=20ms&ack=1", Rate: 50, Size: 128} }
	plan := acks.Plan
	acks.Plan = func(count int, aim Aim) Plan {
		p := plan(count, aim)
		p.Head = func(n int) []byte {
			return upgradeRequest("/ws?topic=rig.acks&uid="+userOf(count, aim, n), "belfry.v1")
		}
		return p
	}
	return []Attack{presence, acks}
}
