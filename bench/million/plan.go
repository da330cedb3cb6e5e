package million

import (
	"fmt"
	"net/netip"
	"strings"
)

// MaxConnections is the most that can be requested.
const MaxConnections = 10_000_000

// Open files that are not connections.
const (
	nodeSpare   = 1100 // of a node: the reserve belfry keeps for itself, NATS, and the probes
	clientSpare = 100  // of a client process
	hostSpare   = 200  // open files of each process, as the host counts them
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
	Clients     []Client `json:"clients"` // in the order of their nodes
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
	Node   int     `json:"node"`
	Pieces []Piece `json:"pieces"`
}

// Piece is the connections of one source address to one port.
type Piece struct {
	Port   int        `json:"port"` // index among the node's
	Source netip.Addr `json:"source"`
	First  int        `json:"first"` // index of the first among all connections
	Count  int        `json:"count"`
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
	p.connect(f)
	p.Need = p.memory()
	if missing := p.missing(f); len(missing) > 0 {
		return p, fmt.Errorf("%d connections do not fit on this host as it is; CONNECTIONS=%d would:\n- %s",
			w.Connections, p.fitting(f), strings.Join(missing, "\n- "))
	}
	return p, nil
}

// part returns the i-th of n parts of a whole, as even as possible.
func part(whole, i, n int) int { return whole*(i+1)/n - whole*i/n }

// connect gives every node its client processes. A port belongs to one client,
// and every piece has a source address of its own, so that no two pieces
// compete for ephemeral ports.
func (p *Plan) connect(f Facts) {
	perSource := perSource(f)
	first, sources := 0, 0
	for n, node := range p.Nodes {
		// Each node of a cluster has one client; that is enough to keep every
		// processor busy.
		clients := 1
		if len(p.Nodes) == 1 {
			clients = min(max(f.CPUs, 1), node.Ports)
		}
		room := f.OpenFiles - clientSpare
		clients = min(max(clients, (node.Connections+room-1)/room), node.Ports)
		for c := range clients {
			client := Client{Node: n}
			for port := node.Ports * c / clients; port < node.Ports*(c+1)/clients; port++ {
				count := part(node.Connections, port, node.Ports)
				pieces := (count + perSource - 1) / perSource
				for i := range pieces {
					piece := Piece{Port: port, Source: source(sources), First: first, Count: part(count, i, pieces)}
					client.Pieces = append(client.Pieces, piece)
					first += piece.Count
					sources++
				}
			}
			p.Clients = append(p.Clients, client)
		}
	}
}

// perSource is how many connections one address makes to one port. connect(2)
// first uses every second ephemeral port, and begins to search when these are
// used up (man 7 ip, ip_local_port_range).
func perSource(f Facts) int { return max((f.PortHigh-f.PortLow+1)/2, 1) }

// source is the i-th source address: 127.1.0.1 and on; all of 127.0.0.0/8 is
// this host (RFC 1122 §3.2.1.3).
func source(i int) netip.Addr {
	i += 1<<16 + 1
	return netip.AddrFrom4([4]byte{127, byte(i >> 16), byte(i >> 8), byte(i)})
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
	for _, c := range p.Clients {
		count := 0
		for _, piece := range c.Pieces {
			count += piece.Count
		}
		if count > f.OpenFiles-clientSpare {
			missing = append(missing, fmt.Sprintf("descriptors of a client process: %d needed, %d allowed: raise the hard limit (ulimit -Hn)",
				count+clientSpare, f.OpenFiles))
			break
		}
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
