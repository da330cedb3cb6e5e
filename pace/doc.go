// Package pace says when sessions may be closed so that their clients come back evenly.
// It is arithmetic on a clock that the caller reads: no goroutine, no timer, no I/O.
// Package session closes sessions by it, cmd/belfry decides by it what a node sheds, and
// the simulation of docs/drain runs the same code in virtual time.
package pace
