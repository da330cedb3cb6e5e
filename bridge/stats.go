package bridge

import "sync/atomic"

// Cause is why a connection did not reach a shard. Its name is a label of metrics
// and logs.
type Cause uint8

const (
	CauseNone          Cause = iota
	CauseMaxHandshakes       // Options.MaxHandshakes, or half of it for one address
	CauseMaxConns            // Options.MaxConnections
	CauseAddressRate         // session.Options.RatePerAddress
	CauseConnectRate         // session.Options.ConnectRate
	CauseTimeout             // Options.HandshakeTime
	CauseProxy               // no PROXY header, or not from a trusted proxy
	CauseHTTP                // HTTP without TLS
	CauseProtocol            // neither TLS nor HTTP
	CauseHandshake           // no common version or cipher, or a client that does not accept the certificate
	CauseGone                // the client closed the connection
	CauseSessions            // the shards are stopping or overloaded, or the kernel gave no socket pair
	causeCount
)

func (c Cause) String() string {
	return [...]string{"none", "max_handshakes", "max_connections", "address_rate", "connect_rate", "timeout", "proxy", "http", "protocol", "handshake", "gone", "sessions"}[c]
}

// Stats are the counters of a Server since New and, where marked with "now",
// present values.
type Stats struct {
	Connections  int    // now: after the handshake
	Handshaking  int    // now: before it
	Accepted     uint64 // connections
	Handshakes   uint64 // completed, resumed ones included
	Resumed      uint64 // handshakes that continued an earlier session (RFC 8446 §2.2)
	AcceptErrors uint64
	Panics       uint64            // connections that ended by a panic
	Refused      map[string]uint64 // connections that did not reach a shard, by Cause
}

type counters struct {
	connections, handshaking              atomic.Int64
	accepted, handshakes, resumed, errors atomic.Uint64
	panics                                atomic.Uint64
	refused                               [causeCount]atomic.Uint64
}

// Stats returns the counters. It may be called from any goroutine.
func (s *Server) Stats() Stats {
	st := Stats{
		Connections:  int(s.count.connections.Load()),
		Handshaking:  int(s.count.handshaking.Load()),
		Accepted:     s.count.accepted.Load(),
		Handshakes:   s.count.handshakes.Load(),
		Resumed:      s.count.resumed.Load(),
		AcceptErrors: s.count.errors.Load(),
		Panics:       s.count.panics.Load(),
		Refused:      map[string]uint64{},
	}
	for c := CauseNone + 1; c < causeCount; c++ {
		st.Refused[c.String()] = s.count.refused[c].Load()
	}
	return st
}
