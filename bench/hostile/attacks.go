package hostile

import (
	"fmt"
	"strconv"
	"time"
)

const (
	// flood is the size of a flooding client's buffer, in bytes.
	flood = 16 << 10
	// answered is the cap on floods that get answers, in bytes per second:
	// about as much as a shard can answer. Attackers that send more cannot read
	// their answers in time and would be closed for that alone.
	answered = 8_000_000
	// gigabit is the cap on all other floods, in bytes per second.
	gigabit = 120_000_000
)

// usual are the numbers of attackers for attacks in which the number matters.
var usual = [...]int{1, 8, 500}

// Attacks returns all attacks in the order of the table.
func Attacks() []Attack {
	a := commandAttacks()
	a = append(a, frameAttacks()...)
	a = append(a, memoryAttacks()...)
	a = append(a, fanoutAttacks()...)
	a = append(a, readAttacks()...)
	a = append(a, renewAttacks()...)
	a = append(a, deflateAttacks()...)
	a = append(a, closingAttacks()...)
	a = append(a, connectAttacks()...)
	a = append(a, loginAttacks()...)
	a = append(a, gatewayAttacks()...)
	a = append(a, tlsAttacks()...)
	return append(a, eventAttacks()...)
}

// v1 is the handshake of a belfry.v1 client. Up to 32 attackers are one user,
// so that all are on the witness's shard; more are several users of 20 sessions
// each, below what a user may have.
func v1(count int, aim Aim) func(n int) []byte { return upgrades(count, aim, "belfry.v1") }

func upgrades(count int, aim Aim, subprotocol string, fields ...string) func(n int) []byte {
	return func(n int) []byte { return upgradeRequest("/ws?uid="+userOf(count, aim, n), subprotocol, fields...) }
}

// userOf is the user of attacker n, see v1.
func userOf(count int, aim Aim, n int) string {
	if count > 32 {
		return aim.UID + "-" + strconv.Itoa(n/20)
	}
	return aim.UID
}

// constant floods with copies of one piece.
func constant(piece []byte) func(n, round int) []byte {
	buf := repeat(piece, flood)
	return func(int, int) []byte { return buf }
}

// commandAttacks are floods of belfry.v1 commands.
func commandAttacks() []Attack {
	say := func(name, what, commands string) Attack {
		var piece []byte
		for _, c := range splitLines(commands) {
			piece = appendText(piece, c)
		}
		return Attack{Name: name, What: what, Counts: usual[:], Plan: func(count int, aim Aim) Plan {
			return Plan{Count: count, Head: v1(count, aim), Upgrade: true, Flood: constant(piece), Cap: answered, Reads: true}
		}}
	}
	return []Attack{
		say("commands", "flood of ping commands", `{"type":"ping"}`),
		say("subscribe", "flood of sub and unsub of one topic", "{\"type\":\"sub\",\"topic\":\"public.t\"}\n{\"type\":\"unsub\",\"topic\":\"public.t\"}"),
		{
			Name: "topics", What: "flood of sub and unsub of ever new topics", Counts: usual[:],
			Plan: func(count int, aim Aim) Plan {
				return Plan{Count: count, Head: v1(count, aim), Upgrade: true, Flood: newTopics, Cap: answered, Reads: true}
			},
		},
		{
			Name: "open-topics", What: "anonymous, ever new topics below public.*, with a joined node", Counts: []int{4},
			Settings: []string{"auth.subscribe=public.*"}, Joined: true, Memory: true, Grow: [2]int64{32 << 20, 8 << 20},
			Plan: func(count int, _ Aim) Plan {
				return Plan{Count: count, Head: func(int) []byte { return upgradeRequest("/ws", "belfry.v1") }, Upgrade: true, Flood: newTopics, Cap: answered, Reads: true}
			},
		},
		{
			Name: "publish", What: "flood of pub commands of 128 bytes", Counts: usual[:2], Settings: []string{"auth.publish=*"},
			Plan: func(count int, aim Aim) Plan {
				piece := appendText(nil, fmt.Sprintf(`{"type":"pub","to":{"topic":"public.p"},"data":%q}`, filler(128)))
				return Plan{Count: count, Head: v1(count, aim), Upgrade: true, Flood: constant(piece), Cap: answered, Reads: true}
			},
		},
		{
			Name: "publish-large", What: "flood of pub commands of 60,000 bytes", Counts: []int{8}, Settings: []string{"auth.publish=*"}, Memory: true,
			Plan: func(count int, aim Aim) Plan {
				piece := appendText(nil, fmt.Sprintf(`{"type":"pub","to":{"topic":"public.p"},"data":%q}`, filler(60_000)))
				return Plan{Count: count, Head: v1(count, aim), Upgrade: true, Flood: constant(piece), Reads: true}
			},
		},
	}
}

