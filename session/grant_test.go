package session

import (
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"belfry/message"
	"belfry/ws"
)

// granting is an Authenticator that grants what it is told, at once or later.
type granting struct {
	grant Grant
	later bool
}

func (g granting) Authenticate(_ *Attempt, later func(Grant, *ws.Refusal)) (Grant, *ws.Refusal, bool) {
	if g.later {
		go later(g.grant, nil)
		return Grant{}, nil, true
	}
	return g.grant, nil, false
}

// What an authenticator grants is checked like what a client asks for.
func TestGrantIsChecked(t *testing.T) {
	for _, later := range []bool{false, true} {
		for _, tc := range []struct {
			grant Grant
			name  string
		}{
			{Grant{UID: "u", Topics: []string{"fine", "a.*"}}, `a.*`},
			{Grant{Topics: []string{"a.>"}}, `a.>`},
			{Grant{Topics: []string{""}}, `topic`},
			{Grant{UID: "line\nbreak"}, `uid`},
			{Grant{UID: strings.Repeat("u", message.MaxUIDLen+1)}, `uid`},
		} {
			log, logs := observed(zap.ErrorLevel)
			g := newGate(false)
			r := newRig(t, Options{Authenticator: granting{tc.grant, later}, Interest: g, Log: log})
			for range 3 {
				if status := r.refusal("/ws", nil); status != 500 {
					t.Fatalf("%+v: %d", tc.grant, status)
				}
			}
			if n := g.total(); n != 0 {
				t.Errorf("%+v: %d users and topics have reached the bus", tc.grant, n)
			}
			st := r.Stats()
			if st.BadGrants != 3 || st.Upgrades[[2]string{"500", "authenticator"}] != 3 || st.Users+st.Topics+st.Sessions != 0 {
				t.Errorf("%+v: %d, %v", tc.grant, st.BadGrants, st.Upgrades)
			}
			lines := logs.TakeAll()
			if len(lines) == 0 || len(lines) > len(r.shards) || !slices.ContainsFunc(lines, func(l observer.LoggedEntry) bool {
				return strings.Contains(l.ContextMap()["error"].(string), tc.name)
			}) {
				t.Errorf("%+v: %v", tc.grant, lines)
			}
		}
	}
}
