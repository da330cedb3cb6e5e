package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"belfry/bench/load"
)

// aboutLoad is the description of the program.
const aboutLoad = `Put load on any WebSocket server, from this or another host, and check everything
that arrives: payloads, order, losses and duplicates. Child processes hold the
connections, as many as the limit of open files requires.

The defaults are for a belfry in development mode (belfry serve --dev). In --path,
--send-on-open, --echo and the templates of --publish-…, {uid}, {topic} and {n} stand
for the user, the topic and the number of the connection, and {payload} for the
payload of the message.

Ctrl-C ends a run with the report so far. Exit status: 0 if everything that was sent
arrived once, in order and unchanged, and every connection was made and kept; 1 if not;
2 for wrong usage.`

const examples = `  belfry serve --dev --listen 127.0.0.1:9000 &
  belfry-bench fanout --ports 9000 --api http://127.0.0.1:8081 --server-pid $! --report fanout
  belfry-bench push --ports 9000 --api http://127.0.0.1:8081 --connections 15000 --duration 30s
  belfry-bench echo --target ws.example.com --ports 80 --path /echo --open-rate 5000
  belfry-bench fanout --ports 8000 --path '/connection/websocket' --send-on-open '{"id":1,"connect":{}}' \
    --send-on-open '{"id":2,"subscribe":{"channel":"all"}}' --ready '"id":2' --reply '{}={}' \
    --publish-url http://127.0.0.1:8000/api/publish --publish-body '{"channel":"all","data":"{payload}"}'`

// newLoadCommands returns a command for each mode of the load generator.
func newLoadCommands() (commands []*cobra.Command) {
	about := map[string]string{
		load.Connect:   "Make connections, hold them, and report rate and memory",
		load.Fanout:    "Send messages to all connections",
		load.Push:      "Push messages to users over HTTP",
		load.Echo:      "Send messages that come back",
		load.Heartbeat: "Measure the cost of idle connections that are pinged",
		load.Storm:     "Break all connections and let them come back at once",
		load.Slow:      "Send messages while a share of the clients does not read",
		load.Soak:      "Send messages to all connections for a long time",
	}
	for _, mode := range load.Modes() {
		commands = append(commands, newLoadCommand(mode, about[mode]))
	}
	return commands
}

// newLoadCommand returns the command of one mode, with its flags.
func newLoadCommand(mode, about string) *cobra.Command {
	o := load.Defaults(mode)
	var asJSON bool
	var folder string
	cmd := &cobra.Command{
		Use: mode, Short: about, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Publish.Key == "" {
				o.Publish.Key = os.Getenv(envAPIKey)
			}
			if err := o.Validate(); err != nil {
				return &usageError{err, cmd.CommandPath()}
			}
			return runLoad(cmd, &o, asJSON, folder)
		},
	}
	f := cmd.Flags()
	loadFlags(f, &o)
	f.BoolVar(&asJSON, "json", false, "print JSON instead of the table")
	f.StringVar(&folder, "report", "", "folder for report.md, report.json and charts")
	return cmd
}

// runLoad runs one mode and writes its report.
func runLoad(cmd *cobra.Command, o *load.Options, asJSON bool, folder string) error {
	terminal, _ := cmd.ErrOrStderr().(*os.File)
	report, err := load.Run(cmd.Context(), o, terminal)
	if err != nil {
		return err
	}
	if folder != "" {
		if err := report.WriteFolder(folder); err != nil {
			return fmt.Errorf("--report: %w", err)
		}
	}
	if err := printLoad(cmd.OutOrStdout(), report, asJSON); err != nil {
		return err
	}
	return report.Err()
}

