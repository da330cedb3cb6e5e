package hostile

import "fmt"

// gatewayAttacks send messages for backends. The nodes have two routes: one whose
// backend hangs, and one whose backend echoes.
func gatewayAttacks() []Attack {
	const routes = "gateway:\n  routes:\n" +
		"    - {name: hang, url: 'http://{backend}/hang', match: {event: hang}}\n" +
		"    - {name: echo, url: 'http://{backend}/echo', match: {event: echo}}\n"
	say := func(name, what, command string, more ...int) Attack {
		flood := constant(appendText(nil, command))
		return Attack{Name: name, What: what, Counts: append(usual[:], more...), File: routes, Memory: true, Plan: func(count int, aim Aim) Plan {
			return Plan{Count: count, Head: v1(count, aim), Upgrade: true, Flood: flood, Cap: answered, Reads: true}
		}}
	}
	return []Attack{
		say("rpc", "flood of rpc commands, answered by a backend on the same machine", rpcCommand("echo")),
		say("hanging-backend", "flood of rpc commands to a backend that hangs", rpcCommand("hang"), 4000),
		{
			Name: "auth-behind", What: "sessions whose auth waits for an rpc to a backend that hangs", Counts: []int{8000}, File: routes, Settings: tokenSettings,
			Memory: true, Longer: 2, Setup: true,
			Plan: func(count int, aim Aim) Plan {
				once := appendText(appendText(nil, rpcCommand("hang")), authCommand("not-a-token"))
				return Plan{Count: count, Head: v1(count, aim), Upgrade: true, Once: once, Reads: true}
			},
		},
	}
}

func rpcCommand(event string) string { return fmt.Sprintf(`{"type":"rpc","ref":1,"event":%q}`, event) }
