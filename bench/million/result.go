package million

import (
	"time"

	"belfry/bench"
)

// Result has all measured values and the table made of them.
type Result struct {
	Machine    string      `json:"machine"`
	Command    string      `json:"command"`
	Began      time.Time   `json:"began"`
	Took       float64     `json:"took_seconds"`
	LoadBefore float64     `json:"load_before"` // average of the last minute
	Unfinished string      `json:"unfinished,omitempty"`
	Facts      Facts       `json:"facts"`
	Plan       *Plan       `json:"plan"`
	Rows       []bench.Row `json:"rows"`

	Floor  *growth `json:"floor,omitempty"`
	Belfry *growth `json:"belfry,omitempty"`
	Push   *push   `json:"push,omitempty"`
	Idle   *idle   `json:"idle,omitempty"`

	opts *Options
}

// growth is a part in which the number of connections grows and every step has
// fan-outs.
type growth struct {
	Ramp    ramp     `json:"ramp"`
	Fanouts []fanout `json:"fanouts"` // one a step
	Empty   reading  `json:"empty"`   // all nodes, before their first connection
	Full    reading  `json:"full"`    // after the last fan-out
}

// last returns the fan-outs to all connections of the plan, nil if the run did
// not reach them.
func (g *growth) last(connections int) *fanout {
	if g == nil || len(g.Fanouts) == 0 {
		return nil
	}
	if f := &g.Fanouts[len(g.Fanouts)-1]; f.Connections == connections {
		return f
	}
	return nil
}

// reading is the memory of all nodes at one number of connections, in bytes.
type reading struct {
	Connections int   `json:"connections"`
	RSS         int64 `json:"rss"`
	Anonymous   int64 `json:"anonymous"`
	Slab        int64 `json:"slab"`
	Available   int64 `json:"available"` // MemAvailable of the host
}

// readMemory reads it.
func readMemory(processes []*bench.Process, connections int) (r reading, err error) {
	r.Connections = connections
	for _, p := range processes {
		m, err := bench.ReadMemory(p.PID())
		if err != nil {
			return r, err
		}
		r.RSS += m.RSS
		r.Anonymous += m.Anonymous
	}
	if r.Slab, err = bench.ReadSlab(); err != nil {
		return r, err
	}
	r.Available, err = available()
	return r, err
}
