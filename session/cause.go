package session

// Cause says why an upgrade was refused, where the status is shared by several
// faults: it is the second label of the metric and a word in the log.
type Cause uint8

const (
	CauseNone          Cause = iota // not refused
	CauseOther                      // of a Refusal that names none
	CauseProtocol                   // what came is not HTTP/1.x: TLS, HTTP/2, a PROXY header, noise
	CauseHead                       // the request violates HTTP
	CauseHeadSize                   // request line or header too long
	CauseHTTPVersion                // not HTTP/1.1
	CauseMethod                     // not GET
	CauseBody                       // the request has content
	CausePath                       // no WebSocket at this path
	CauseUpgrade                    // a field of RFC 6455 is missing or wrong
	CauseOrigin                     // a page that may not connect
	CauseUID                        // the user id is not valid, or not proven
	CauseTopic                      // a topic that is not valid, or not open to this client
	CauseMaxTopics                  // more topics than a session may have
	CauseUserSessions               // newer sessions of the user took its place
	CauseSessions                   // as many connections as the node may have
	CauseHalfOpen                   // too many connections without a complete request
	CausePending                    // too many upgrades in progress
	CauseAddress                    // too many, or too fast, of one address
	CauseProxy                      // no PROXY header where one has to be, or from a stranger
	CauseMemory                     // the shard's tables are full
	CauseInbound                    // the node holds as many unread bytes as it may
	CauseTimeout                    // the request, or the authenticator, took too long
	CauseBus                        // the bus does not answer
	CauseShutdown                   // the node stops
	CauseAuthenticator              // what the authenticator granted is not valid
	CauseInternal                   // a fault of ours
	causeCount
)

// causeInfo is the registry: one line a cause. The series of a cause with its
// usual status is there from the start, so that a rate sees its first event.
var causeInfo = [causeCount]struct {
	label  string
	status int // that it usually comes with
}{
	CauseNone:          {"none", 101},
	CauseOther:         {"other", 400},
	CauseProtocol:      {"protocol", 400},
	CauseHead:          {"head", 400},
	CauseHeadSize:      {"head_size", 431},
	CauseHTTPVersion:   {"http_version", 505},
	CauseMethod:        {"method", 405},
	CauseBody:          {"body", 413},
	CausePath:          {"path", 404},
	CauseUpgrade:       {"upgrade", 400},
	CauseOrigin:        {"origin", 403},
	CauseUID:           {"uid", 401},
	CauseTopic:         {"topic", 403},
	CauseMaxTopics:     {"max_topics", 403},
	CauseUserSessions:  {"user_sessions", 429},
	CauseSessions:      {"sessions", 503},
	CauseHalfOpen:      {"half_open", 503},
	CausePending:       {"pending", 503},
	CauseAddress:       {"address", 429},
	CauseProxy:         {"proxy", 400},
	CauseMemory:        {"memory", 503},
	CauseInbound:       {"inbound", 503},
	CauseTimeout:       {"timeout", 408},
	CauseBus:           {"bus", 503},
	CauseShutdown:      {"shutdown", 503},
	CauseAuthenticator: {"authenticator", 500},
	CauseInternal:      {"internal", 500},
}

// Causes returns every cause of a refusal, in the registry's order.
func Causes() []Cause {
	all := make([]Cause, 0, causeCount-1)
	for c := CauseOther; c < causeCount; c++ {
		all = append(all, c)
	}
	return all
}

// String returns the label used in logs and metrics.
func (c Cause) String() string { return causeInfo[c].label }
