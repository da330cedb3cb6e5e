// Package load puts load on a server that runs already, on this or another host:
// it connects to any WebSocket server, publishes through an HTTP API, checks
// everything that arrives, and reports.
package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"belfry/bench"
	"belfry/bench/report"
	"belfry/bench/tool"
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

// Scenarios returns one for each mode.
func Scenarios() (all []tool.Scenario) {
	for _, m := range [][2]string{
		{Connect, "Make connections, hold them, and report rate and memory"},
		{Fanout, "Send messages to all connections"},
		{Push, "Push messages to users over HTTP"},
		{Echo, "Send messages that come back"},
		{Heartbeat, "Measure the cost of idle connections that are pinged"},
		{Storm, "Break all connections and let them come back at once"},
		{Slow, "Send messages while a share of the clients does not read"},
		{Soak, "Send messages to all connections for a long time"},
	} {
		o := &Options{Mode: m[0]}
		all = append(all, tool.Scenario{Name: m[0], About: m[1], Options: o, Validate: o.Validate,
			Run: func(ctx context.Context, p *tool.Progress) (*report.Report, error) { return Run(ctx, o, p) }})
	}
	return all
}

// Options says what to do to which server; see tool.Flags.
type Options struct {
	Mode string

	Target      string    `flag:"target" value:"127.0.0.1" help:"host of the server: a name, or an IPv4 or IPv6 address"`
	Ports       string    `flag:"ports" value:"9000-9019" help:"its ports; the connections take turns"`
	Connections int       `flag:"connections" value:"10000" range:"1..10000000" help:"connections to make"`
	Rate        float64   `flag:"rate" range:"0..1000000" help:"connections begun per second, 0 for as many as possible"`
	Window      int       `flag:"window" value:"256" range:"1..100000" help:"connections in progress at once in one client process (storm: all)"`
	Processes   Processes `flag:"processes" help:"least number of client processes; auto is one for each processor; more are started if the limit of open files requires it"`
	Sources     tool.List `flag:"sources" help:"addresses to connect from; each has 28,000 ports to each port of the server (default: enough of 127.0.0.2… over loopback)"`

	Path        string   `flag:"path" echo:"/echo" help:"path and query (default /ws?uid={uid}, with --topics &topic={topic})"`
	Host        string   `flag:"host" help:"Host header, in which {port} is the port (default: --target and port)"`
	Headers     []string `flag:"header" help:"further header lines of the upgrade request: 'Name: value' (repeatable)"`
	Subprotocol string   `flag:"subprotocol" help:"subprotocol to request; a server that does not accept it is an error"`
	Users       int      `flag:"uids" help:"different users; each has connections/uids connections (default: one each; push: 10 each)"`
	Topics      int      `flag:"topics" range:"0..1000000" help:"different topics; each connection has one"`
	OnOpen      []string `flag:"send-on-open" help:"message to send when upgraded; a template, in which \\r, \\n, \\x1e and \\\\ are understood (repeatable)"`
	Ready       string   `flag:"ready" help:"part of the message that says that a connection is subscribed (default: the upgrade says so)"`
	Reply       []string `flag:"reply" help:"answer to a message: 'message=answer', like 2=3 or PING\\r\\n=PONG\\r\\n (repeatable)"`
	Binary      bool     `flag:"binary" help:"send binary messages, not text"`
	Wrapped     bool     `flag:"wrapped" help:"the server wraps payloads in its own messages, and sends other messages too (implied by --send-on-open, --subprotocol, --ready and --reply)"`

	Duration time.Duration `flag:"duration" of:"connect push echo heartbeat soak" value:"30s" connect:"5s" push:"2m" soak:"10m" range:"10ms..168h" help:"how long"`
	Messages int           `flag:"messages" of:"fanout slow" value:"10" slow:"200" range:"1..1000000" help:"messages to all"`
	Interval time.Duration `flag:"interval" of:"fanout slow soak" slow:"20ms" soak:"1s" range:"0s..1h" help:"time from one message to the next; at least until every connection has it"`
	Size     int           `flag:"size" value:"128" range:"51..65536" help:"payload in bytes"`
	Rounds   int           `flag:"rounds" of:"storm" value:"3" range:"1..1000" help:"storms"`
	Share    float64       `flag:"share" of:"slow" value:"0.1" range:"0.0001..1" help:"share of the connections that stop reading"`
	Echo     string        `flag:"echo" of:"echo" value:"{payload}" help:"message to send; a template"`

	Publish
	Concurrency int     `flag:"concurrency" of:"push" value:"600" range:"1..10000" help:"HTTP requests in progress at once; at most --uids"`
	OpenRate    float64 `flag:"open-rate" of:"push echo" range:"0..1000000" help:"messages per second, sent whether or not earlier ones were answered, with times from when they are due; 0 sends the next when the last was answered"`

	ServerPID int    `flag:"server-pid" range:"0..4194304" help:"process id of a server on this machine, for its memory and CPU"`
	Metrics   string `flag:"metrics" help:"URL of the server's Prometheus metrics, for its memory and CPU"`

	wire  bench.Wire
	grace time.Duration // how long to wait for what does not arrive; 0 is the defaults
}

