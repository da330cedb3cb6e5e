package push

import (
	"sync/atomic"
	"time"
)

// RequestCount is the number of requests of a route that were answered with a
// status.
type RequestCount struct {
	Route  string // as in docs/openapi.yaml, "/" for the page of --dev, "other" for paths that do not exist
	Status int
	Count  uint64
}

// CauseCount is the number of requests, or of lines, that were refused for a cause.
type CauseCount struct {
	Cause Cause
	Count uint64
}

// KeyCount counts requests and pushes with an API key.
type KeyCount struct {
	Key      string // its name, "unnamed" or, for requests without a valid key, "none"
	Requests uint64 // under /v1/
	Pushes   uint64 // messages accepted, lines of batches included
}

// Duration is a histogram of the durations of a route's requests, from the end of
// the head to the end of the answer. A batch counts once, with all its lines.
type Duration struct {
	Route  string
	Count  uint64
	Sum    time.Duration
	Counts [len(DurationBounds)]uint64 // requests up to this bound and above the previous one
}

// DurationBounds are the upper bounds of Duration.Counts.
var DurationBounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second,
}

// Stats are the counters of a Server since New and, where marked with "now",
// present values.
type Stats struct {
	Requests           []RequestCount // only routes and statuses that occurred
	Durations          []Duration     // only routes that were requested
	Keys               []KeyCount     // "none", "unnamed" and every name
	Rejected           []CauseCount   // requests refused; every cause, also with 0
	Lines              uint64         // lines of batches accepted
	LinesRejected      []CauseCount   // lines of batches refused; every cause, also with 0
	PayloadBytes       uint64         // bytes of accepted payloads
	BodiesCut          uint64         // bodies not read to their end; their connections are closed, and the answer may be lost
	Waited             uint64         // pushes that waited for busy shards
	WaitRefused        uint64         // pushes refused because too many pushes already waited
	InFlight           int            // now: requests under /v1/ and lines of batches being served; at most MaxRequests
	Bodies             int            // now: request bodies arriving; at most MaxBodies
	BodyBytes          int64          // now: bytes held of these bodies
	Connections        int            // now: open connections at both addresses
	ConnectionsEvicted uint64         // connections closed to make room for new ones
	ConnectionsRefused uint64         // connections refused because all of MaxConnections were being served
	HandshakesFailed   uint64         // connections whose TLS handshake failed
}

// statuses are the statuses that the handlers answer with. Other statuses are
// counted under the first one, 0.
var statuses = [...]int{0, 200, 202, 304, 400, 401, 403, 404, 405, 408, 409, 411, 413, 415, 422, 500, 503}

// counters are changed by all goroutines that serve requests.
type counters struct {
	requests      [routeCount][len(statuses)]atomic.Uint64
	durations     [routeCount]duration
	rejected      [causeCount]atomic.Uint64
	lines         atomic.Uint64
	linesRejected [causeCount]atomic.Uint64
	payloadBytes  atomic.Uint64
	bodiesCut     atomic.Uint64
	waited        atomic.Uint64
	waitRefused   atomic.Uint64
	inFlight      atomic.Int64
	connections   atomic.Int64
	connsEvicted  atomic.Uint64
	connsRefused  atomic.Uint64

	handshakesFailed atomic.Uint64
}

// duration is a histogram. Durations above the last bound are only in sum and count.
type duration struct {
	counts     [len(DurationBounds)]atomic.Uint64
	count, sum atomic.Uint64 // sum in nanoseconds
}

func (d *duration) add(took time.Duration) {
	for i, bound := range DurationBounds {
		if took <= bound {
			d.counts[i].Add(1)
			break
		}
	}
	d.count.Add(1)
	d.sum.Add(uint64(took))
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
		Waited:             c.waited.Load(),
		WaitRefused:        c.waitRefused.Load(),
		ConnectionsEvicted: c.connsEvicted.Load(),
		InFlight:           int(c.inFlight.Load()),
		Connections:        int(c.connections.Load()),
		ConnectionsRefused: c.connsRefused.Load(),
		HandshakesFailed:   c.handshakesFailed.Load(),
	}
	for route := range routeCount {
		if d := &c.durations[route]; d.count.Load() > 0 {
			out := Duration{Route: route.String(), Sum: time.Duration(d.sum.Load())}
			for i := range d.counts {
				out.Counts[i] = d.counts[i].Load()
			}
			out.Count = d.count.Load() // read last, so that it is at least the sum of Counts
			s.Durations = append(s.Durations, out)
		}
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
