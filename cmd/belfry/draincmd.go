package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"belfry/push"
)

// drainFlags are the flags of belfry drain.
type drainFlags struct {
	answerFlags
	over         time.Duration
	status, stop bool
}

// newDrainCommand returns the command drain, which takes the clients off a node.
func newDrainCommand() *cobra.Command {
	f := new(drainFlags)
	cmd := &cobra.Command{
		Use: "drain", Short: "Take the clients off a node, slowly", Args: cobra.NoArgs,
		Long: `Take the clients off the node of --api, and no other, through its HTTP API.

The node is not ready any more; after shutdown.delay it closes its sessions evenly over the
time of --over, and tells each client when to reconnect. The command shows how far that is
until no session is left: a bar on a terminal, elsewhere a line every 10 s. If the command is
interrupted, the drain goes on. With --json it prints the answer of the API at once.
The node stays not ready, and closes what comes, until --stop or its end.
Exit status: 0 no session is left, or what --status or --stop asked for is done; 1 the drain was
stopped or interrupted, or the API was not reached; 2 wrong usage.`,
		Example: "  belfry drain --over 10m\n  belfry drain --status\n  belfry drain --stop",
		RunE:    func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.add(cmd)
	flags := cmd.Flags()
	flags.DurationVar(&f.over, "over", push.DefaultDrain, "time in which the sessions are closed, 1s to 24h; of a drain under way: what is left")
	flags.BoolVar(&f.status, "status", false, "show how far the drain is, and do nothing")
	flags.BoolVar(&f.stop, "stop", false, "stop the drain: the node becomes ready again")
	return cmd
}

func (f *drainFlags) run(cmd *cobra.Command) error {
	var st push.DrainStatus
	print := func(w io.Writer) { fmt.Fprintln(w, drainLine(&st)) }
	switch {
	case f.status && f.stop || (f.status || f.stop) && cmd.Flag("over").Changed:
		return &usageError{errors.New("--over, --status and --stop exclude each other"), cmd.CommandPath()}
	case f.status:
		return f.show(cmd, http.MethodGet, "/v1/drain", &st, print)
	case f.stop:
		return f.show(cmd, http.MethodDelete, "/v1/drain", &st, print)
	case f.over < push.MinDrain || f.over > push.MaxDrain:
		return &usageError{fmt.Errorf("--over %v; allowed are 1s to 24h", f.over), cmd.CommandPath()}
	}
	body, err := json.Marshal(map[string]string{"over": f.over.String()})
	if err != nil {
		return err
	}
	answer, err := f.callWith(cmd, http.MethodPost, "/v1/drain", body, &st)
	if err != nil {
		return err
	}
	if f.json {
		_, err := cmd.OutOrStdout().Write(answer)
		return err
	}
	return f.follow(cmd, &st)
}

// follow shows how far the drain is until no session is left.
func (f *drainFlags) follow(cmd *cobra.Command, st *push.DrainStatus) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	show := newDrainProgress(cmd.OutOrStdout())
	look := time.NewTicker(drainLook)
	defer look.Stop()
	for {
		show.show(st, time.Now())
		switch st.State {
		case push.DrainDone:
			show.end()
			return nil
		case push.DrainOff:
			show.end()
			return errors.New("the drain was stopped")
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			show.end()
			return errors.New("interrupted; the drain goes on: belfry drain --status shows it, --stop ends it")
		}
		if _, err := f.call(cmd, http.MethodGet, "/v1/drain", st); err != nil {
			show.end()
			return fmt.Errorf("the drain may go on: %w", err)
		}
	}
}

// How often the command asks, and how often it writes a line without a terminal.
const (
	drainLook = time.Second / 2
	drainSay  = 10 * time.Second
)

// drainProgress shows the status of a drain, a bar on a terminal and lines elsewhere.
type drainProgress struct {
	out  io.Writer
	bar  bool
	said time.Time // the last line
	last string    // state of the last line
}

func newDrainProgress(out io.Writer) *drainProgress {
	return &drainProgress{out: out, bar: terminal(out)}
}

func (p *drainProgress) show(st *push.DrainStatus, now time.Time) {
	switch {
	case p.bar:
		fmt.Fprintf(p.out, "\r\x1b[K%s %s", drainBar(st), drainLine(st)) // erase in line, ECMA-48
	case p.last != st.State || now.Sub(p.said) >= drainSay:
		fmt.Fprintln(p.out, drainLine(st))
		p.said, p.last = now, st.State
	}
}

func (p *drainProgress) end() {
	if p.bar {
		fmt.Fprintln(p.out)
	}
}

// drainBarWidth is the width of the bar in characters.
const drainBarWidth = 30

func drainBar(st *push.DrainStatus) string {
	part := 1.0
	if all := st.Closed + st.Left; all > 0 && st.State != push.DrainDone {
		part = float64(st.Closed) / float64(all)
	}
	done := int(part * drainBarWidth)
	return fmt.Sprintf("[%s%s] %3.0f %%", strings.Repeat("=", done), strings.Repeat(" ", drainBarWidth-done), 100*part)
}

// drainLine says how far a drain is.
func drainLine(st *push.DrainStatus) string {
	eta := time.Duration(st.ETA * float64(time.Second)).Round(time.Second)
	switch st.State {
	case push.DrainOff:
		return fmt.Sprintf("%s is not drained; sessions: %d", st.Node, st.Left)
	case push.DrainWaiting:
		return fmt.Sprintf("%s is not ready; its %d sessions will be closed, %d a second at most, ETA %v", st.Node, st.Left, st.Rate, eta)
	case push.DrainDone:
		return fmt.Sprintf("%s is drained: %d closed, none left", st.Node, st.Closed)
	}
	return fmt.Sprintf("%s drains: %d closed, %d left, %d a second at most, ETA %v", st.Node, st.Closed, st.Left, st.Rate, eta)
}
