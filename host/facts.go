// Package host checks whether a Linux host is ready for many connections. It
// reads facts from /proc and /sys, checks them, and computes how many
// connections they allow. It changes nothing; scripts/tune.sh does.
package host

import "math"

// Unlimited stands for every limit that says "max", "unlimited" or a number
// that large.
const Unlimited = math.MaxInt64

// Facts are the results of Read. A number that is 0 and a text that is empty
// are not known: the file does not exist on this kernel, or in this namespace.
type Facts struct {
	Kernel           string   `json:"kernel"`            // release, such as 6.18.44
	CPUs             int      `json:"cpus"`              // online
	ClockSource      string   `json:"clock_source"`      // clock source of gettimeofday and Go's time.Now
	ClockSources     []string `json:"clock_sources"`     // that there are
	MemoryTotal      int64    `json:"memory_total"`      // bytes
	MemoryAvailable  int64    `json:"memory_available"`  // bytes, without swapping
	PageSize         int64    `json:"page_size"`         // bytes
	Cgroup           Cgroup   `json:"cgroup"`            // limits of this process's control group
	Descriptors      Limit    `json:"descriptors"`       // RLIMIT_NOFILE of this process
	MayRaiseLimits   bool     `json:"may_raise_limits"`  // CAP_SYS_RESOURCE: it may raise the hard limit
	FileMax          int64    `json:"file_max"`          // fs.file-max
	FilesOpen        int64    `json:"files_open"`        // of fs.file-max
	NrOpen           int64    `json:"nr_open"`           // fs.nr_open
	EpollWatches     int64    `json:"epoll_watches"`     // fs.epoll.max_user_watches
	AcceptQueue      int64    `json:"accept_queue"`      // net.core.somaxconn
	SYNBacklog       int64    `json:"syn_backlog"`       // net.ipv4.tcp_max_syn_backlog
	PacketQueue      int64    `json:"packet_queue"`      // net.core.netdev_max_backlog
	SocketTable      int64    `json:"socket_table"`      // net.ipv4.tcp_ehash_entries
	LocalPorts       Ports    `json:"local_ports"`       // net.ipv4.ip_local_port_range
	ReservedPorts    []Ports  `json:"reserved_ports"`    // net.ipv4.ip_local_reserved_ports
	TCPMemory        [3]int64 `json:"tcp_memory"`        // net.ipv4.tcp_mem in pages: low, pressure, high
	ConntrackMax     int64    `json:"conntrack_max"`     // 0 where nf_conntrack is not loaded
	ConntrackEntries int64    `json:"conntrack_entries"` // of this network namespace
	HugePages        string   `json:"huge_pages"`        // transparent_hugepage/enabled: always, madvise or never
	IOURingDisabled  int64    `json:"io_uring_disabled"` // kernel.io_uring_disabled: 1 except for a group, 2 for all
	NICs             []NIC    `json:"nics"`              // interfaces with real or virtual hardware
}

// Limit is a resource limit (man 2 getrlimit).
type Limit struct {
	Soft int64 `json:"soft"`
	Hard int64 `json:"hard"`
}

// Ports are the ports from First to Last.
type Ports struct {
	First int `json:"first"`
	Last  int `json:"last"`
}

// Cgroup has the lowest limits of a control group and its ancestors.
type Cgroup struct {
	Version int     `json:"version"` // 1 or 2, of the memory controller; 0: none found
	Memory  int64   `json:"memory"`  // bytes, kernel memory of sockets included
	CPUs    float64 `json:"cpus"`    // quota as a number of CPUs; 0: none set
	PIDs    int64   `json:"pids"`    // tasks
}

// NIC is a network interface.
type NIC struct {
	Name     string `json:"name"`
	RxQueues int    `json:"rx_queues"`
	RPS      bool   `json:"rps"` // packets are passed to other CPUs than those of the queues
}

// Memory returns the bytes that this process and its neighbours may use: what
// the control group allows or the host has. 0 if neither is known.
func (f *Facts) Memory() int64 {
	if f.Cgroup.Memory > 0 && f.Cgroup.Memory < noLimit && (f.MemoryTotal == 0 || f.Cgroup.Memory < f.MemoryTotal) {
		return f.Cgroup.Memory
	}
	return f.MemoryTotal
}
