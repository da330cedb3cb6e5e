// Package bench measures belfry from outside: a load generator of one epoll
// set a process, the readers of CPU and memory that the figures rest on, and
// the control protocol by which one program drives several such processes.
//
// It imports nothing of the server: what it knows of belfry is RFC 6455, the
// HTTP API and /proc. Package floor beside it is the baseline, a server that
// does as little as a server can; cmd/figures runs both in turn and prints
// the table. Package load is the generator as a tool, `belfry bench`, and
// package plot draws the charts of its reports. Package million makes a million
// connections on one host, and peers, a module of its own, runs other servers
// beside belfry. They share packages publish, for the HTTP API, and tool.
//
// All stamps are nanoseconds of CLOCK_MONOTONIC, which every process of one
// machine shares, so a stamp taken in one process can be subtracted from one
// taken in another.
package bench
