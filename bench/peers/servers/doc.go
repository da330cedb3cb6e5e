// Package servers holds the peers that are libraries: small push servers that a
// competent user of each would write. They all do the same: take WebSockets at
// /ws?uid=…, keep no topics (none are used here), and push what is posted to
// /v1/all and /v1/users/{uid}.
//
// Choices made for all of them: the library's defaults unless its own manual
// or example says otherwise for many idle connections; no compression;
// TCP_NODELAY as Go sets it; no heartbeats, which would cost the peers memory
// and time that belfry's are part of; the registry of connections is the same
// for all Go peers.
package servers