// newTopics subscribes to 100 new topics at once and unsubscribes, eight times.
func newTopics(n, round int) []byte {
	var buf []byte
	for i := range 8 {
		buf = appendTopics(buf, n, round*8+i)
	}
	return buf
}

// appendTopics appends a sub and an unsub of 100 topics, which are new for each
// pair of numbers.
func appendTopics(dst []byte, n, k int) []byte {
	var names []byte
	for i := range 100 {
		if i > 0 {
			names = append(names, ',')
		}
		names = fmt.Appendf(names, `"public.%d.%d.%d"`, n, k, i)
	}
	dst = appendText(dst, `{"type":"sub","topics":[`+string(names)+`]}`)
	return appendText(dst, `{"type":"unsub","topics":[`+string(names)+`]}`)
}

// frameAttacks are floods below the level of messages.
func frameAttacks() []Attack {
	plain := func(name, what string, counts []int, piece []byte) Attack {
		return Attack{Name: name, What: what, Counts: counts, Plan: func(count int, aim Aim) Plan {
			return Plan{Count: count, Head: upgrades(count, aim, ""), Upgrade: true, Flood: constant(piece), Reads: true}
		}}
	}
	ping := appendFrame(nil, true, opPing, []byte(filler(125)))
	fragments := appendFrame(nil, false, opText, []byte("x"))
	for range 998 {
		fragments = appendFrame(fragments, false, opContinuation, []byte("x"))
	}
	fragments = appendFrame(fragments, true, opContinuation, []byte("x"))
	return []Attack{
		plain("pings", "flood of WebSocket pings of 125 bytes, pongs read", usual[:2], ping),
		{
			Name: "deaf-pings", What: "WebSocket pings of 125 bytes from clients that never read, beside 20 slow readers", Counts: []int{1000},
			Memory: true, SlowReaders: 20, Longer: 4, // the sockets' buffers have to fill first
			Plan: func(count int, aim Aim) Plan {
				return Plan{Count: count, Head: upgrades(count, aim, ""), Upgrade: true, Flood: constant(ping), Cap: 1e9}
			},
		},
		plain("pongs", "flood of unsolicited pongs", usual[1:2], appendFrame(nil, true, opPong, []byte("x"))),
		plain("messages", "flood of messages of one byte", usual[:2], appendFrame(nil, true, opText, []byte("x"))),
		plain("fragments", "flood of fragments of one byte", usual[:2], fragments),
		{
			Name: "drip-frames", What: "frames that arrive a byte every 100 ms", Counts: []int{500},
			Plan: func(count int, aim Aim) Plan {
				return Plan{Count: count, Head: upgrades(count, aim, ""), Upgrade: true, Drip: ping, Every: 100 * time.Millisecond, Reads: true}
			},
		},
	}
}

// memoryAttacks make the node hold their input.
func memoryAttacks() []Attack {
	return []Attack{
		{
			Name: "unfinished", What: "unfinished messages of 65,500 bytes", Counts: []int{8000}, Memory: true, Longer: 2,
			Plan: func(count int, aim Aim) Plan {
				once := append(appendHead(nil, true, opText, 65_536), filler(65_500)...)
				return Plan{Count: count, Head: upgrades(count, aim, ""), Upgrade: true, Once: once, Reads: true}
			},
		},
		{
			Name: "unfinished-large", What: "unfinished messages of 64 MiB", Counts: []int{10}, Memory: true, Longer: 2,
			Settings: []string{"session.max_message=64MiB"},
			Plan: func(count int, aim Aim) Plan {
				// Fragments of 1 MiB, the first of them begun by Head's request.
				once := appendFrame(nil, false, opContinuation, []byte(filler(1<<20)))
				first := upgrades(count, aim, "")
				return Plan{Count: count, Head: func(n int) []byte {
					return appendFrame(first(n), false, opText, []byte("x"))
				}, Upgrade: true, Once: once, OnceTimes: 63, Reads: true}
			},
		},
	}
}

// filler is n letters.
func filler(n int) string {
	p := make([]byte, n)
	for i := range p {
		p[i] = 'a' + byte(i%26)
	}
	return string(p)
}
