package hostile

import (
	"fmt"
	"time"
)

// eventAttacks are on Server-Sent Events.
func eventAttacks() []Attack {
	events := func(name, what string, counts []int, head func(n int) []byte, plan func(p *Plan)) Attack {
		return Attack{Name: name, What: what, Counts: counts, Plan: func(count int, _ Aim) Plan {
			p := Plan{Count: count, Head: head, Events: true, Reads: true}
			plan(&p)
			return p
		}}
	}
	to := func(target string) func(int) []byte {
		request := eventsRequest(target)
		return func(int) []byte { return request }
	}
	unread := events("sse-never-reads", "event streams of a busy topic that are never read, beside 20 slow readers", []int{8, 500}, to("/sse?topic=rig.busy"), func(p *Plan) { p.Reads = false })
	unread.Memory, unread.SlowReaders, unread.Longer = true, 20, 2
	unread.Pushes = func() Pushes { return Pushes{Path: "/v1/topics/rig.busy", Rate: 100, Size: 8192} }
	head := "GET /sse?topic=public.t HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Filler: " + filler(6000)
	return []Attack{
		unread,
		events("sse-sends", "flood of bytes behind the request of an event stream", usual[:], to("/sse?topic=public.t"), func(p *Plan) {
			p.Flood = constant([]byte("x"))
		}),
		events("sse-storm", "event streams that are reset at once and begin anew", usual[:], to("/sse?topic=public.t"), func(p *Plan) { p.Renew = true }),
		events("sse-topics", "event streams of a new topic that are reset at once and begin anew", usual[:], func(n int) []byte {
			return eventsRequest(fmt.Sprintf("/sse?topic=public.%d", n))
		}, func(p *Plan) { p.Renew = true }),
		events("sse-refused", "event streams of a wrong topic that are refused, and anew", usual[:], to("/sse?topic=a..b"), func(p *Plan) { p.Again = true }),
		{
			Name: "sse-drip-heads", What: "request heads for an event stream that arrive a byte every 100 ms", Counts: []int{500},
			Plan: func(count int, _ Aim) Plan {
				return Plan{Count: count, Drip: []byte(head), Every: 100 * time.Millisecond, Reads: true}
			},
		},
	}
}
