package session

import "belfry/ws"

// Reason says why a session ended. It decides the close code on the wire, the word
// in the log and the label of the metric. docs/protocol.md lists all of them.
type Reason uint8

const (
	ReasonNone          Reason = iota // still open
	ReasonClient                      // the client sent a close frame
	ReasonGone                        // the connection ended without a close frame
	ReasonReadError                   // reading failed (reset, timed out by the kernel)
	ReasonWriteError                  // writing failed
	ReasonHandshake                   // the upgrade was refused or malformed
	ReasonHandshakeTime               // the upgrade took too long
	ReasonShutdown                    // this node stops
	ReasonProtocol                    // RFC 6455 was violated
	ReasonUTF8                        // text or a close reason was not UTF-8
	ReasonDeflate                     // a compressed message did not inflate
	ReasonPolicy                      // a client message where none is allowed
	ReasonTooBig                      // a message above the limit
	ReasonFragments                   // a message in too many fragments
	ReasonInternal                    // a fault of this server
	ReasonPongTimeout                 // a ping stayed unanswered
	ReasonIdleRead                    // nothing was received for too long
	ReasonIdleWrite                   // nothing was sent for too long
	ReasonIdle                        // nothing was received or sent for too long
	ReasonSlow                        // the connection's backlog was full, or it was not read in time
	ReasonNodeBacklog                 // the node's backlog was full
	ReasonReplaced                    // the user has too many sessions
	ReasonRate                        // the client sent more than its rates allow for too long
	ReasonNodeInbound                 // the node's limit of input bytes was reached
	ReasonMessageTime                 // a message was not complete in time
	ReasonLoginRefused                // a login was refused or did not come in time
	ReasonHealth                      // a request for HealthPath was answered
	ReasonExpired                     // the credentials have expired, or were revoked
	ReasonLogin                       // the session of nobody has logged in and goes on as another session
	ReasonUnauthorized                // the credentials were refused (401)
	ReasonForbidden                   // the credentials were refused (403)
	ReasonBackend                     // a backend closed it (Server.Close)
	ReasonNodeGone                    // its node is gone: other nodes tell, and no session ends with it here
	ReasonRestart                     // a hot restart could not take the session along
	ReasonDrain                       // this node is drained (Server.Shed)
	ReasonRebalance                   // this node has more sessions than others (Server.Shed)
	ReasonLifetime                    // the session is as old as Options.Lifetime lets it become
	reasonCount
)

// reasonInfo is the registry: one line for each reason.
var reasonInfo = [reasonCount]struct {
	label     string
	code      uint16 // 0: no close frame is sent
	text      string // in the close frame, for people
	reconnect bool   // whether a client should come back by itself
}{
	ReasonNone:          {"none", 0, "", false},
	ReasonClient:        {"client", ws.CloseNormal, "", false},
	ReasonGone:          {"gone", 0, "", true},
	ReasonReadError:     {"read_error", 0, "", true},
	ReasonWriteError:    {"write_error", 0, "", true},
	ReasonHandshake:     {"handshake", 0, "", false},
	ReasonHandshakeTime: {"handshake_timeout", 0, "", true},
	ReasonShutdown:      {"shutdown", ws.CloseGoingAway, "server is going away", true},
	ReasonProtocol:      {"protocol", ws.CloseProtocolError, "protocol error", false},
	ReasonUTF8:          {"utf8", ws.CloseInvalidPayload, "invalid UTF-8", false},
	ReasonDeflate:       {"deflate", ws.CloseInvalidPayload, "invalid compressed data", false},
	ReasonPolicy:        {"policy", ws.ClosePolicyViolation, "client messages are not accepted here", false},
	ReasonTooBig:        {"too_big", ws.CloseMessageTooBig, "message too big", false},
	ReasonFragments:     {"fragments", ws.CloseMessageTooBig, "too many fragments", false},
	ReasonInternal:      {"internal", 0, "", true},
	ReasonPongTimeout:   {"pong_timeout", 4000, "ping not answered in time", true},
	ReasonIdleRead:      {"idle_read", 4001, "nothing received for too long", true},
	ReasonIdleWrite:     {"idle_write", 4002, "nothing sent for too long", true},
	ReasonIdle:          {"idle", 4003, "idle for too long", true},
	ReasonSlow:          {"slow_consumer", 4004, "too slow to read", true},
	ReasonNodeBacklog:   {"node_backlog", 4005, "server backlog is full", true},
	ReasonReplaced:      {"user_sessions", 4006, "too many sessions of this user", false},
	ReasonRate:          {"rate_limit", ws.ClosePolicyViolation, "sent too much", false},
	ReasonNodeInbound:   {"node_inbound", 4007, "server input is full", true},
	ReasonMessageTime:   {"message_timeout", 4008, "message not complete in time", true},
	ReasonLoginRefused:  {"login_refused", 4009, "login refused", false},
	ReasonHealth:        {"health", 0, "", false},
	ReasonExpired:       {"expired", 4010, "the credentials have expired", true},
	ReasonLogin:         {"login", 0, "", false},
	ReasonUnauthorized:  {"unauthorized", 4401, "unauthorized", false},
	ReasonForbidden:     {"forbidden", 4403, "forbidden", false},
	ReasonBackend:       {"backend", ws.CloseNormal, "closed by a backend", false},
	ReasonNodeGone:      {"node_gone", 0, "", true},
	ReasonRestart:       {"restart", 1012, "service restart", true},
	ReasonDrain:         {"drain", ws.CloseGoingAway, "server is drained", true},
	ReasonRebalance:     {"rebalance", ws.CloseGoingAway, "other servers have fewer clients", true},
	ReasonLifetime:      {"lifetime", ws.CloseGoingAway, "session is old", true},
}

// Reasons returns every reason a session can end with, in the registry's order.
func Reasons() []Reason {
	all := make([]Reason, 0, reasonCount-1)
	for r := ReasonClient; r < reasonCount; r++ {
		all = append(all, r)
	}
	return all
}

// String returns the label used in logs and metrics.
func (r Reason) String() string { return reasonInfo[r].label }

// Code returns the close code sent for r, 0 if no close frame is sent.
func (r Reason) Code() uint16 { return reasonInfo[r].code }

// Text returns the text of the close frame.
func (r Reason) Text() string { return reasonInfo[r].text }

// Reconnect says whether a client should come back by itself.
func (r Reason) Reconnect() bool { return reasonInfo[r].reconnect }
