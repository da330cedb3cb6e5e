package session

import "belfry/ws"

// Causes of refusals that do not follow from the request alone. Package ws has the
// others.
const (
	CauseNone            ws.Cause = "none"                // not refused
	CauseOther           ws.Cause = "other"               // of a Refusal that names none
	CauseUID             ws.Cause = "uid"                 // the user id is not valid, or not proven
	CauseExpired         ws.Cause = "expired"             // the credentials have expired
	CauseTopic           ws.Cause = "topic"               // a topic that is not valid, or not open to this client
	CauseMaxTopics       ws.Cause = "max_topics"          // more topics than a session may have
	CauseUserSessions    ws.Cause = "user_sessions"       // newer sessions of the user took its place
	CauseSessions        ws.Cause = "sessions"            // the node has as many connections as it may have
	CauseHalfOpen        ws.Cause = "half_open"           // too many connections without a complete request
	CausePending         ws.Cause = "pending"             // too many upgrades in progress
	CauseAddress         ws.Cause = "address"             // too many connections of one address, or too fast
	CauseConnectRate     ws.Cause = "connect_rate"        // the node accepts no more connections at the moment
	CauseProxy           ws.Cause = "proxy"               // the PROXY header is missing, or the proxy is not trusted
	CauseMemory          ws.Cause = "memory"              // the shard's tables are full
	CauseInbound         ws.Cause = "inbound"             // the node holds as many unread bytes as it may
	CauseTimeout         ws.Cause = "timeout"             // the request, or the authenticator, took too long
	CauseBus             ws.Cause = "bus"                 // the bus does not answer
	CauseShutdown        ws.Cause = "shutdown"            // the node stops
	CauseHookRefused     ws.Cause = "webhook_refused"     // the connect webhook refuses the client
	CauseHookUnavailable ws.Cause = "webhook_unavailable" // the connect webhook does not answer
	CauseHookAnswer      ws.Cause = "webhook_answer"      // the connect webhook gives an answer that is not valid
	CauseHookQueue       ws.Cause = "webhook_queue"       // too many clients wait for the connect webhook

	CauseAuthenticator ws.Cause = "authenticator" // the grant of the authenticator is not valid
	CauseInternal      ws.Cause = "internal"      // a fault of this server
)

// causes is the registry: one line for each cause. The metric of a cause with its
// usual status exists from the start, so that a rate sees the first event.
var causes = [...]struct {
	cause  ws.Cause
	status int // usual status of the answer
}{
	{CauseNone, 101},
	{CauseOther, 400},
	{ws.CauseProtocol, 400},
	{ws.CauseHead, 400},
	{ws.CauseHeadSize, 431},
	{ws.CauseHTTPVersion, 505},
	{ws.CauseMethod, 405},
	{ws.CauseBody, 413},
	{ws.CausePath, 404},
	{ws.CauseUpgrade, 400},
	{ws.CauseOrigin, 403},
	{CauseUID, 401},
	{CauseExpired, 401},
	{CauseTopic, 403},
	{CauseMaxTopics, 403},
	{CauseUserSessions, 429},
	{CauseSessions, 503},
	{CauseHalfOpen, 503},
	{CausePending, 503},
	{CauseAddress, 429},
	{CauseConnectRate, 503},
	{CauseProxy, 400},
	{CauseMemory, 503},
	{CauseInbound, 503},
	{CauseTimeout, 408},
	{CauseBus, 503},
	{CauseShutdown, 503},
	{CauseTokenMissing, 401},
	{CauseTokenPlace, 400},
	{CauseTokenSize, 401},
	{CauseTokenMalformed, 401},
	{CauseTokenAlgorithm, 401},
	{CauseTokenKey, 401},
	{CauseTokenSignature, 401},
	{CauseTokenExpired, 401},
	{CauseTokenEarly, 401},
	{CauseTokenClaims, 401},
	{CauseTokenRevoked, 401},
	{CauseAuthQueue, 503},
	{CauseAuthKeys, 503},
	{CauseHookRefused, 403},
	{CauseHookUnavailable, 503},
	{CauseHookAnswer, 503},
	{CauseHookQueue, 503},
	{CauseAuthenticator, 500},
	{CauseInternal, 500},
}

const (
	causeCount = len(causes)
	causeNone  = 0 // index of CauseNone
	causeOther = 1 // index of CauseOther
)

// causeOf returns the index of a refusal's cause in the registry.
func causeOf(r *ws.Refusal) int {
	for i := causeOther; i < causeCount; i++ {
		if causes[i].cause == r.Cause {
			return i
		}
	}
	return causeOther
}
