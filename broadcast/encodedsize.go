package broadcast

import "belfry/message"

// encodedSize returns an upper bound of the bytes that NATS counts for a part:
// payload and headers. The constant covers the version line, the headers that
// every message has, and the names of the optional headers.
func encodedSize(m *message.Message, names []string) int {
	const fixed = 192
	n := fixed + len(m.Payload) + len(m.ID) + len(m.Target.Exclude) + len(escape(m.Key))
	for _, name := range names {
		n += len(headerSession) + 4 + len(escape(name))
	}
	for _, name := range m.Target.ExcludeTopics {
		n += len(headerExcept) + 4 + len(name)
	}
	if m.Report != nil {
		n += len(headerReport) + 4 + maxReportValue
	}
	if m.Membership != message.NoMembership {
		n += len(headerMembers) + 4 + len("leave")
	}
	if !m.Expires.IsZero() {
		n += len(headerTTL) + 4 + maxTTLValue
	}
	if m.Spread > 0 {
		n += len(headerSpread) + 4 + maxTTLValue
	}
	if m.Op != 0 {
		n += len(headerOp) + 4 + len("4294967295")
	}
	return n
}
