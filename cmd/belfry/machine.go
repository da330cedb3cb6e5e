package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"runtime"

	"belfry/config"
	"belfry/host"
	"belfry/poller"
	"belfry/push"
)

// machine has the facts for the defaults of settings that are 0 or empty.
type machine struct {
	cores       int // processors usable by this process; the runtime knows about control groups
	descriptors int // open files this process may have; the runtime raises the soft limit to the hard one
	hostname    string
	suffix      string // random, so that two nodes on one host have different names
	facts       host.Facts
}

func thisMachine() (machine, error) {
	facts := host.Live()
	if facts.Descriptors.Soft == 0 {
		return machine{}, errors.New("the limit of open files cannot be read")
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
	// Descriptors for everything except connections of clients and of the API:
	// files, the runtime's own, NATS, and API connections that were just closed
	// for new ones.
	reservedDescriptors = 128
	// For each shard: its epoll set, timer and mailbox.
	reservedPerShard = 8
)

// Shares of the descriptors (one in so many). Settings that would take more are
// lowered.
const (
	pendingShare = 32 // connections without a request
	apiShare     = 16 // connections of the API at all its addresses, without those for health
	leastAPI     = 16
)

// lowered is a setting whose value is more than this machine allows.
type lowered struct {
	setting  string
	set, now int
	why, fix string
}

const (
	fixDescriptors    = "raise the limit of open files (ulimit -n, LimitNOFILE of the unit, or the container's) or lower the setting"
	fixAPIConnections = "raise api.max_connections, and the limit of open files if that bounds it, or lower the setting"
)

// resolve gives settings that are 0 or empty their values on this machine. It
// returns the settings that it had to lower.
func (m machine) resolve(c *config.Config) (changed []lowered) {
	m.resolveMemory(c)
	if c.Node.Name == "" {
		c.Node.Name = nodeName(m.hostname) + "-" + m.suffix
	}
	if c.Shards == 0 {
		c.Shards = min(max(m.cores, 1), 256)
	}
	if c.GOMAXPROCS == 0 {
		c.GOMAXPROCS = max(m.cores, poller.Processors(c.Shards))
	}
	lower := func(setting string, v *int, most int, why, fix string) {
		if *v > most {
			changed = append(changed, lowered{setting, *v, most, why, fix})
			*v = most
		}
	}
	// Connections without a request must not take the descriptors of sessions
	// and of the API, and the API gets what is reserved for it.
	lower("upgrade.max_pending", &c.Upgrade.MaxPending, max(1, m.descriptors/pendingShare),
		fmt.Sprintf("connections without a request are limited to 1/%d of the %d open files this process may have", pendingShare, m.descriptors), fixDescriptors)
	api := &c.API
	lower("api.max_connections", &api.MaxConnections, max(leastAPI, m.descriptors/apiShare/apiAddresses(c)),
		fmt.Sprintf("the connections of the API are limited to 1/%d of the %d open files this process may have (health connections not counted)", apiShare, m.descriptors), fixDescriptors)
	// The connection of an arriving body or a waiting push cannot be closed for
	// a new one, so neither kind may take all connections.
	lower("api.max_bodies", &api.MaxBodies, max(1, api.MaxConnections/2),
		fmt.Sprintf("request bodies are limited to half of the %d connections (api.max_connections)", api.MaxConnections), fixAPIConnections)
	lower("api.max_requests", &api.MaxRequests, api.MaxConnections,
		fmt.Sprintf("requests are limited to the %d connections (api.max_connections)", api.MaxConnections), fixAPIConnections)
	room := max(1, m.descriptors-m.reserve(c)-c.Upgrade.MaxPending)
	if c.TLS.On() {
		m.resolveTLS(c, room, lower)
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = room
	}
	return changed
}

// apiAddresses returns the number of addresses to which api.max_connections
// applies.
func apiAddresses(c *config.Config) int {
	if c.API.MonitorListen != "" {
		return 2
	}
	return 1
}

// reserve returns how many descriptors are not available to client connections:
// all that the API may have, and the rest. The whole is at most a quarter, so
// that a small limit still leaves most descriptors to clients.
func (m machine) reserve(c *config.Config) int {
	ports := 0
	for _, entry := range c.Listen {
		if _, lo, hi, err := config.ParseListen(entry); err == nil {
			ports += hi - lo + 1
		}
	}
	api := apiAddresses(c) * (c.API.MaxConnections + push.HealthReserve(c.API.MaxConnections))
	return max(api, min(reservedDescriptors+api+c.Shards*(ports+reservedPerShard), m.descriptors/4))
}

// nodeName turns a host name into one that node.name allows, with room for a
// suffix.
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
