package hostile

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// readRSS returns VmRSS of a process, in bytes. It may be wrong by 64 pages per
// processor (man 5 proc), which does not matter here. Reading it costs the
// process nothing.
func readRSS(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	return parseRSS(string(text))
}

func parseRSS(status string) (int64, error) {
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("no VmRSS")
}

// watch follows a node's memory and some gauges.
type watch struct {
	node *node
	done chan struct{}

	mu     sync.Mutex // guards what follows
	rss    int64      // highest values since the last take
	gauges map[string]float64
}

// watched are the gauges whose highest value is recorded.
var watched = [...]string{"belfry_bus_subscriptions", "belfry_backlog_bytes", "belfry_upgrades_pending", "belfry_inbound_bytes"}

// startWatch reads until ctx is done.
func startWatch(ctx context.Context, n *node) *watch {
	w := &watch{node: n, done: make(chan struct{}), gauges: make(map[string]float64)}
	go w.run(ctx)
	return w
}

func (w *watch) run(ctx context.Context) {
	defer close(w.done)
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for n := 0; ; n++ {
		if rss, err := readRSS(w.node.proc.PID()); err == nil {
			w.mu.Lock()
			w.rss = max(w.rss, rss)
			w.mu.Unlock()
		}
		if n%10 == 0 {
			if m, err := w.node.metrics(ctx); err == nil {
				w.mu.Lock()
				for _, name := range watched {
					w.gauges[name] = max(w.gauges[name], m[name])
				}
				w.mu.Unlock()
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// take returns the highest values since the last take and resets them.
func (w *watch) take() (rss int64, gauges map[string]float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	rss, gauges = w.rss, w.gauges
	w.rss, w.gauges = 0, make(map[string]float64)
	return rss, gauges
}
