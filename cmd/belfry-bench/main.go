// Command belfry-bench puts load on WebSocket servers and checks everything
// that arrives. Some scenarios measure a server that runs already, on this or
// another host; others start belfry and the floor themselves and compare them.
// docs/benchmarks.md says how each figure is measured. Child processes hold the
// connections; the program leaves none behind.
package main

import (
	"github.com/spf13/cobra"

	"belfry/bench/auth"
	"belfry/bench/cluster"
	"belfry/bench/figures"
	"belfry/bench/gateway"
	"belfry/bench/load"
	"belfry/bench/million"
	"belfry/bench/restart"
	"belfry/bench/tool"
)

// version is set by the Makefile (-ldflags -X); nothing changes it later.
var version = "unknown"

func main() { tool.Main(newRootCommand()) }

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "belfry-bench",
		Short: "Put load on a WebSocket server and check everything that arrives",
		Long: `Put load on any WebSocket server, from this or another host, and check everything
that arrives: payloads, order, losses and duplicates. Child processes hold the
connections, as many as the limit of open files requires.

The defaults are for a belfry in development mode (belfry serve --dev). In --path,
--send-on-open, --echo and the templates of --publish-…, {uid}, {topic} and {n} stand
for the user, the topic and the number of the connection, and {payload} for the
payload of the message.

Ctrl-C ends a run with the report so far. Exit status: 0 if everything that was sent
arrived once, in order and unchanged, and every connection was made and kept; 1 if not;
2 for wrong usage.`,
		Example: `  belfry serve --dev --listen 127.0.0.1:9000 &
  belfry-bench fanout --ports 9000 --api http://127.0.0.1:8081 --server-pid $! --report fanout
  belfry-bench push --ports 9000 --api http://127.0.0.1:8081 --connections 15000 --duration 30s
  belfry-bench echo --target ws.example.com --ports 80 --path /echo --open-rate 5000
  belfry-bench fanout --ports 8000 --path '/connection/websocket' --send-on-open '{"id":1,"connect":{}}' \
    --send-on-open '{"id":2,"subscribe":{"channel":"all"}}' --ready '"id":2' --reply '{}={}' \
    --publish-url http://127.0.0.1:8000/api/publish --publish-body '{"channel":"all","data":"{payload}"}'`,
		Version: version,
	}
	for _, s := range append(load.Scenarios(), figures.Scenario(), million.Scenario(), gateway.Scenario(), auth.Scenario(), cluster.Scenario(), restart.Scenario()) {
		root.AddCommand(s.Command())
	}
	root.AddCommand(newHostileCommand(), newPeersCommand(), newAttackerCommand(), tool.ClientCommand(), tool.FloorCommand())
	return root
}
