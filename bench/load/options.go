// Package load is the load generator of `belfry bench`: it connects to any
// WebSocket server, publishes through an HTTP API, checks everything that
// arrives, and reports. The modes are in modes.go, push in push.go.
package load

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"belfry/bench"
)

// Modes, in the order of the help.
const (
	Connect   = "connect"
	Fanout    = "fanout"
	Push      = "push"
	Echo      = "echo"
	Heartbeat = "heartbeat"
	Storm     = "storm"
	Slow      = "slow"
	Soak      = "soak"
)

// Modes returns the names of all modes.
func Modes() []string { return []string{Connect, Fanout, Push, Echo, Heartbeat, Storm, Slow, Soak} }

// Options says what to do to which server. Defaults returns values that work.
type Options struct {
	Mode  string
	Wire  bench.Wire
	Reply []string // of Wire.Answers: "message=answer"

	Target      string // host name or address
	Ports       string // "9000-9019,9100"
	Connections int
	Rate        float64 // connections a second; 0 is no limit
	Window      int     // connections in progress at once in one process
	Processes   int     // client processes, at least; 0 is automatic
	Sources     []string

	Duration time.Duration // of push, echo, heartbeat and soak; of connect: how long to hold
	Messages int           // of fanout and slow
	Interval time.Duration // between broadcasts; 0 sends the next when all have the last
	Size     int           // of a payload, in bytes
	Rounds   int           // of storm
	Share    float64       // of slow: of the connections that stop reading
	Echo     string        // of echo: what to send; a template with {payload}

	Publish     Publish
	Concurrency int     // of push: requests in progress at once
	OpenRate    float64 // of push and echo: a second, sent whether or not the ones before were answered; 0 waits for the answers

	ServerPID int    // of a server on this machine, 0 for none
	Metrics   string // URL of a server's Prometheus metrics, "" for none

	grace time.Duration // how long to wait for what does not arrive; 0 is the defaults
}

// Defaults returns the options of `belfry bench` without flags.
func Defaults(mode string) Options {
	o := Options{Mode: mode, Target: "127.0.0.1", Ports: "9000-9019", Connections: 10_000, Window: 256, Messages: 10, Size: 128,
		Rounds: 3, Share: 0.1, Echo: "{payload}", Concurrency: 600, Duration: 30 * time.Second}
	switch mode {
	case Connect:
		o.Duration = 5 * time.Second
	case Push:
		o.Duration = 120 * time.Second
	case Slow:
		o.Messages, o.Interval = 200, 20*time.Millisecond
	case Soak:
		o.Duration, o.Interval = 10*time.Minute, time.Second
	case Echo:
		o.Wire.Path = "/echo"
	}
	return o
}

// Limits of the options.
const (
	maxConnections = 10_000_000
	maxSize        = 64 << 10
	maxTargets     = 1000
)

// Validate checks the options without using the network, and sets those that
// depend on others.
func (o *Options) Validate() error {
	var errs []error
	between := func(flag string, v, low, high float64) {
		if v < low || v > high {
			errs = append(errs, fmt.Errorf("--%s %v: allowed are %v to %v", flag, v, low, high))
		}
	}
	if !slices.Contains(Modes(), o.Mode) {
		return fmt.Errorf("mode %q: allowed are %s", o.Mode, strings.Join(Modes(), ", "))
	}
	between("connections", float64(o.Connections), 1, maxConnections)
	between("rate", o.Rate, 0, 1e6)
	between("window", float64(o.Window), 1, 1e5)
	between("processes", float64(o.Processes), 0, 200)
	between("messages", float64(o.Messages), 1, 1e6)
	between("size", float64(o.Size), bench.MinPayload, maxSize)
	between("rounds", float64(o.Rounds), 1, 1000)
	between("share", o.Share, 0.0001, 1)
	between("uids", float64(o.Wire.Users), 0, float64(o.Connections))
	between("topics", float64(o.Wire.Topics), 0, 1e6)
	between("concurrency", float64(o.Concurrency), 1, 10_000)
	between("open-rate", o.OpenRate, 0, 1e6)
	between("duration", o.Duration.Seconds(), 0.01, 7*24*3600)
	between("interval", o.Interval.Seconds(), 0, 3600)
	between("server-pid", float64(o.ServerPID), 0, 1<<22)
	for _, header := range o.Wire.Headers {
		if name, _, ok := strings.Cut(header, ":"); !ok || name == "" || strings.ContainsAny(header, "\r\n") {
			errs = append(errs, fmt.Errorf("--header %q: not of the form 'Name: value'", header))
		}
	}
	errs = append(errs, o.readMessages())
	o.setDependent()
	if o.Target == "" {
		errs = append(errs, errors.New("--target: missing; a name, or an IPv4 or IPv6 address"))
	}
	if !strings.Contains(o.Echo, "{payload}") {
		errs = append(errs, errors.New("--echo: has no {payload} in it"))
	}
	if _, err := ParsePorts(o.Ports); err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, o.Publish.validate(o.Mode))
	return errors.Join(errs...)
}

