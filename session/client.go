package session

import "net/netip"

// Client is what hooks are told about a session. It is a copy, which stays valid;
// nobody may change it.
type Client struct {
	SID      string // session id; "" before the session is open
	UID      string // "" if the session has no user
	Meta     []byte // Grant.Meta; nil: none
	Addr     netip.AddrPort
	Agent    string // User-Agent of the request, at most 128 bytes; "" if nobody asked for it to be kept
	Encoding string // name of the encoding: "belfry.v1", "plain"
	Route    Route  // what Events.Match returned
	Kept     []byte // what Events.Match returned; nil: nothing
}
