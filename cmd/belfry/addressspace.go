package main

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"belfry/config"
	"belfry/offheap"
)

// addressSpace extends an error about address space at start: it adds which
// limit was reached (RLIMIT_AS or the kernel's) and what to do.
func addressSpace(err error, c *config.Config) error {
	var none *offheap.AddressSpaceError
	if !errors.As(err, &none) {
		return err
	}
	limit := "vm.overcommit_memory=2 (sysctl) or the kernel refuses it"
	var as unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_AS, &as) == nil && as.Cur != unix.RLIM_INFINITY {
		limit = fmt.Sprintf("RLIMIT_AS (ulimit -v, LimitAS=) allows %v in total", config.Size(as.Cur))
	}
	return fmt.Errorf("no address space for the tables of max_connections=%d, session.max_topics=%d and shards=%d: %v more were needed, %s. "+
		"Address space is not memory: raise the limit, or lower these settings: %w",
		c.MaxConnections, c.Session.MaxTopics, c.Shards, config.Size(none.Want), limit, err)
}
