package load

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"belfry/bench"
)

// Sample is the state at one moment. Unknown values are 0.
type Sample struct {
	At       float64 `json:"at_s"` // since the start of the run
	Open     int     `json:"open"`
	Failed   int     `json:"failed"`
	Lost     int     `json:"lost"`
	Received uint64  `json:"received"` // messages of both streams
	RSS      int64   `json:"rss"`      // of the server, in bytes
	Slab     int64   `json:"slab"`     // of this machine's kernel: both ends of a local connection
	CPU      float64 `json:"cpu_s"`    // of the server, used so far
}

// The time between samples grows with the number of client processes, so that
// sampling costs little. It doubles whenever there are maxSamples, so that a
// soak of days does not fill the memory.
const (
	sampleEvery = 25 * time.Millisecond // for each process
	maxSamples  = 1000
)

// sampler reads samples during a run.
type sampler struct {
	o     *Options
	pool  *bench.Pool
	start time.Time

	mu      sync.Mutex // guards what follows
	samples []Sample
	failed  string // why the server's counters cannot be read, "" if they can

	stop context.CancelFunc
	done chan struct{}
}

func startSampler(ctx context.Context, o *Options, pool *bench.Pool, start time.Time) *sampler {
	ctx, stop := context.WithCancel(ctx)
	s := &sampler{o: o, pool: pool, start: start, stop: stop, done: make(chan struct{})}
	s.sample(ctx)
	go func() {
		defer close(s.done)
		every := sampleEvery * time.Duration(max(len(pool.Processes()), 2))
		for bench.Sleep(ctx, every) == nil {
			if s.sample(ctx); s.thin() {
				every *= 2
			}
		}
	}()
	return s
}

// last returns the latest sample.
func (s *sampler) last() (Sample, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.samples) == 0 {
		return Sample{}, false
	}
	return s.samples[len(s.samples)-1], true
}

// end takes the last sample and returns all samples, and the reason if some
// have no figures of the server.
func (s *sampler) end(ctx context.Context) ([]Sample, string) {
	s.stop()
	<-s.done
	s.sample(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.samples, s.failed
}

func (s *sampler) sample(ctx context.Context) {
	stats, err := s.pool.Counters(ctx)
	if err != nil {
		return // the run has the error too
	}
	x := Sample{At: time.Since(s.start).Seconds(), Open: stats.Open, Failed: sum(stats.Failed), Lost: stats.Lost(),
		Received: stats.Broadcast.Received + stats.Direct.Received}
	rss, cpu, err := s.server(ctx)
	if ctx.Err() != nil {
		return // it ends, with one more
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.failed = err.Error()
	}
	x.RSS, x.CPU = rss, cpu
	if s.o.ServerPID > 0 {
		if v, err := bench.Meminfo("Slab"); err == nil {
			x.Slab = v[0]
		}
	}
	s.samples = append(s.samples, x)
}

// thin drops every second sample if there are too many.
func (s *sampler) thin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.samples) < maxSamples {
		return false
	}
	for i := range s.samples[:len(s.samples)/2] {
		s.samples[i] = s.samples[2*i]
	}
	s.samples = s.samples[:len(s.samples)/2]
	return true
}

// server reads memory and processor time of the server, from /proc or from
// its metrics.
func (s *sampler) server(ctx context.Context) (rss int64, cpu float64, err error) {
	switch {
	case s.o.ServerPID > 0:
		if rss, err = residentPages(s.o.ServerPID); err != nil {
			return 0, 0, err
		}
		used, err := bench.ProcessCPU(s.o.ServerPID)
		return rss, used.Seconds(), err
	case s.o.Metrics != "":
		return readMetrics(ctx, s.o.Metrics)
	}
	return 0, 0, nil
}

// residentPages reads /proc/PID/statm, which is off by a few pages but costs
// nothing: smaps_rollup would hold up a large server at every sample.
func residentPages(pid int) (int64, error) {
	p, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, fmt.Errorf("--server-pid: %w", err)
	}
	fields := strings.Fields(string(p))
	if len(fields) < 2 {
		return 0, fmt.Errorf("statm of process %d: %q", pid, p)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// readMetrics reads the two metrics that every Prometheus client library
// exports for its process.
func readMetrics(ctx context.Context, url string) (rss int64, cpu float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, 0, fmt.Errorf("--metrics: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, 0, fmt.Errorf("--metrics: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return 0, 0, fmt.Errorf("--metrics: %s: %s", url, res.Status)
	}
	found := false
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		v, _ := strconv.ParseFloat(value, 64)
		switch name {
		case "process_resident_memory_bytes":
			rss, found = int64(v), true
		case "process_cpu_seconds_total":
			cpu = v
		}
	}
	if !found {
		return 0, 0, fmt.Errorf("--metrics: %s has no process_resident_memory_bytes", url)
	}
	return rss, cpu, nil
}

func sum(m map[string]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}

// first returns the sample from before the first connection.
func (s *sampler) first() Sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.samples[0]
}
