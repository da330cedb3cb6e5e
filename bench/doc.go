// Package bench measures belfry from outside. It has a load generator with one
// epoll set per process, readers of CPU time and memory, and the control
// protocol with which one program controls several such processes.
//
// It imports nothing of the server: it uses RFC 6455, the HTTP API and /proc.
// Package floor is the baseline, a server that does as little as possible;
// cmd/figures runs both alternately and prints the table. Package load is the
// generator as a tool, `belfry bench`, and package plot draws the charts of its
// reports. Package million makes a million connections on one host, package
// hostile attacks nodes, and peers, a separate module, compares belfry with
// other servers. They share the packages publish, for the HTTP API, and tool.
//
// All stamps are nanoseconds of CLOCK_MONOTONIC, which all processes of a
// machine share. So stamps of two processes can be subtracted.
package bench
