package hostile

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"belfry/bench"
	"belfry/bench/publish"
)

// Bounds on the start of nodes.
const (
	readyTimeout = 20 * time.Second
	apiTimeout   = 2 * time.Second
)

// node is one belfry node.
type node struct {
	name   string
	proc   *bench.Process
	listen netip.AddrPort
	tls    netip.AddrPort // not valid without
	api    string
	routes string // address for other nodes' routes, "" without
}

// nodeOptions say how a node is started.
type nodeOptions struct {
	name     string
	settings []string // NAME=VALUE
	file     string   // configuration file; "": none
	tls      bool     // it also listens for TLS
	files    int      // limit of open files; 0: that of the rig
	cluster  bool     // accepts routes of other nodes
	join     string   // address of another node's routes
}

// startNode starts a node and waits until it is ready.
func (o *Options) startNode(ctx context.Context, n nodeOptions) (*node, error) {
	var addrs [4]netip.AddrPort
	for i := range addrs {
		var err error
		if addrs[i], err = bench.FreePort(); err != nil {
			return nil, err
		}
	}
	s := &node{name: n.name, listen: addrs[0], api: addrs[1].String()}
	args := []string{o.Server, "serve", "--dev", "--log-level", "error", "--node-name", n.name, "--shards", strconv.Itoa(o.Shards),
		"--listen", s.listen.String(), "--api", s.api}
	if n.tls {
		s.tls = addrs[3]
		args = append(args, "--listen", s.tls.String(), "--set", "tls.listen="+s.tls.String())
	}
	if n.file != "" {
		args = append(args, "--config", n.file)
	}
	if n.cluster || n.join != "" {
		s.routes = addrs[2].String()
		args = append(args, "--nats-cluster-listen", s.routes)
	}
	if n.join != "" {
		args = append(args, "--nats-routes", n.join)
	}
	for _, set := range n.settings {
		args = append(args, "--set", set)
	}
	if n.files > 0 { // every system has sh, not every one has prlimit
		args = append([]string{"/bin/sh", "-c", `ulimit -n "$0" && exec "$@"`, strconv.Itoa(n.files)}, args...)
	}
	var err error
	if s.proc, err = bench.Start(ctx, n.name, false, nil, args[0], args[1:]...); err != nil {
		return nil, err
	}
	if err := s.ready(ctx); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// ready requests /readyz until it answers 200.
func (s *node) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("%s is not ready after %v", s.name, readyTimeout))
	defer cancel()
	last := errors.New("never asked")
	for {
		_, err := publish.Get(ctx, apiTimeout, "http://"+s.api+"/readyz")
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-s.proc.Exited():
			return s.proc.Failure()
		case <-ctx.Done():
			return fmt.Errorf("%w; last: %w", context.Cause(ctx), last)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// joined waits until the node has n peers.
func (s *node) joined(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("%s has not found the other node after %v", s.name, readyTimeout))
	defer cancel()
	for {
		if stats, err := publish.GetStats(ctx, apiTimeout, s.api); err == nil && stats.Bus.Peers == n {
			return nil
		}
		if err := bench.Sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// stop kills the node: an orderly shutdown is not needed.
func (s *node) stop() {
	if s != nil {
		s.proc.Stop(0)
	}
}

// dead returns how the node ended, nil if it runs.
func (s *node) dead() error {
	select {
	case <-s.proc.Exited():
		return s.proc.Failure()
	default:
		return nil
	}
}

// metrics are the values of /metrics by name with labels.
type metrics map[string]float64

// metrics reads the metrics of the node.
func (s *node) metrics(ctx context.Context) (metrics, error) {
	body, err := publish.Get(ctx, apiTimeout, "http://"+s.api+"/metrics")
	if err != nil {
		return nil, err
	}
	return parseMetrics(body), nil
}

// parseMetrics reads the text format of Prometheus, without the buckets of
// histograms.
func parseMetrics(body []byte) metrics {
	m := make(metrics)
	for lines := bufio.NewScanner(bytes.NewReader(body)); lines.Scan(); {
		line := lines.Text()
		if strings.HasPrefix(line, "#") || strings.Contains(line, "_bucket{") {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		if at < 0 {
			continue
		}
		if v, err := strconv.ParseFloat(line[at+1:], 64); err == nil {
			m[line[:at]] = v
		}
	}
	return m
}

// label returns the label's value of name{label="value"}, of a metric with one
// label.
func label(series, name string) (string, bool) {
	rest, ok := strings.CutPrefix(series, name+"{")
	if !ok {
		return "", false
	}
	_, rest, _ = strings.Cut(rest, `="`)
	value, _, ok := strings.Cut(rest, `"`)
	return value, ok
}

// moved returns the increase of a metric's counters, by label.
func (m metrics) moved(before metrics, name string) map[string]int {
	rose := make(map[string]int)
	for series, v := range m {
		if l, ok := label(series, name); ok && v > before[series] {
			rose[l] = int(v - before[series])
		}
	}
	return rose
}

// knownSettings returns the settings of the binary.
func knownSettings(ctx context.Context, server string) ([]string, error) {
	out, err := exec.CommandContext(ctx, server, "config", "print").Output()
	if err != nil {
		return nil, fmt.Errorf("%s config print: %w", server, err)
	}
	return parseSettings(string(out)), nil
}

// parseSettings returns the paths of the keys of YAML that is two spaces deep a
// level.
func parseSettings(text string) []string {
	var paths, at []string
	for line := range strings.Lines(text) {
		body := strings.TrimLeft(line, " ")
		key, _, ok := strings.Cut(body, ":")
		if !ok || strings.HasPrefix(body, "#") || strings.HasPrefix(body, "-") {
			continue
		}
		depth := (len(line) - len(body)) / 2
		at = append(at[:min(depth, len(at))], key)
		paths = append(paths, strings.Join(at, "."))
	}
	return paths
}

// known splits settings into those that the binary has and those that it does
// not.
func known(settings, paths []string) (has, lacks []string) {
	for _, s := range settings {
		name, _, _ := strings.Cut(s, "=")
		if slices.Contains(paths, name) {
			has = append(has, s)
		} else {
			lacks = append(lacks, s)
		}
	}
	return has, lacks
}
