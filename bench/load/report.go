package load

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"belfry/bench"
)

// Report is the result of a run.
type Report struct {
	Mode        string    `json:"mode"`
	Command     string    `json:"command"`
	Machine     string    `json:"machine"` // that of the clients
	Began       time.Time `json:"began"`
	Seconds     float64   `json:"seconds"`
	Interrupted bool      `json:"interrupted,omitempty"`

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

	Figures   []Figure   `json:"figures"`
	Latencies []Latency  `json:"latencies"`
	Receipts  []float64  `json:"receipts_ms,omitempty"` // of each broadcast: publish → last receipt
	Received  uint64     `json:"received"`              // messages with payloads
	Client    ClientLoad `json:"client"`
	Samples   []Sample   `json:"samples"`

	Problems []string `json:"problems,omitempty"` // reasons why the run failed
	Warnings []string `json:"warnings,omitempty"` // reasons to doubt the figures

	Handshakes *bench.Histogram `json:"-"`
	Answers    *bench.Histogram `json:"-"` // of the HTTP API
}

// Figure is one result.
type Figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit,omitempty"`
}

// Latency is one distribution.
type Latency struct {
	Name string `json:"name"`
	bench.Quantiles
	Histogram *bench.Histogram `json:"histogram"` // pairs of nanoseconds and count
}

// ClientLoad shows whether the clients were a bottleneck during the
// measurement.
type ClientLoad struct {
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

func newReport(o *Options, processes int) *Report {
	return &Report{Mode: o.Mode, Command: strings.Join(os.Args, " "), Machine: bench.Machine(), Began: time.Now(),
		Wanted: o.Connections, Client: ClientLoad{Processes: processes}}
}

func (r *Report) figure(name string, value float64, unit string) {
	r.Figures = append(r.Figures, Figure{name, value, unit})
}

func (r *Report) problem(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

func (r *Report) warning(format string, args ...any) {
	r.Warnings = append(r.Warnings, fmt.Sprintf(format, args...))
}

// connected records the result of the connects.
func (r *Report) connected(c bench.Connects) {
	r.Opened, r.Failed, r.FailedBy = c.Opened, c.Failed, c.Causes
	if c.Opened > 0 {
		r.figure("time to connect", c.Took.Seconds(), "s")
		r.figure("connections per second", c.PerSecond(), "/s")
	}
}

// finish completes the report with the counters of all clients.
func (r *Report) finish(o *Options, all bench.Stats, before, after []bench.Stats) {
	r.Seconds = time.Since(r.Began).Seconds()
	r.Open, r.Lost, r.LostBy, r.Received = all.Open, all.Lost(), all.Ended, all.Broadcast.Received+all.Direct.Received
	r.Failed, r.FailedBy = sum(all.Failed), all.Failed
	if o.Mode == Storm && all.Handshakes.Count() > 0 {
		r.Handshakes = all.Handshakes // those of the storms
	}
	r.latency(connectLatency, r.Handshakes)
	r.latency(receiptLatency, all.Broadcasts)
	switch o.Mode {
	case Echo:
		r.latency(echoLatency, all.Directs)
	default:
		r.latency(pushLatency, all.Directs)
	}
	r.latency(answerLatency, r.Answers)
	if r.Interrupted { // the last message may still have been in transit
		all.Missing = 0
	}
	if err := all.Faults(); err != nil {
		r.problem("messages: %v", err)
	}
	if r.Failed > 0 {
		r.problem("%d connections could not be made: %s", r.Failed, bench.Causes(r.FailedBy))
	}
	if lost := r.Lost - sum(r.SlowEnded); lost > 0 {
		r.problem("%d connections were lost: %s", lost, bench.Causes(r.LostBy))
	}
	r.doubt(o, before, after)
}

func (r *Report) latency(name string, h *bench.Histogram) {
	if h != nil && h.Count() > 0 {
		r.Latencies = append(r.Latencies, Latency{name, h.Quantiles(), h})
	}
}

// doubt checks whether the clients were a bottleneck.
func (r *Report) doubt(o *Options, before, after []bench.Stats) {
	c := &r.Client
	for i := range before {
		busy, starved := bench.Busy(before[i], after[i])
		c.Busy, c.Starved = max(c.Busy, busy), max(c.Starved, starved)
	}
	for _, s := range after {
		c.Gap = max(c.Gap, float64(s.Gap)/1e6)
	}
	if c.Busy >= tooBusy {
		r.warning("a client process used %.0f %% of a processor: the clients were a bottleneck, the server may be faster (--processes, or more machines)", 100*c.Busy)
	}
	if c.Starved >= tooStarved {
		r.warning("a client process waited for a processor %.0f %% of the time: the machine is too small for server and clients together", 100*c.Starved)
	}
	if o.Mode == Connect || o.Mode == Heartbeat || o.Mode == Storm {
		return // they measure no messages
	}
	for _, l := range r.Latencies {
		ours := l.Name != connectLatency && l.Name != answerLatency
		if ours && c.Gap*1e6 > tooLate*float64(l.Max) && c.Gap > 5 {
			r.warning("received data waited up to %.1f ms until the client read it: a part of the longest times of %q is due to the client", c.Gap, l.Name)
		}
	}
}

// Err is nil unless something was lost, doubled, reordered or damaged, a
// connection was lost or could not be made, or the run was cut short.
func (r *Report) Err() error {
	switch {
	case len(r.Problems) > 0:
		return errors.New(strings.Join(r.Problems, "\n"))
	case r.Interrupted:
		return errors.New("interrupted: the report has the results until then")
	}
	return nil
}