// Processes is a number of client processes, or auto for 0.
type Processes int

func (p *Processes) String() string {
	if *p == 0 {
		return "auto"
	}
	return strconv.Itoa(int(*p))
}

func (p *Processes) Set(s string) error {
	n, err := strconv.Atoi(s)
	if s == "auto" {
		n, err = 0, nil
	} else if err != nil || n < 1 || n > 200 {
		return errors.New("allowed are auto and 1 to 200")
	}
	*p = Processes(n)
	return err
}

func (p *Processes) Type() string { return "number" }

// maxTargets is the largest number of ports.
const maxTargets = 1000

// Validate checks the options without using the network, and sets those that
// depend on others.
func (o *Options) Validate() error {
	var errs []error
	for _, header := range o.Headers {
		if name, _, ok := strings.Cut(header, ":"); !ok || name == "" || strings.ContainsAny(header, "\r\n") {
			errs = append(errs, fmt.Errorf("--header %q: not of the form 'Name: value'", header))
		}
	}
	if o.Users < 0 || o.Users > o.Connections {
		errs = append(errs, fmt.Errorf("--uids %d: allowed are 0 to %d", o.Users, o.Connections))
	}
	if o.Target == "" {
		errs = append(errs, errors.New("--target: missing; a name, or an IPv4 or IPv6 address"))
	}
	if o.Mode == Echo && !strings.Contains(o.Echo, "{payload}") {
		errs = append(errs, errors.New("--echo: has no {payload} in it"))
	}
	_, err := ParsePorts(o.Ports)
	return errors.Join(append(errs, err, o.setWire(), o.Publish.validate(o.Mode))...)
}

// setWire sets how the server is talked to, and the options that follow from
// others.
func (o *Options) setWire() error {
	o.wire = bench.Wire{Path: o.Path, Host: o.Host, Headers: o.Headers, Subprotocol: o.Subprotocol, Users: o.Users, Topics: o.Topics,
		Ready: o.Ready, Binary: o.Binary, Wrapped: o.Wrapped}
	w := &o.wire
	var errs []error
	for _, reply := range o.Reply {
		to, with, ok := strings.Cut(reply, "=")
		if !ok || to == "" {
			errs = append(errs, fmt.Errorf("--reply %q: not of the form 'message=answer'", reply))
		}
		w.Answers = append(w.Answers, bench.Answer{To: unescape(to), With: unescape(with)})
	}
	for _, m := range o.OnOpen {
		w.OnOpen = append(w.OnOpen, unescape(m))
	}
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
	if o.Mode == Push {
		if w.Users == 0 {
			w.Users = max(o.Connections/10, 1) // 10 connections each, as published
		}
		o.Concurrency = min(o.Concurrency, w.Users) // pushes to one user are sent one after the other
	}
	return errors.Join(errs...)
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

// envAPIKey is the environment variable of --api-key.
const envAPIKey = "BELFRY_API_KEY"

// key returns the bearer token.
func (p *Publish) key() string {
	if p.Key == "" {
		return os.Getenv(envAPIKey)
	}
	return p.Key
}
