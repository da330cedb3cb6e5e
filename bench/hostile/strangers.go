package hostile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"belfry/bench"
)

// How often newcomers come.
const (
	strangerEvery = 100 * time.Millisecond
	healthEvery   = 250 * time.Millisecond
)

// strangers are clients that connect during an attack, each from its own
// address, and programs that request /healthz on a new connection.
type strangers struct {
	node  *node
	clock bench.Clock
	phase *atomic.Uint32

	mu        sync.Mutex // guards what follows
	under     int        // connects in progress
	connects  [phases]*bench.Histogram
	joined    [phases]int // of a crowd
	failed    [phases]map[string]int
	asked     [phases]int
	unhealthy [phases]map[string]int
}

func newStrangers(n *node, ph *atomic.Uint32) *strangers {
	s := &strangers{node: n, clock: bench.NewClock(), phase: ph}
	for p := range s.connects {
		s.connects[p] = bench.NewHistogram()
		s.failed[p] = make(map[string]int)
		s.unhealthy[p] = make(map[string]int)
	}
	return s
}

// start makes strangers until ctx is done; running counts those in progress.
func (s *strangers) start(ctx, hard context.Context, running *sync.WaitGroup) {
	running.Go(func() {
		s.every(ctx, strangerEvery, func(n int, ph phase) { running.Go(func() { s.connect(hard, n, ph) }) })
	})
	running.Go(func() {
		s.every(ctx, healthEvery, func(_ int, ph phase) { running.Go(func() { s.health(hard, ph) }) })
	})
}

func (s *strangers) every(ctx context.Context, period time.Duration, do func(n int, ph phase)) {
	due := s.clock.Now()
	for n := 0; ; n++ {
		do(n, phase(s.phase.Load()))
		due += int64(period)
		if bench.Sleep(ctx, time.Duration(due-s.clock.Now())) != nil {
			return
		}
	}
}

// connect is one stranger: it connects, waits for the 101 and leaves.
func (s *strangers) connect(ctx context.Context, n int, ph phase) {
	s.mu.Lock()
	s.under++
	s.mu.Unlock()
	start := s.clock.Now()
	c, err := dial(ctx, [4]byte{127, 101, byte(n / 250 % 250), byte(n%250 + 1)}, s.node.listen, fmt.Sprintf("/ws?uid=stranger-%d", n), "")
	took := s.clock.Now() - start
	if ctx.Err() != nil && err != nil {
		err = errors.New("not connected when the run ended")
	}
	if err == nil {
		defer c.close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.under--
	if err != nil {
		s.failed[ph][cause(err)]++
		return
	}
	s.connects[ph].Record(took)
}

// crowd connects n clients at once; they stay until ctx is done.
func (s *strangers) crowd(ctx context.Context, n int, running *sync.WaitGroup) {
	ph := phase(s.phase.Load())
	for i := range n {
		running.Go(func() {
			c, err := dial(ctx, [4]byte{127, 103, byte(i / 250), byte(i%250 + 1)}, s.node.listen, fmt.Sprintf("/ws?uid=crowd-%d", i), "")
			if err != nil && ctx.Err() != nil {
				err = os.ErrDeadlineExceeded // it had the time of the whole attack
			}
			s.mu.Lock()
			if err != nil {
				s.failed[ph][cause(err)]++
			} else {
				s.joined[ph]++
			}
			s.mu.Unlock()
			if err == nil {
				<-ctx.Done()
				c.close()
			}
		})
	}
}

// waiting returns how many are neither connected nor refused.
func (s *strangers) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.under
}

