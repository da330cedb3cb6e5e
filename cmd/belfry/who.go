package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"belfry/message"
	"belfry/presence"
	"belfry/push"
)

// answerFlags are the flags of commands that show an answer of the API.
type answerFlags struct {
	apiFlags
	json bool
}

func (f *answerFlags) add(cmd *cobra.Command) {
	f.apiFlags.add(cmd.Flags(), "how long an answer may take")
	cmd.Flags().BoolVar(&f.json, "json", false, "print the answer of the API as it is")
}

// show calls the API, reads the answer into v, and prints it: with --json as it came,
// else as table does.
func (f *answerFlags) show(cmd *cobra.Command, method, path string, v any, table func(w io.Writer)) error {
	answer, err := f.call(cmd, method, path, v)
	if err != nil {
		return err
	}
	if f.json {
		_, err := cmd.OutOrStdout().Write(answer)
		return err
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	table(w)
	return w.Flush()
}

// newWhoCommand returns the command who, which shows a user's sessions.
func newWhoCommand() *cobra.Command {
	f := new(answerFlags)
	cmd := &cobra.Command{
		Use: "who UID", Short: "Show the sessions of a user on all nodes", Args: cobra.ExactArgs(1),
		Long: `Show the sessions of a user on all nodes, through the HTTP API of one of them.

Exit status: 0 the user has sessions, 1 the user has none, or the answer is not complete, or
the API was not reached; 2 wrong usage.`,
		Example: "  belfry who u1\n  belfry who u1 --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			var u presence.User
			err := f.show(cmd, http.MethodGet, "/v1/users/"+escapeName(args[0]), &u, func(w io.Writer) { whoTable(w, &u) })
			switch {
			case err != nil:
				return err
			case len(u.Silent) > 0 || len(u.Degraded) > 0:
				return incomplete(u.Silent, u.Degraded)
			case u.Count > 0:
				return nil
			case !u.LastSeen.IsZero():
				return fmt.Errorf("not online; last seen %s", u.LastSeen.Format(time.RFC3339))
			}
			return fmt.Errorf("not online")
		},
	}
	f.add(cmd)
	return cmd
}

