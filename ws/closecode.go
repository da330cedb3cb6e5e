package ws

// Close codes that a server sends or checks (RFC 6455 §7.4.1).
const (
	CloseNormal          uint16 = 1000
	CloseGoingAway       uint16 = 1001
	CloseProtocolError   uint16 = 1002
	CloseNoStatus        uint16 = 1005 // means a close frame without a code; must not be sent
	CloseInvalidPayload  uint16 = 1007
	ClosePolicyViolation uint16 = 1008
	CloseMessageTooBig   uint16 = 1009
	CloseInternalError   uint16 = 1011
	CloseTryAgainLater   uint16 = 1013 // IANA registry of close codes
)

// ValidCloseCode returns whether a close frame may have the code: the codes that
// RFC 6455 §7.4.1 or the IANA registry define for close frames (1000–1003,
// 1007–1011 and, registered later, 1012 service restart, 1013 try again later,
// 1014 bad gateway), 3000–3999 (registered by libraries) and 4000–4999
// (private). 1004 has no meaning yet. 1005, 1006 and 1015 must not be sent.
// 1016–2999 are reserved for later revisions of the protocol.
func ValidCloseCode(code uint16) bool {
	switch {
	case code >= 1000 && code <= 1003,
		code >= 1007 && code <= 1014,
		code >= 3000 && code <= 4999:
		return true
	}
	return false
}

// ApplicationMayClose returns whether an application may end a connection with the
// code: those that say nothing about the protocol itself.
func ApplicationMayClose(code uint16) bool {
	switch code {
	case CloseNormal, CloseGoingAway, ClosePolicyViolation, CloseInternalError, CloseTryAgainLater:
		return true
	}
	return code >= 3000 && code <= 4999
}
