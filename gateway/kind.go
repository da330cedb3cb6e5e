package gateway

import "fmt"

// Kind is what an event is about.
type Kind uint8

const (
	Connect Kind = iota
	Message
	Disconnect
	Subscribe
	Unsubscribe
	kinds
)

// kindInfo has the name of each kind in the configuration, and its type as a
// CloudEvent.
var kindInfo = [kinds]struct{ name, ceType string }{
	Connect:     {"connect", "belfry.session.opened"},
	Message:     {"message", "belfry.message"},
	Disconnect:  {"disconnect", "belfry.session.closed"},
	Subscribe:   {"subscribe", "belfry.session.subscribed"},
	Unsubscribe: {"unsubscribe", "belfry.session.unsubscribed"},
}

// String returns the name of k in the configuration.
func (k Kind) String() string { return kindInfo[k].name }

// ParseKind returns the kind with that name.
func ParseKind(name string) (Kind, error) {
	for k := range kinds {
		if kindInfo[k].name == name {
			return k, nil
		}
	}
	return 0, fmt.Errorf("gateway: event %q; allowed are connect, message, disconnect, subscribe and unsubscribe", name)
}
