package hostile

// closingAttacks come from clients whose sessions are being closed.
func closingAttacks() []Attack {
	message := appendText(nil, filler(60_000))
	// after sends first, whatever it is, and then message without end.
	after := func(name, what string, first []byte) Attack {
		return Attack{Name: name, What: what, Counts: usual[:], Plan: func(count int, aim Aim) Plan {
			return Plan{Count: count, Head: upgrades(count, aim, ""), Upgrade: true, Reads: true, Stays: true, Again: true,
				Flood: func(_, round int) []byte {
					if round == 1 {
						return first
					}
					return message
				}}
		}}
	}
	closeFrame := appendFrame(nil, true, opClose, []byte{0x03, 0xE8})
	reserved := appendFrame(nil, true, 0xF, nil)
	small := appendText(nil, "x")
	return []Attack{
		after("close-flood", "clients that send a close frame, then messages of 60,000 bytes until they are reset, and anew", closeFrame),
		after("closed-flood", "clients that are closed with 1002, go on sending until they are reset, and anew", reserved),
		{
			Name: "refused-flood", What: "clients that are closed with 1008 and go on with messages of one byte, and anew", Counts: usual[:],
			Settings: []string{"session.client_messages=refuse"},
			Plan: func(count int, aim Aim) Plan {
				return Plan{Count: count, Head: upgrades(count, aim, ""), Upgrade: true, Reads: true, Stays: true, Again: true, Flood: constant(small)}
			},
		},
		{
			Name: "never-closes", What: "clients that send a close frame and never close their socket, 2,000 a second", Counts: []int{1}, Memory: true, Longer: 2,
			Plan: func(_ int, aim Aim) Plan {
				many := upgrades(1<<30, aim, "")
				return Plan{Count: 1 << 30, Rate: 2000, Hold: 15_000, Upgrade: true, Reads: true, Stays: true,
					Head: many, Once: closeFrame}
			},
		},
	}
}
