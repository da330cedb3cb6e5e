package events

import (
	"fmt"
	"strings"
)

// Kind is what an event is about.
type Kind uint8

const (
	Opened Kind = iota
	Closed
	Subscribed
	Unsubscribed
	Online
	Offline
	Users // which users of a bucket are online; comes with Online
	kinds
)

// kindInfo has the name of each kind, which is a token of its subject, and its type as
// a CloudEvent. The gateway has the same types.
var kindInfo = [kinds]struct{ name, ceType string }{
	Opened:       {"opened", "belfry.session.opened"},
	Closed:       {"closed", "belfry.session.closed"},
	Subscribed:   {"subscribed", "belfry.session.subscribed"},
	Unsubscribed: {"unsubscribed", "belfry.session.unsubscribed"},
	Online:       {"online", "belfry.user.online"},
	Offline:      {"offline", "belfry.user.offline"},
	Users:        {"users", "belfry.users.online"},
}

// String returns the name of k in the configuration and in subjects.
func (k Kind) String() string { return kindInfo[k].name }

// ParseKind returns the kind with that name in the configuration.
func ParseKind(name string) (Kind, error) {
	var names []string
	for k := range Users {
		if k.String() == name {
			return k, nil
		}
		names = append(names, k.String())
	}
	return 0, fmt.Errorf("%q; allowed are %s", name, strings.Join(names, ", "))
}
