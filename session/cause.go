package session

// Causes of refusals that are not found in the request's own bytes; package ws
// has those that are.
const (
	CauseNone          Cause = "none"          // not refused
	CauseOther         Cause = "other"         // of a Refusal that names none
	CauseUID           Cause = "uid"           // the user id is not valid, or not proven
	CauseTopic         Cause = "topic"         // a topic that is not valid, or not open to this client
	CauseMaxTopics     Cause = "max_topics"    // more topics than a session may have
	CauseUserSessions  Cause = "user_sessions" // newer sessions of the user took its place
	CauseSessions      Cause = "sessions"      // as many connections as the node may have
	CauseHalfOpen      Cause = "half_open"     // too many connections without a complete request
	CausePending       Cause = "pending"       // too many upgrades in progress
	CauseAddress       Cause = "address"       // too many, or too fast, of one address
	CauseProxy         Cause = "proxy"         // no PROXY header where one has to be, or from a stranger
	CauseMemory        Cause = "memory"        // the shard's tables are full
	CauseInbound       Cause = "inbound"       // the node holds as many unread bytes as it may
	CauseTimeout       Cause = "timeout"       // the request, or the authenticator, took too long
	CauseBus           Cause = "bus"           // the bus does not answer
	CauseShutdown      Cause = "shutdown"      // the node stops
	CauseAuthenticator Cause = "authenticator" // what the authenticator granted is not valid
	CauseInternal      Cause = "internal"      // a fault of ours
)

// causes is the registry: one line a cause. The series of a cause with its
// usual status is there from the start, so that a rate sees its first event.
var causes = [...]struct {
	cause  Cause
	status int // that it usually comes with
}{
	{CauseNone, 101},
	{CauseOther, 400},
	{CauseProtocol, 400},
	{CauseHead, 400},
	{CauseHeadSize, 431},
	{CauseHTTPVersion, 505},
	{CauseMethod, 405},
	{CauseBody, 413},
	{CausePath, 404},
	{CauseUpgrade, 400},
	{CauseOrigin, 403},
	{CauseUID, 401},
	{CauseTopic, 403},
	{CauseMaxTopics, 403},
	{CauseUserSessions, 429},
	{CauseSessions, 503},
	{CauseHalfOpen, 503},
	{CausePending, 503},
	{CauseAddress, 429},
	{CauseProxy, 400},
	{CauseMemory, 503},
	{CauseInbound, 503},
	{CauseTimeout, 408},
	{CauseBus, 503},
	{CauseShutdown, 503},
	{CauseAuthenticator, 500},
	{CauseInternal, 500},
}

const (
	causeCount = len(causes)
	causeNone  = 0 // index of CauseNone
	causeOther = 1 // index of CauseOther
)

// causeOf returns the place of a refusal's cause in the registry.
func causeOf(r *Refusal) int {
	for i := causeOther; i < causeCount; i++ {
		if causes[i].cause == r.Cause {
			return i
		}
	}
	return causeOther
}
