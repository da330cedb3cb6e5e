package host

import "fmt"

// Want is what a host should be able to do.
type Want struct {
	Connections int64   // client connections of one process; 0: as many as the host can hold now
	Reserve     int64   // further descriptors that the process needs; 0: DefaultReserve
	Ports       []Ports // ports that it listens on
	Queues      int64   // bytes that may wait in the process
	QueuesFix   string  // the command that lowers Queues
	TLS         int64   // how many of the connections may be TLS connections
}

// Status is the result of a check.
type Status int

// Fail means that the host cannot hold the wanted connections. Warn is about
// their cost, or about trouble when all come at once.
const (
	Pass Status = iota
	Warn
	Fail
)

func (s Status) String() string { return [...]string{"pass", "warn", "fail"}[s] }

// MarshalText writes a status by its name.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *Status) UnmarshalText(text []byte) error {
	for _, status := range []Status{Pass, Warn, Fail} {
		if status.String() == string(text) {
			*s = status
			return nil
		}
	}
	return fmt.Errorf("status %q is none of pass, warn and fail", text)
}

// Finding is the result of the check of one fact.
type Finding struct {
	Name   string `json:"name"`
	Value  string `json:"value"` // for people
	Status Status `json:"status"`
	Why    string `json:"why"`             // why the fact matters
	Fix    string `json:"fix,omitempty"`   // the command that fixes it, unless it passes
	Bound  *Bound `json:"bound,omitempty"` // only for facts that limit the number of connections
}

// Bound is how many connections one fact allows.
type Bound struct {
	Now   int64 `json:"now"`
	Tuned int64 `json:"mended"` // after tuning; memory and limits set on purpose stay
}

// Capacity is how many connections a host can hold, and the fact that limits
// the number.
type Capacity struct {
	Connections int64  `json:"connections"`
	Limit       string `json:"limit"` // name of a finding
}

// Report is the result of the check of a host.
type Report struct {
	Connections int64     `json:"connections"` // the wanted connections, or those of Now
	Now         Capacity  `json:"now"`
	Tuned       Capacity  `json:"mended"`
	Findings    []Finding `json:"findings"`
}

// Failed returns the findings because of which the host cannot hold the wanted
// connections.
func (r *Report) Failed() (failed []Finding) {
	for _, finding := range r.Findings {
		if finding.Status == Fail {
			failed = append(failed, finding)
		}
	}
	return failed
}

// Check compares the facts of a host with what is wanted.
func Check(f Facts, w Want) Report {
	if w.Reserve == 0 {
		w.Reserve = DefaultReserve
	}
	if w.Connections == 0 {
		w.Connections = max(1, check(&f, &w).Now.Connections)
	}
	return check(&f, &w)
}

func check(f *Facts, w *Want) Report {
	r := Report{
		Connections: w.Connections,
		Findings: []Finding{
			kernel(f), cpus(f), clockSource(f),
			memory(f, w), cgroupMemory(f, w), Queues(f, *w), tcpMemory(f, w),
			descriptors(f, w), nrOpen(f, w), fileMax(f, w), epollWatches(f, w), conntrack(f, w),
			acceptQueue(f, w), synBacklog(f, w), packetQueue(f, w), socketTable(f, w), localPorts(f), reservedPorts(f, w),
			ioUring(f), hugePages(f), tasks(f),
		},
	}
	if w.TLS > 0 {
		r.Findings = append(r.Findings, tlsCost(f, w))
	}
	for _, nic := range f.NICs {
		r.Findings = append(r.Findings, packets(f, nic))
	}
	r.Now = r.capacity(func(b *Bound) int64 { return b.Now })
	r.Tuned = r.capacity(func(b *Bound) int64 { return b.Tuned })
	return r
}

// capacity returns the lowest of the bounds, and the first fact that has it.
func (r *Report) capacity(of func(*Bound) int64) Capacity {
	least := Capacity{Connections: MaxConnections, Limit: "max_connections"}
	for _, finding := range r.Findings {
		if finding.Bound != nil && of(finding.Bound) < least.Connections {
			least = Capacity{Connections: of(finding.Bound), Limit: finding.Name}
		}
	}
	return least
}
