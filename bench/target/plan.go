package target

import (
	"fmt"
	"net/netip"
	"strings"

	"belfry/bench"
)

// MaxConnections is the most that can be requested.
const MaxConnections = 10_000_000

// Open files that are not connections.
const (
	nodeSpare = 1100 // of a node: the reserve belfry keeps for itself, NATS, and the probes
	hostSpare = 200  // open files of each process, as the host counts them
)

const (
	singlePorts  = 20     // a node that holds everything listens on so many
	perPort      = 50_000 // connections to one port of one node of a cluster
	maxProcesses = 1000   // nodes
)

// Memory of a process and of a connection, in bytes. The values are a little
// above the measured ones.
const (
	nodeBase    = 40 << 20
	sessionUser = 320
	clientBase  = 20 << 20
	clientUser  = 64        // a record of 48 bytes in a slice that grows
	socketSlab  = 5200      // of each end: socket, file, dentry, inode, epoll item
	transit     = 1 << 10   // a message in transit to one connection
	spareMemory = 512 << 20 // for everything else
)

// Wanted are the requirements of the plan.
type Wanted struct {
	Connections int // 1 to MaxConnections
	PerNode     int // most connections of a node; 0: as many as the limit of open files allows
}

// Plan is the shape of a run.
type Plan struct {
	Connections int      `json:"connections"`
	Nodes       []Node   `json:"nodes"`
	Clients     []Client `json:"clients"` // in the order of their nodes and of their connections
	Shards      int      `json:"shards"`  // of a node, and threads of a floor
	Need        Need     `json:"need"`
}

// Node is one server process.
type Node struct {
	Connections int `json:"connections"`
	Ports       int `json:"ports"`
}

// Client is one client process. It connects to one node only.
type Client struct {
	Node int `json:"node"`
	bench.Share
}

// Need is the memory of a run in bytes, by owner.
type Need struct {
	Nodes   int64 `json:"nodes"`
	Clients int64 `json:"clients"`
	Kernel  int64 `json:"kernel"`
	Spare   int64 `json:"spare"`
}

// Total returns the sum.
func (n Need) Total() int64 { return n.Nodes + n.Clients + n.Kernel + n.Spare }

// MakePlan plans for a host. The error names everything that is missing.
func MakePlan(f Facts, w Wanted) (*Plan, error) {
	if w.Connections < 1 || w.Connections > MaxConnections {
		return nil, fmt.Errorf("connections: %d; allowed are 1 to %d", w.Connections, MaxConnections)
	}
	if w.PerNode < 0 || w.PerNode > MaxConnections {
		return nil, fmt.Errorf("connections a node: %d; allowed are 0 (as many as can be) to %d", w.PerNode, MaxConnections)
	}
	room := f.OpenFiles - nodeSpare
	if room < 1 {
		return nil, fmt.Errorf("descriptors: a process may have %d, a node needs %d besides its connections: raise the hard limit (ulimit -Hn), up to fs.nr_open, %d", f.OpenFiles, nodeSpare, f.NrOpen)
	}
	if w.PerNode > 0 {
		room = min(room, w.PerNode)
	}
	p := &Plan{Connections: w.Connections, Shards: 1}
	nodes := (w.Connections + room - 1) / room
	if nodes > maxProcesses {
		return nil, fmt.Errorf("descriptors: %d connections at %d a process are %d nodes; at most %d: raise the hard limit (ulimit -Hn), up to fs.nr_open, %d", w.Connections, room, nodes, maxProcesses, f.NrOpen)
	}
	if nodes == 1 {
		p.Shards = max(f.CPUs, 1)
	}
	for i := range nodes {
		count := part(w.Connections, i, nodes)
		ports := (count + perPort - 1) / perPort
		if nodes == 1 {
			ports = min(singlePorts, count)
		}
		p.Nodes = append(p.Nodes, Node{Connections: count, Ports: ports})
	}
	if err := p.connect(f); err != nil {
		return nil, err
	}
	p.Need = p.memory()
	if missing := p.missing(f); len(missing) > 0 {
		return p, fmt.Errorf("%d connections do not fit on this host as it is; CONNECTIONS=%d would:\n- %s",
			w.Connections, p.fitting(f), strings.Join(missing, "\n- "))
	}
	return p, nil
}

