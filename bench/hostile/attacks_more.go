package hostile

import (
	"strings"
	"time"
)

// fanoutAttacks make a push expensive, or do not read their messages.
func fanoutAttacks() []Attack {
	many := func(name, what, target, path string, rate int) Attack {
		return Attack{Name: name, What: what, Counts: []int{12_000}, Setup: true, Settings: []string{"session.max_per_user=0"},
			Pushes: func() Pushes { return Pushes{Path: path, Rate: rate, Size: 128} },
			Plan: func(count int, aim Aim) Plan {
				return Plan{Count: count, Head: func(int) []byte { return upgradeRequest(target, "") }, Upgrade: true, Reads: true}
			}}
	}
	return []Attack{
		many("one-user-2", "sessions of one user, 2 pushes a second to it", "/ws?uid=rig-many", "/v1/users/rig-many", 2),
		many("one-user-20", "sessions of one user, 20 pushes a second to it", "/ws?uid=rig-many", "/v1/users/rig-many", 20),
		many("one-topic-20", "for comparison: sessions of one topic, 20 pushes a second to it", "/ws?topic=rig.many", "/v1/topics/rig.many", 20),
		{
			Name: "never-reads", What: "subscribers of a busy topic that never read, beside 20 slow readers", Counts: []int{8, 500}, Memory: true, SlowReaders: 20, Longer: 2,
			Pushes: func() Pushes { return Pushes{Path: "/v1/topics/rig.busy", Rate: 100, Size: 8192} },
			Plan: func(count int, _ Aim) Plan {
				return Plan{Count: count, Head: func(int) []byte { return upgradeRequest("/ws?topic=rig.busy", "") }, Upgrade: true}
			},
		},
	}
}

// connectAttacks do not become sessions.
func connectAttacks() []Attack {
	halfOpen := func(name, what string, rate float64, longer int) Attack {
		return Attack{Name: name, What: what, Counts: []int{1}, Longer: longer, Plan: func(int, Aim) Plan {
			return Plan{Count: 1 << 30, Rate: rate, Hold: 15_000, Address: 1, Head: func(int) []byte { return []byte("GET /ws HTTP/1.1\r\n") }, Reads: true}
		}}
	}
	head := "GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Filler: " + filler(6000)
	idle := func(name, what string, address int) Attack {
		return Attack{Name: name, What: what, Counts: []int{8192}, Setup: true, Plan: func(count int, _ Aim) Plan {
			return Plan{Count: count, API: true, Address: address, Head: healthz, Reads: true}
		}}
	}
	batch := "POST /v1/batch HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-ndjson\r\nContent-Length: 1000000\r\n\r\n"
	return []Attack{
		halfOpen("half-open-100", "half-open connections from one address, 100 a second", 100, 4),
		halfOpen("half-open-2000", "half-open connections from one address, 2,000 a second", 2000, 1),
		{
			Name: "drip-heads", What: "request heads that arrive a byte every 100 ms", Counts: []int{500},
			Plan: func(count int, _ Aim) Plan {
				return Plan{Count: count, Drip: []byte(head), Every: 100 * time.Millisecond, Reads: true}
			},
		},
		idle("api-idle", "idle kept-alive connections to the API, from one address", 1),
		idle("api-idle-many", "idle kept-alive connections to the API, from as many addresses", 0),
		{
			Name: "api-files", What: "idle connections to the API of a node with 2,000 descriptors, to which 500 clients connect", Counts: []int{1700}, Files: 2000, Setup: true, Crowd: 500,
			Plan: func(count int, _ Aim) Plan {
				return Plan{Count: count, API: true, Address: 1, Head: healthz, Reads: true}
			},
		},
		{
			Name: "drip-batches", What: "bodies of POST /v1/batch that arrive a byte every 250 ms", Counts: []int{2048},
			Plan: func(count int, _ Aim) Plan {
				return Plan{Count: count, API: true, Reads: true, Head: func(int) []byte { return []byte(batch) },
					Drip: []byte(" "), Every: 250 * time.Millisecond}
			},
		},
	}
}

// healthz is a request after which the API keeps the connection open.
func healthz(int) []byte { return []byte("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") }

func splitLines(s string) []string { return strings.Split(s, "\n") }
