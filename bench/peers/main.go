// Command peers compares belfry with the floor and with other WebSocket
// servers: the same clients and connections, alternating rounds in fresh
// processes, one table. docs/benchmarks.md explains it. It starts everything it
// needs and leaves no process behind. `belfry-bench peers` runs it.
package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"belfry/bench"
	"belfry/bench/report"
	"belfry/bench/tool"
)

func main() { tool.Main(command()) }

func command() *cobra.Command {
	o := new(options)
	s := tool.Scenario{Name: "peers", About: "Measure belfry beside the floor and other WebSocket servers", Timeout: 30 * time.Minute,
		Options: o, Validate: o.validate,
		Run: func(ctx context.Context, p *tool.Progress) (*report.Report, error) {
			if _, err := bench.OpenFiles(); err != nil { // servers inherit the limit
				return nil, err
			}
			return measureAll(ctx, o, p)
		}}
	root := s.Command()
	root.AddCommand(tool.ClientCommand(), tool.FloorCommand(), serveCommand())
	return root
}