func printLoad(w io.Writer, report *load.Report, asJSON bool) error {
	if !asJSON {
		return report.WriteTable(w)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(report)
}

// loadFlags defines the flags of o.Mode: the common ones and its own.
func loadFlags(f *pflag.FlagSet, o *load.Options) {
	f.StringVar(&o.Target, "target", o.Target, "host of the server: a name, or an IPv4 or IPv6 address")
	f.StringVar(&o.Ports, "ports", o.Ports, "its ports; the connections take turns")
	f.IntVar(&o.Connections, "connections", o.Connections, "connections to make")
	f.Float64Var(&o.Rate, "rate", 0, "connections begun per second, 0 for as many as possible")
	f.IntVar(&o.Window, "window", o.Window, "connections in progress at once in one client process (storm: all)")
	f.Var((*processes)(&o.Processes), "processes", "least number of client processes; auto is one for each processor; more are started if the limit of open files requires it")
	f.StringSliceVar(&o.Sources, "sources", nil, "addresses to connect from; each has 28,000 ports to each port of the server (default: enough of 127.0.0.2… over loopback)")
	f.StringVar(&o.Wire.Path, "path", o.Wire.Path, "path and query (default /ws?uid={uid}, with --topics &topic={topic})")
	f.StringVar(&o.Wire.Host, "host", "", "Host header, in which {port} is the port (default: --target and port)")
	f.StringArrayVar(&o.Wire.Headers, "header", nil, "further header lines of the upgrade request: 'Name: value' (repeatable)")
	f.StringVar(&o.Wire.Subprotocol, "subprotocol", "", "subprotocol to request; a server that does not accept it is an error")
	f.IntVar(&o.Wire.Users, "uids", 0, "different users; each has connections/uids connections (default: one each; push: 10 each)")
	f.IntVar(&o.Wire.Topics, "topics", 0, "different topics; each connection has one")
	f.StringArrayVar(&o.Wire.OnOpen, "send-on-open", nil, `message to send when upgraded; a template, in which \r, \n, \x1e and \\ are understood (repeatable)`)
	f.StringVar(&o.Wire.Ready, "ready", "", "part of the message that says that a connection is subscribed (default: the upgrade says so)")
	f.StringArrayVar(&o.Reply, "reply", nil, `answer to a message: 'message=answer', like 2=3 or PING\r\n=PONG\r\n (repeatable)`)
	f.BoolVar(&o.Wire.Binary, "binary", false, "send binary messages, not text")
	f.BoolVar(&o.Wire.Wrapped, "wrapped", false, "the server wraps payloads in its own messages, and sends other messages too (implied by --send-on-open, --subprotocol, --ready and --reply)")
	f.IntVar(&o.ServerPID, "server-pid", 0, "process id of a server on this machine, for its memory and CPU")
	f.StringVar(&o.Metrics, "metrics", "", "URL of the server's Prometheus metrics, for its memory and CPU")
	f.IntVar(&o.Size, "size", o.Size, "payload in bytes")
	switch o.Mode {
	case load.Connect, load.Push, load.Echo, load.Heartbeat, load.Soak:
		f.DurationVar(&o.Duration, "duration", o.Duration, "how long")
	case load.Fanout, load.Slow:
		f.IntVar(&o.Messages, "messages", o.Messages, "messages to all")
	case load.Storm:
		f.IntVar(&o.Rounds, "rounds", o.Rounds, "storms")
	}
	switch o.Mode {
	case load.Fanout, load.Slow, load.Soak:
		f.DurationVar(&o.Interval, "interval", o.Interval, "time from one message to the next; at least until every connection has it")
		publishFlags(f, &o.Publish)
		f.StringVar(&o.Publish.AllURL, "publish-url", "", "URL for messages to all (default: that of --api)")
		f.StringVar(&o.Publish.Command, "publish-command", "", "shell command that sends its standard input to all, instead of HTTP")
	case load.Push:
		publishFlags(f, &o.Publish)
		f.StringVar(&o.Publish.UserURL, "push-url", "", "URL for messages to one user; may contain {uid} (default: that of --api)")
		f.IntVar(&o.Concurrency, "concurrency", o.Concurrency, "HTTP requests in progress at once; at most --uids")
	case load.Echo:
		f.StringVar(&o.Echo, "echo", o.Echo, "message to send; a template")
	}
	if o.Mode == load.Push || o.Mode == load.Echo {
		f.Float64Var(&o.OpenRate, "open-rate", 0, "messages per second, sent whether or not earlier ones were answered, with times from when they are due; 0 sends the next when the last was answered")
	}
	if o.Mode == load.Slow {
		f.Float64Var(&o.Share, "share", o.Share, "share of the connections that stop reading")
	}
}

// envAPIKey is the environment variable of --api-key.
const envAPIKey = "BELFRY_API_KEY"

// processes is the value of a flag: a number, or auto for 0.
type processes int

func (p *processes) String() string {
	if *p == 0 {
		return "auto"
	}
	return strconv.Itoa(int(*p))
}

func (p *processes) Set(s string) error {
	if s == "auto" {
		*p = 0
		return nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 200 {
		return errors.New("allowed are auto and 1 to 200")
	}
	*p = processes(n)
	return nil
}

func (p *processes) Type() string { return "number" }

// publishFlags defines the flags that say how messages are given to the server.
func publishFlags(f *pflag.FlagSet, p *load.Publish) {
	f.StringVar(&p.API, "api", "", "belfry's API, like http://127.0.0.1:8081")
	f.StringVar(&p.Key, "api-key", "", "bearer token (better "+envAPIKey+": the command line is no secret)")
	f.StringVar(&p.Method, "publish-method", "POST", "HTTP method")
	f.StringVar(&p.Body, "publish-body", "{payload}", "body of the request; a template")
	f.StringArrayVar(&p.Headers, "publish-header", nil, "further header lines of the request: 'Name: value' (repeatable)")
}