// readMessages reads the messages of the command line: answers to the server's,
// and those that are sent at the start.
func (o *Options) readMessages() error {
	var errs []error
	for _, reply := range o.Reply {
		to, with, ok := strings.Cut(reply, "=")
		if !ok || to == "" {
			errs = append(errs, fmt.Errorf("--reply %q: not of the form 'message=answer'", reply))
		}
		o.Wire.Answers = append(o.Wire.Answers, bench.Answer{To: unescape(to), With: unescape(with)})
	}
	for i, m := range o.Wire.OnOpen {
		o.Wire.OnOpen[i] = unescape(m)
	}
	return errors.Join(errs...)
}

// setDependent sets the options that follow from others.
func (o *Options) setDependent() {
	w := &o.Wire
	w.Wrapped = w.Wrapped || len(w.OnOpen) > 0 || len(w.Answers) > 0 || w.Ready != "" || w.Subprotocol != ""
	if w.Path == "" {
		w.Path = bench.DevPath(w.Topics)
	}
	if strings.HasPrefix(o.Target, "[") && strings.HasSuffix(o.Target, "]") { // as in a URL
		o.Target = o.Target[1 : len(o.Target)-1]
	}
	if _, err := netip.ParseAddr(o.Target); err != nil && w.Host == "" {
		w.Host = o.Target + ":{port}"
	}
	if o.Mode == Push && w.Users == 0 {
		w.Users = max(o.Connections/10, 1) // 10 connections each, as published
	}
	if o.Mode == Push {
		o.Concurrency = min(o.Concurrency, w.Users) // pushes to one user are sent one after the other
	}
}

// unescape replaces \r, \n, \x1e and \\ by their characters, so that messages
// of line protocols and of SignalR can be given on a command line.
func unescape(s string) string {
	return strings.NewReplacer(`\\`, `\`, `\r`, "\r", `\n`, "\n", `\x1e`, "\x1e").Replace(s)
}

// ParsePorts reads a list of ports and ranges: "9000-9019,9100".
func ParsePorts(s string) ([]uint16, error) {
	bad := fmt.Errorf("--ports %q: a list of ports and ranges like 9000-9019,9100; allowed are 1 to 65535, at most %d of them", s, maxTargets)
	var ports []uint16
	for item := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(item), "-")
		low, err1 := strconv.ParseUint(first, 10, 16)
		high, err2 := low, error(nil)
		if isRange {
			high, err2 = strconv.ParseUint(last, 10, 16)
		}
		if err1 != nil || err2 != nil || low == 0 || high < low || len(ports)+int(high-low) >= maxTargets {
			return nil, bad
		}
		for p := low; p <= high; p++ {
			ports = append(ports, uint16(p))
		}
	}
	return ports, nil
}

// addresses resolves the target and its ports, and parses the own addresses. If
// a name has addresses of both families, the family of the sources is used, and
// IPv4 without sources.
func (o *Options) addresses() (targets []netip.AddrPort, sources []netip.Addr, err error) {
	ports, err := ParsePorts(o.Ports)
	if err != nil {
		return nil, nil, err
	}
	network, family := "ip", ""
	for _, s := range o.Sources {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return nil, nil, fmt.Errorf("--sources %q: not an IP address", s)
		}
		sources = append(sources, a.Unmap())
		if network, family = "ip6", " (an IPv6 address, as --sources are)"; sources[0].Is4() {
			network, family = "ip4", " (an IPv4 address, as --sources are)"
		}
		if sources[0].Is4() != a.Unmap().Is4() {
			return nil, nil, fmt.Errorf("--sources %s: of another family than %s", s, o.Sources[0])
		}
	}
	host, err := net.ResolveIPAddr(network, o.Target)
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("--target: %w%s", err, family)
	case host.Zone != "":
		return nil, nil, fmt.Errorf("--target %s: must be an IPv6 address without a zone", o.Target)
	}
	addr, _ := netip.AddrFromSlice(host.IP)
	for _, p := range ports {
		targets = append(targets, netip.AddrPortFrom(addr.Unmap(), p))
	}
	return targets, sources, nil
}
