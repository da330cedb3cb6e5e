package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"runtime"

	"belfry/config"
	"belfry/host"
)

// machine is what the defaults of settings that are 0 or empty come from.
type machine struct {
	cores       int // usable by this process; the runtime knows about cgroups
	descriptors int // it may have open; the runtime raises the soft limit to the hard one
	hostname    string
	suffix      string // random, so that two nodes on one host differ
	facts       host.Facts
}

func thisMachine() (machine, error) {
	facts := host.Live()
	if facts.Descriptors.Soft == 0 {
		return machine{}, errors.New("the descriptor limit cannot be read")
	}
	hostname, err := os.Hostname()
	if err != nil {
		hostname = "node"
	}
	var random [2]byte
	rand.Read(random[:]) // never fails
	return machine{
		cores:       runtime.GOMAXPROCS(0),
		descriptors: int(min(facts.Descriptors.Soft, maxDescriptors)),
		hostname:    hostname,
		suffix:      fmt.Sprintf("%x", random),
		facts:       facts,
	}, nil
}

const (
	maxDescriptors = host.MaxConnections // RLIM_INFINITY does not fit an int
	// Descriptors for everything but client connections: files, the runtime's
	// own, NATS, and an allowance for the API's connections.
	reservedDescriptors = 1024
	// And for each shard: its epoll set, timer and mailbox.
	reservedPerShard = 8
)

// resolve gives settings that are 0 or empty their value on this machine.
func (m machine) resolve(c *config.Config) {
	m.resolveMemory(c)
	if c.Node.Name == "" {
		c.Node.Name = nodeName(m.hostname) + "-" + m.suffix
	}
	if c.Shards == 0 {
		c.Shards = min(max(m.cores, 1), 256)
	}
	if c.GOMAXPROCS == 0 {
		c.GOMAXPROCS = max(m.cores, c.Shards+2)
	}
	// Upgrades in progress take descriptors too, and sessions and the API are
	// to have theirs however many strangers knock.
	c.Upgrade.MaxPending = min(c.Upgrade.MaxPending, max(1, m.descriptors/32))
	if c.MaxConnections == 0 {
		c.MaxConnections = max(1, m.descriptors-m.reserve(c)-c.Upgrade.MaxPending)
	}
}

// reserve returns how many descriptors are kept from client connections: at
// most a quarter, so that a small limit still leaves most of it to them.
func (m machine) reserve(c *config.Config) int {
	ports := 0
	for _, entry := range c.Listen {
		if _, lo, hi, err := config.ParseListen(entry); err == nil {
			ports += hi - lo + 1
		}
	}
	return min(reservedDescriptors+c.Shards*(ports+reservedPerShard), m.descriptors/4)
}

// nodeName makes a host name one that node.name allows, with room for a suffix.
func nodeName(hostname string) string {
	name := make([]byte, 0, len(hostname))
	for i := 0; i < len(hostname) && len(name) < 48; i++ {
		switch c := hostname[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-', c == '.':
			name = append(name, c)
		}
	}
	if len(name) == 0 {
		return "node"
	}
	return string(name)
}
