package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"belfry/config"
	"belfry/host"
)

func newDoctorCommand(env []string) *cobra.Command {
	var connections int64
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Show how many connections this host can hold, and what to change",
		Long: `Show how many connections this host can hold now and after tuning, what limits
the number, and the command that fixes each problem. Nothing is changed. Takes
the flags of serve. doctor checks against --connections, or else against
max_connections, or if that is 0 against what the host can hold now.

The limits of a process are those of the shell that runs doctor. For a service
run doctor inside it, or read the lines that serve logs when it starts.

Exit code: 0 if the host can hold the connections, even with warnings; 1 if not.`,
		Args: cobra.NoArgs,
	}
	flags := addConfigFlags(cmd.Flags())
	cmd.Flags().Int64Var(&connections, "connections", 0, "client connections that the host should hold, 1 to 16777216")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print facts and findings as JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if cmd.Flags().Changed("connections") && (connections < 1 || connections > host.MaxConnections) {
			return &usageError{fmt.Errorf("--connections: %d; allowed are 1 to %d", connections, host.MaxConnections), cmd.CommandPath()}
		}
		loaded, err := flags.load(env)
		if err != nil {
			return err
		}
		here, err := thisMachine()
		if err != nil {
			return err
		}
		cfg := loaded.Config
		if connections == 0 {
			connections = int64(cfg.MaxConnections)
		}
		here.resolve(&cfg)
		r := host.Check(here.facts, here.want(&cfg, connections))
		r.Findings = append(r.Findings, certFindings(&cfg, time.Now())...)
		out := cmd.OutOrStdout()
		if asJSON {
			err = printJSON(out, here.facts, &r)
		} else {
			err = printReport(out, &r, terminal(out))
		}
		if failed := r.Failed(); err == nil && len(failed) > 0 {
			err = fmt.Errorf("this host cannot hold %s connections", host.Thousands(r.Connections))
		}
		return err
	}
	return cmd
}

// want returns what a node with resolved settings needs from its host.
func (m machine) want(c *config.Config, connections int64) host.Want {
	w := host.Want{Connections: connections, Reserve: int64(m.reserve(c) + c.Upgrade.MaxPending), Queues: queueBytes(c), QueuesFix: m.queuesFix(c)}
	if c.TLS.On() {
		w.TLS = int64(c.TLS.MaxConnections)
	}
	for _, entry := range append(c.Listen[:len(c.Listen):len(c.Listen)], c.API.Listen, c.API.MonitorListen) {
		if _, lo, hi, err := config.ParseListen(entry); err == nil && lo > 0 {
			w.Ports = append(w.Ports, host.Ports{First: lo, Last: hi})
		}
	}
	return w
}

// warnOfHost logs a line for each fact that prevents max_connections.
func warnOfHost(here machine, c *config.Config, log *zap.Logger) {
	r := host.Check(here.facts, here.want(c, int64(c.MaxConnections)))
	for _, finding := range r.Failed() {
		log.Warn("this host cannot hold max_connections",
			zap.String("fact", finding.Name), zap.String("value", finding.Value), zap.String("detail", finding.Why),
			zap.Int("max_connections", c.MaxConnections), zap.Int64("possible", finding.Bound.Now), zap.String("fix", finding.Fix))
	}
}

// printJSON prints a report as JSON.
func printJSON(w io.Writer, facts host.Facts, r *host.Report) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(struct {
		*host.Report
		Facts host.Facts `json:"facts"`
	}{r, facts})
}

// paint has the colour of each status on a terminal: green, yellow, red
// (ECMA-48 SGR).
var paint = map[host.Status]string{host.Pass: "32", host.Warn: "33", host.Fail: "31"}

// printReport prints a report as text: one line for each finding, and for each
// that does not pass the reason and the command that fixes it.
func printReport(w io.Writer, r *host.Report, colour bool) error {
	p := &printer{w: w}
	p.printf("this host holds %s connections now (limited by: %s)\n", host.Thousands(r.Now.Connections), r.Now.Limit)
	p.printf("           and %s after tuning (limited by: %s)\n", host.Thousands(r.Tuned.Connections), r.Tuned.Limit)
	p.printf("checked against %s:\n\n", host.Thousands(r.Connections))
	width := 0
	for _, finding := range r.Findings {
		width = max(width, len(finding.Name))
	}
	for _, finding := range r.Findings {
		status := fmt.Sprintf("%-4s", finding.Status)
		if colour {
			status = "\x1b[" + paint[finding.Status] + "m" + status + "\x1b[0m"
		}
		p.printf("  %s  %-*s  %s", status, width, finding.Name, finding.Value)
		if finding.Bound != nil {
			p.printf(" → %s connections", host.Thousands(finding.Bound.Now))
		}
		p.printf("\n")
		if finding.Status != host.Pass {
			p.printf("        %s\n        %s\n", finding.Why, finding.Fix)
		}
	}
	p.printf("\nscripts/tune.sh plan --connections %d has all of these commands, and those that matter only under load.\n", r.Connections)
	return p.err
}

// printer writes lines and keeps the first error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}
