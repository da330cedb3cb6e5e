package load

import (
	"fmt"

	"belfry/bench"
)

// Detail is what a run measured besides its figures.
type Detail struct {
	Wanted   int            `json:"connections"`
	Opened   int            `json:"opened"`
	Failed   int            `json:"failed"`
	FailedBy map[string]int `json:"failed_by,omitempty"`
	Open     int            `json:"open_at_end"`
	Lost     int            `json:"lost"` // open ones that ended
	LostBy   map[string]int `json:"lost_by,omitempty"`
	// SlowEnded counts lost connections that had stopped reading, which a
	// server may disconnect.
	SlowEnded map[string]int `json:"slow_ended_by,omitempty"`

	Receipts []float64 `json:"receipts_ms,omitempty"` // of each broadcast: publish → last receipt
	Received uint64    `json:"received"`              // messages with payloads
	Client   Client    `json:"client"`
	Samples  []Sample  `json:"samples"`
}

// Client shows whether the clients were a bottleneck during the measurement.
type Client struct {
	Processes int     `json:"processes"`
	Busy      float64 `json:"busy"`    // share of a processor, of the busiest process
	Starved   float64 `json:"starved"` // share of the time without a processor, of the process that waited longest
	Gap       float64 `json:"gap_ms"`  // longest time that received data waited to be read
}

// Names of latencies.
const (
	connectLatency = "connect → upgraded"
	receiptLatency = "publish → receipt"
	pushLatency    = "push → receipt"
	echoLatency    = "message due → echo"
	answerLatency  = "push → answer of the API"
)

// Limits above which the figures are doubtful.
const (
	tooBusy    = 0.9  // of a processor
	tooStarved = 0.25 // of the time
	tooLate    = 0.25 // of the longest latency, as read delay
)

// conclude completes the report with the counters of all clients, and with those
// of each at the end of the measurement.
func (r *run) conclude(all bench.Stats, after []bench.Stats) {
	d := r.detail
	d.Open, d.Lost, d.LostBy, d.Received = all.Open, all.Lost(), all.Ended, all.Broadcast.Received+all.Direct.Received
	d.Failed, d.FailedBy = sum(all.Failed), all.Failed
	if r.o.Mode == Storm && all.Handshakes.Count() > 0 {
		r.handshakes = all.Handshakes // those of the storms
	}
	answers := r.rep.Latencies
	r.rep.Latencies = nil
	r.rep.Latency(connectLatency, r.handshakes)
	r.rep.Latency(receiptLatency, all.Broadcasts)
	direct := pushLatency
	if r.o.Mode == Echo {
		direct = echoLatency
	}
	r.rep.Latency(direct, all.Directs)
	r.rep.Latencies = append(r.rep.Latencies, answers...)
	if err := all.Faults(); err != nil {
		r.rep.Problem("messages: %v", err)
	}
	if d.Failed > 0 {
		r.rep.Problem("%d connections could not be made: %s", d.Failed, bench.Causes(d.FailedBy))
	}
	if lost := d.Lost - sum(d.SlowEnded); lost > 0 {
		r.rep.Problem("%d connections were lost: %s", lost, bench.Causes(d.LostBy))
	}
	r.doubt(after)
	r.rep.Lines = append(r.rep.Lines,
		fmt.Sprintf("connections: %s wanted, %d opened, %d open at the end, %d failed (%s), %d lost (%s)", bench.Number(float64(d.Wanted)),
			d.Opened, d.Open, d.Failed, bench.Causes(d.FailedBy), d.Lost, bench.Causes(d.LostBy)),
		fmt.Sprintf("clients: %d processes, the busiest used %.0f %% of a processor; waited for one at most %.0f %% of the time; read delay at most %.1f ms",
			d.Client.Processes, 100*d.Client.Busy, 100*d.Client.Starved, d.Client.Gap))
}

// doubt checks whether the clients were a bottleneck.
func (r *run) doubt(after []bench.Stats) {
	c := &r.detail.Client
	c.Processes = len(after)
	for i := range r.before {
		busy, starved := bench.Busy(r.before[i], after[i])
		c.Busy, c.Starved = max(c.Busy, busy), max(c.Starved, starved)
	}
	for _, s := range after {
		c.Gap = max(c.Gap, float64(s.Gap)/1e6)
	}
	if c.Busy >= tooBusy {
		r.rep.Warning("a client process used %.0f %% of a processor: the clients were a bottleneck, the server may be faster (--processes, or more machines)", 100*c.Busy)
	}
	if c.Starved >= tooStarved {
		r.rep.Warning("a client process waited for a processor %.0f %% of the time: the machine is too small for server and clients together", 100*c.Starved)
	}
	if r.o.Mode == Connect || r.o.Mode == Heartbeat || r.o.Mode == Storm {
		return // they measure no messages
	}
	for _, l := range r.rep.Latencies {
		ours := l.Name != connectLatency && l.Name != answerLatency
		if ours && c.Gap*1e6 > tooLate*float64(l.Max) && c.Gap > 5 {
			r.rep.Warning("received data waited up to %.1f ms until the client read it: a part of the longest times of %q is due to the client", c.Gap, l.Name)
		}
	}
}
