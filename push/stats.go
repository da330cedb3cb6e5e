package push

import "sync/atomic"

// RequestCount is how many requests of a route were answered with a status.
type RequestCount struct {
	Route  string // as in docs/openapi.yaml, "/" for the page of --dev, "other" for paths that do not exist
	Status int
	Count  uint64
}

// CauseCount is how often something was refused for a cause.
type CauseCount struct {
	Cause Cause
	Count uint64
}

// Stats are the counters of a Server since it was made. What net/http answers
// itself is not in them: 400 to what is not HTTP, 431 to a long head.
type Stats struct {
	Requests           []RequestCount // those that occurred
	Rejected           []CauseCount   // requests refused; every cause, zero or not
	Lines              uint64         // lines of batches accepted
	LinesRejected      []CauseCount   // lines of batches refused; every cause, zero or not
	PayloadBytes       uint64         // payloads accepted, in bytes
	BodiesCut          uint64         // bodies not read to their end: their connections close, and the answer may be lost
	Paced              uint64         // pushes that waited because their receivers were behind
	InFlight           int            // requests under /v1/ right now; at most MaxRequests
	Connections        int            // open connections, both addresses
	ConnectionsRefused uint64         // beyond MaxConnections
}

// statuses are those that the handlers answer with; others count as the first.
var statuses = [...]int{0, 200, 202, 304, 400, 401, 403, 404, 405, 408, 413, 415, 500, 503}

// counters is written by all request goroutines.
type counters struct {
	requests      [routeCount][len(statuses)]atomic.Uint64
	rejected      [causeCount]atomic.Uint64
	lines         atomic.Uint64
	linesRejected [causeCount]atomic.Uint64
	payloadBytes  atomic.Uint64
	bodiesCut     atomic.Uint64
	paced         atomic.Uint64
	inFlight      atomic.Int64
	connections   atomic.Int64
	connsRefused  atomic.Uint64
}

// request counts one answered request.
func (c *counters) request(route routeID, status int) {
	for i, s := range statuses {
		if s == status {
			c.requests[route][i].Add(1)
			return
		}
	}
	c.requests[route][0].Add(1)
}

func (c *counters) snapshot() Stats {
	s := Stats{
		Lines:              c.lines.Load(),
		PayloadBytes:       c.payloadBytes.Load(),
		BodiesCut:          c.bodiesCut.Load(),
		Paced:              c.paced.Load(),
		InFlight:           int(c.inFlight.Load()),
		Connections:        int(c.connections.Load()),
		ConnectionsRefused: c.connsRefused.Load(),
	}
	for route := range routeCount {
		for i, status := range statuses {
			if n := c.requests[route][i].Load(); n > 0 {
				s.Requests = append(s.Requests, RequestCount{route.String(), status, n})
			}
		}
	}
	for _, cause := range Causes() {
		s.Rejected = append(s.Rejected, CauseCount{cause, c.rejected[cause].Load()})
		s.LinesRejected = append(s.LinesRejected, CauseCount{cause, c.linesRejected[cause].Load()})
	}
	return s
}
