package target

import (
	"fmt"
	"strings"
)

// String returns how much each needs.
func (n Need) String() string {
	return fmt.Sprintf("nodes %s, clients %s, kernel %s, spare %s",
		gigabytes(n.Nodes), gigabytes(n.Clients), gigabytes(n.Kernel), gigabytes(n.Spare))
}

// gigabytes is n bytes in GB, of 10^9.
func gigabytes(n int64) string { return fmt.Sprintf("%.1f GB", float64(n)/1e9) }

// Text describes the plan in a few lines, with the facts from which it was
// made.
func (p *Plan) Text(f Facts) string {
	var b strings.Builder
	most := p.Nodes[0].Connections
	for _, n := range p.Nodes {
		most = max(most, n.Connections)
	}
	fmt.Fprintf(&b, "plan for %d connections\n", p.Connections)
	if len(p.Nodes) == 1 {
		fmt.Fprintf(&b, "  server    one node of %d shards on %d ports, up to %d connections each\n",
			p.Shards, p.Nodes[0].Ports, (most+p.Nodes[0].Ports-1)/p.Nodes[0].Ports)
	} else {
		fmt.Fprintf(&b, "  servers   %d nodes of one shard, up to %d connections each; NATS in the first, the others are its clients\n", len(p.Nodes), most)
	}
	sources := 0
	for _, c := range p.Clients {
		sources += len(c.Sources)
	}
	fmt.Fprintf(&b, "  clients   %d processes, %d source addresses of at most %d connections to a port\n", len(p.Clients), sources, perSource(f))
	fmt.Fprintf(&b, "  files     %d a process allowed; %d on the host needed, %d of %d left\n",
		f.OpenFiles, p.files(), max(f.FileMax-f.FilesUsed, 0), f.FileMax)
	fmt.Fprintf(&b, "  memory    %s needed (%s), %s available\n", gigabytes(p.Need.Total()), p.Need, gigabytes(f.Memory))
	fmt.Fprintf(&b, "  cores     %d, shared by servers and clients\n", f.CPUs)
	return b.String()
}
