// Package bench measures WebSocket servers from outside. It has a load generator
// with one epoll set per process, readers of CPU time and memory, and the control
// protocol with which one program controls several such processes. It imports
// nothing of the server: it uses RFC 6455, the HTTP API and /proc.
//
// What a run of cmd/belfry-bench is made of:
//
//   - A tool.Scenario has a name, options, whose tags declare the flags, and a
//     Run, which returns a report.Report: rows with targets, latencies, charts and
//     everything that was measured. tool makes the command of it, shows the
//     tool.Progress, and writes the report as a table, as JSON and as a folder.
//   - A Pool is client processes that hold connections and check all that
//     arrives. The floor, package floor, is the baseline: a server that does as
//     little as possible.
//   - A target.Target is a server under test: belfry or the floor, started on
//     this host as one node or a cluster, on target.Ports. A target.Plan says what
//     shape a host can hold, by its target.Facts.
//   - A measure.Population is a target with its pool. Its methods measure: Connect,
//     Fanout, Read (memory), Pushes (to one user during fan-outs), PushUsers.
//   - The scenarios: package load for a server that runs already, figures for the
//     ratios to the floor, million for as many connections as a host can hold,
//     auth for tokens and the connect webhook, gateway for messages to a backend,
//     cluster for what nodes know of each other's users, restart for hot restarts,
//     hostile for attacks. bench/peers, a module of its own, compares belfry with
//     other servers.
//
// Package publish gives messages to a server over HTTP, package plot draws the
// charts.
//
// All stamps are nanoseconds of CLOCK_MONOTONIC, which all processes of a
// machine share. So stamps of two processes can be subtracted.
package bench
