package session

import (
	"strings"
	"unicode/utf8"

	"belfry/ws"
)

// maxAgents is how many different agents a shard keeps, and maxAgent how many bytes
// of each.
const (
	maxAgents = 4096
	maxAgent  = 128
)

// agents are the User-Agents of a shard's sessions, each once. They are on the Go
// heap: at most maxAgents strings. The zero value is ready to use. Owned by the shard.
type agents struct {
	byName map[string]uint16 // index in all + 1
	all    []agent
	free   []uint16 // indices + 1
}

type agent struct {
	name     string
	sessions int
}

// enter counts a session of an agent, and returns the agent's number; 0 stands for
// none. ok is false if there is no room for another agent.
func (as *agents) enter(name string) (n uint16, ok bool) {
	if name == "" {
		return 0, true
	}
	if n, ok = as.byName[name]; ok {
		as.all[n-1].sessions++
		return n, true
	}
	switch {
	case len(as.free) > 0:
		n = as.free[len(as.free)-1]
		as.free = as.free[:len(as.free)-1]
		as.all[n-1] = agent{name, 1}
	case len(as.all) == maxAgents:
		return 0, false
	default:
		as.all = append(as.all, agent{name, 1})
		n = uint16(len(as.all))
	}
	if as.byName == nil {
		as.byName = map[string]uint16{}
	}
	as.byName[name] = n
	return n, true
}

// leave counts a session of an agent less, and forgets the agent after the last.
func (as *agents) leave(n uint16) {
	if n == 0 {
		return
	}
	a := &as.all[n-1]
	if a.sessions--; a.sessions == 0 {
		delete(as.byName, a.name)
		*a = agent{}
		as.free = append(as.free, n)
	}
}

// name returns the agent with a number, "" for 0.
func (as *agents) name(n uint16) string {
	if n == 0 {
		return ""
	}
	return as.all[n-1].name
}

// agentOf returns the User-Agent of a request as UTF-8, at most maxAgent bytes of it.
func agentOf(req *ws.Request) string {
	p := req.Header("User-Agent")
	if len(p) > maxAgent {
		p = p[:maxAgent]
		for n := range min(utf8.UTFMax, len(p)) { // not in the middle of a character
			if utf8.RuneStart(p[len(p)-1-n]) {
				if !utf8.FullRune(p[len(p)-1-n:]) {
					p = p[:len(p)-1-n]
				}
				break
			}
		}
	}
	return strings.ToValidUTF8(string(p), "?")
}