// part returns the i-th of n parts of a whole, as even as possible.
func part(whole, i, n int) int { return whole*(i+1)/n - whole*i/n }

// connect gives every node its client processes, each with source addresses of
// its own, so that no two compete for ephemeral ports.
func (p *Plan) connect(f Facts) error {
	first, sources := 0, 0
	for n, node := range p.Nodes {
		// Each node of a cluster has one client; that is enough to keep every
		// processor busy.
		clients := 1
		if len(p.Nodes) == 1 {
			clients = min(max(f.CPUs, 1), node.Ports)
		}
		shares, err := bench.Spread{Connections: node.Connections, First: first, Processes: clients, OpenFiles: f.OpenFiles,
			Targets:   1, // the floor has one port
			PerSource: perSource(f), FirstSource: sources}.Shares()
		if err != nil {
			return err
		}
		for _, s := range shares {
			p.Clients = append(p.Clients, Client{n, s})
			sources += len(s.Sources)
		}
		first += node.Connections
	}
	return nil
}

// perSource is how many connections one address makes to one port. connect(2)
// first uses every second ephemeral port, and begins to search when these are
// used up (man 7 ip, ip_local_port_range).
func perSource(f Facts) int { return max(f.Ephemeral()/2, 1) }

// NodesFor returns how many nodes hold the first n connections.
func (p *Plan) NodesFor(n int) int {
	for i, node := range p.Nodes {
		if n -= node.Connections; n <= 0 {
			return i + 1
		}
	}
	return len(p.Nodes)
}

// Shares returns the connections of the clients to servers whose nodes listen
// at the given addresses.
func (p *Plan) Shares(listen func(node int) []netip.AddrPort) []bench.Share {
	shares := make([]bench.Share, len(p.Clients))
	for i, c := range p.Clients {
		shares[i] = c.Share
		shares[i].Targets = listen(c.Node)
	}
	return shares
}

func (p *Plan) memory() Need {
	conns := int64(p.Connections)
	return Need{
		Nodes:   int64(len(p.Nodes))*nodeBase + conns*sessionUser,
		Clients: int64(len(p.Clients))*clientBase + conns*clientUser,
		Kernel:  conns * (2*socketSlab + transit),
		Spare:   spareMemory,
	}
}

// files returns how many open files the host needs for the run.
func (p *Plan) files() int {
	return 2*p.Connections + (len(p.Nodes)+len(p.Clients))*hostSpare
}

// missing lists what the host lacks, with the command that fixes it.
func (p *Plan) missing(f Facts) []string {
	var missing []string
	if need := p.files(); f.FileMax-f.FilesUsed < need {
		missing = append(missing, fmt.Sprintf("open files of the host: %d needed, %d of %d left: sysctl -w fs.file-max=%d",
			need, max(f.FileMax-f.FilesUsed, 0), f.FileMax, need+f.FilesUsed))
	}
	if need := p.Need.Total(); f.Memory < need {
		missing = append(missing, fmt.Sprintf("memory: %s needed (%s), %s available", gigabytes(need), p.Need, gigabytes(f.Memory)))
	}
	return missing
}

// fitting returns how many connections would fit into the available memory and
// open files, rounded down. It uses the cost of a connection in this plan,
// including processes, and one more node and client, because their number is
// rounded up.
func (p *Plan) fitting(f Facts) int {
	memory := float64(p.Need.Total()-spareMemory) / float64(p.Connections)
	files := float64(p.files()) / float64(p.Connections)
	n := int(min(float64(f.Memory-spareMemory-nodeBase-clientBase)/memory,
		float64(f.FileMax-f.FilesUsed-2*hostSpare)/files))
	return max(n-n%1000, 0)
}
