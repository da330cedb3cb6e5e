package host

import "fmt"

// Want is what a host is to be good for.
type Want struct {
	Connections int64   // client connections of one process; 0: as many as the host holds now
	Reserve     int64   // descriptors the process needs beside theirs; 0: DefaultReserve
	Ports       []Ports // that it listens on
	Queues      int64   // bytes that may wait in the process
	QueuesFix   string  // the command by which less may
}

// Status is a judgement.
type Status int

// A host that fails does not hold the wanted connections; a warning is about
// what they cost, or how it fares when they all come at once.
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

// Finding is what was found of one fact.
type Finding struct {
	Name   string `json:"name"`
	Value  string `json:"value"` // for people
	Status Status `json:"status"`
	Why    string `json:"why"`             // the fact matters
	Fix    string `json:"fix,omitempty"`   // the command that mends it, unless it passes
	Bound  *Bound `json:"bound,omitempty"` // for facts that bound the number of connections
}

// Bound is how many connections one fact allows.
type Bound struct {
	Now   int64 `json:"now"`
	Tuned int64 `json:"mended"` // once the host is tuned; memory and budgets stay as they are
}

// Capacity is how many connections a host holds, and the fact that limits it.
type Capacity struct {
	Connections int64  `json:"connections"`
	Limit       string `json:"limit"` // name of a finding
}

// Report is the judgement of a host.
type Report struct {
	Connections int64     `json:"connections"` // the wanted ones, or Now's
	Now         Capacity  `json:"now"`
	Tuned       Capacity  `json:"mended"`
	Findings    []Finding `json:"findings"`
}

// Failed returns the findings that stop the host from holding the wanted
// connections.
func (r *Report) Failed() (failed []Finding) {
	for _, finding := range r.Findings {
		if finding.Status == Fail {
			failed = append(failed, finding)
		}
	}
	return failed
}

// Check judges facts by what is wanted.
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
			acceptQueue(f, w), synBacklog(f, w), localPorts(f), reservedPorts(f, w),
			ioUring(f), hugePages(f), tasks(f),
		},
	}
	for _, nic := range f.NICs {
		r.Findings = append(r.Findings, packets(f, nic))
	}
	r.Now = r.capacity(func(b *Bound) int64 { return b.Now })
	r.Tuned = r.capacity(func(b *Bound) int64 { return b.Tuned })
	return r
}

// capacity is the least of the bounds: the first one of several as tight.
func (r *Report) capacity(of func(*Bound) int64) Capacity {
	least := Capacity{Connections: MaxConnections, Limit: "max_connections"}
	for _, finding := range r.Findings {
		if finding.Bound != nil && of(finding.Bound) < least.Connections {
			least = Capacity{Connections: of(finding.Bound), Limit: finding.Name}
		}
	}
	return least
}