func whoTable(w io.Writer, u *presence.User) {
	if len(u.Sessions) == 0 {
		return
	}
	fmt.Fprintln(w, "SESSION\tNODE\tSINCE\tACTIVE\tADDRESS\tENCODING\tBACKLOG\tTOPICS")
	for _, s := range u.Sessions {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", s.SID, s.Node, s.Since.Format(time.RFC3339), s.LastActivity.Format(time.RFC3339),
			orDash(s.Address), s.Encoding, s.Backlog.Messages, orDash(strings.Join(s.Topics, ",")))
	}
	if more := u.Count - len(u.Sessions); more > 0 {
		fmt.Fprintf(w, "and %d more\n", more)
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// incomplete is the error of an answer of which a part may be missing.
func incomplete(silent []presence.Silent, degraded []string) error {
	var why []string
	for _, s := range silent {
		why = append(why, s.Node+": "+s.Detail)
	}
	return fmt.Errorf("the answer may not be complete: %s", strings.Join(append(why, degraded...), "; "))
}

// newNodesCommand returns the command nodes, which shows the nodes of the cluster.
func newNodesCommand() *cobra.Command {
	f := new(answerFlags)
	cmd := &cobra.Command{
		Use: "nodes", Short: "Show the nodes of the cluster", Args: cobra.NoArgs,
		Long: `Show the nodes of the cluster, as one of them sees it, through its HTTP API.

LOAD is the part of the last tenth of a second in which the busiest shard worked, SKEW how far
a node's clock is ahead. Of a node that does not answer the last beacon is shown. A node that is
gone is shown for an hour. Exit status: 0 every node is ready, except those that are gone; 1 one
is not, or the API was not reached; 2 wrong usage.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var n presence.Nodes
			if err := f.show(cmd, http.MethodGet, "/v1/nodes", &n, func(w io.Writer) { nodesTable(w, n.Nodes) }); err != nil {
				return err
			}
			var why []string
			for _, node := range n.Nodes {
				switch {
				case node.State == presence.StateGone: // it may never come back
				case node.NodeState == nil:
					why = append(why, node.Name+": "+node.Detail)
				case !node.Ready:
					why = append(why, node.Name+": "+strings.Join(node.Reasons, ", "))
				}
			}
			if why = append(why, n.Degraded...); len(why) > 0 {
				return fmt.Errorf("not everything works: %s", strings.Join(why, "; "))
			}
			return nil
		},
	}
	f.add(cmd)
	return cmd
}

func nodesTable(w io.Writer, nodes []presence.Node) {
	fmt.Fprintln(w, "NODE\tID\tSTATE\tREADY\tSESSIONS\tUSERS\tTOPICS\tLOAD\tUPTIME\tSKEW\tVERSION")
	for _, n := range nodes {
		if n.NodeState == nil {
			sessions, version := "-", ""
			if n.LastBeacon != nil {
				sessions, version = strconv.FormatUint(n.LastBeacon.Sessions, 10), n.LastBeacon.Version
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t-\t%s\t-\t-\t-\t-\t-\t%s\n", n.Name, n.ID, n.State, sessions, orDash(version))
			continue
		}
		skew := "-"
		if n.Skew != nil {
			skew = time.Duration(*n.Skew * float64(time.Second)).Round(time.Millisecond).String()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%t\t%d\t%d\t%d\t%.0f %%\t%s\t%s\t%s\n", n.Name, n.ID, n.State, n.Ready, n.Sessions, n.Users, n.Topics, 100*n.Load,
			time.Duration(n.Uptime*float64(time.Second)).Round(time.Second), skew, n.Version)
	}
}

// outcome is push.Outcome as the API writes it.
type outcome struct {
	Sessions int              `json:"sessions"`
	Nodes    int              `json:"nodes"`
	Failed   []push.NodeError `json:"failed"`
	Degraded []string         `json:"degraded"`
}

// newKickCommand returns the command kick, which ends sessions.
func newKickCommand() *cobra.Command {
	f := new(answerFlags)
	var code int
	var reason string
	var user bool
	cmd := &cobra.Command{
		Use: "kick UID|SID", Short: "End the sessions of a user, or one session", Args: cobra.ExactArgs(1),
		Long: `End the open sessions of a user on all nodes, or one session, through the HTTP API.

What has the form of a session id is one, except with --user. The client may come back: its
credentials stay valid. Exit status: 0 done on every node, 1 not, or there was no session, or
the API was not reached; 2 wrong usage.`,
		Example: "  belfry kick u1 --code 4000 --reason 'signed out elsewhere'",
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "/v1/users/"
			if message.CheckSID(args[0]) == nil && !user {
				path = "/v1/sessions/"
			}
			query := url.Values{}
			if cmd.Flag("code").Changed {
				query.Set("code", strconv.Itoa(code))
			}
			if reason != "" {
				query.Set("reason", reason)
			}
			if path += escapeName(args[0]); len(query) > 0 {
				path += "?" + query.Encode()
			}
			var o outcome
			if err := f.show(cmd, http.MethodDelete, path, &o, func(w io.Writer) { fmt.Fprintf(w, "%d ended\n", o.Sessions) }); err != nil {
				return err
			}
			switch {
			case len(o.Failed) > 0 || len(o.Degraded) > 0:
				var silent []presence.Silent
				for _, n := range o.Failed {
					silent = append(silent, presence.Silent(n))
				}
				return incomplete(silent, o.Degraded)
			case o.Sessions == 0:
				return fmt.Errorf("there was no session")
			}
			return nil
		},
	}
	f.add(cmd)
	cmd.Flags().IntVar(&code, "code", 1000, "close code: 1000, 1001, 1008, 1011, 1013 or 3000 to 4999; after 1001, 1011 and 1013 clients come back")
	cmd.Flags().StringVar(&reason, "reason", "", "text of the close frame, at most 123 bytes")
	cmd.Flags().BoolVar(&user, "user", false, "the argument is a user, whatever it looks like")
	return cmd
}