// health requests /healthz once.
func (s *strangers) health(ctx context.Context, ph phase) {
	c := apiConn{address: s.node.api}
	defer c.close()
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	status, err := c.do(ctx, []byte("GET /healthz HTTP/1.1\r\nHost: "+s.node.api+"\r\n\r\n"))
	if err == nil && status != 200 {
		err = &bench.StatusError{Code: status}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[ph]++
	if err != nil {
		s.unhealthy[ph][cause(err)]++
	}
}

// Newcomers is the result of the strangers of one phase.
type Newcomers struct {
	Connected int            `json:"connected"`
	Failed    map[string]int `json:"failed,omitempty"`
	P50       float64        `json:"p50_ms"` // connect(2) → 101
	P99       float64        `json:"p99_ms"`
	Asked     int            `json:"healthz_asked"`
	Unhealthy map[string]int `json:"healthz_failed,omitempty"`
}

func (s *strangers) tally(ph phase) Newcomers {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.connects[ph]
	return Newcomers{Connected: int(h.Count()) + s.joined[ph], Failed: maps.Clone(s.failed[ph]), P50: ms(h.At(50)), P99: ms(h.At(99)),
		Asked: s.asked[ph], Unhealthy: maps.Clone(s.unhealthy[ph])}
}

// cause returns an error in a word or two, without addresses, so that equal
// errors are counted together.
func cause(err error) string {
	var errno syscall.Errno
	var status *bench.StatusError
	switch {
	case errors.As(err, &status):
		return status.Error()
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.As(err, &errno):
		return unix.ErrnoName(errno)
	}
	var op *net.OpError
	if errors.As(err, &op) {
		if op.Timeout() {
			return "timeout"
		}
		err = op.Err
	}
	return err.Error()
}

// readers are innocent clients that read slowly: each reads 20,000 bytes per
// second of a backlog.
type readers struct {
	node *node

	mu     sync.Mutex // guards what follows
	closed map[string]int
	read   int64
}

const (
	slowRate    = 20_000
	slowTopic   = "rig.backlog"
	slowMessage = 16 << 10
)

// connect makes n of them.
func (r *readers) connect(ctx context.Context, n int, to netip.AddrPort, running *sync.WaitGroup) error {
	r.closed = make(map[string]int)
	for i := range n {
		c, err := dial(ctx, [4]byte{127, 102, 0, byte(i + 1)}, to, fmt.Sprintf("/ws?uid=slow-%d&topic=%s", i, slowTopic), "")
		if err != nil {
			return fmt.Errorf("slow reader %d: %w", i, err)
		}
		running.Go(func() { r.slowly(ctx, c) })
	}
	return nil
}

// slowly reads 2,000 bytes every tenth of a second.
func (r *readers) slowly(ctx context.Context, c *client) {
	defer c.conn.Close()
	defer context.AfterFunc(ctx, func() { _ = c.conn.SetDeadline(time.Unix(1, 0)) })()
	if tcp, ok := c.conn.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(4 << 10) // so that the backlog is in the node
	}
	var p [slowRate / 10]byte
	var got received
	got.take(c.buf)
	for bench.Sleep(ctx, 100*time.Millisecond) == nil {
		n, err := c.conn.Read(p[:])
		got.take(p[:n])
		r.mu.Lock()
		r.read += int64(n)
		if err != nil && ctx.Err() == nil {
			if got.closed != "" {
				err = errors.New(got.closed)
			}
			r.closed[cause(err)]++
		}
		r.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// fill pushes to the topic of the readers until each has half of its largest
// backlog.
func (r *readers) fill(ctx context.Context, n int) error {
	pushes, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		stream(pushes, r.node.api, Pushes{Path: "/v1/topics/" + slowTopic, Rate: 100, Size: slowMessage})
	}()
	defer func() { stop(); <-done }()
	for range 600 {
		// Shared frames count once.
		if m, err := r.node.metrics(ctx); err == nil && m["belfry_backlog_bytes"] > 512<<10 && m["belfry_backlog_connections"] >= float64(n) {
			return nil
		}
		if err := bench.Sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	return errors.New("slow readers have no backlog after 30 s of pushes")
}

func (r *readers) ended() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.closed)
}
