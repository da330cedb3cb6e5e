package host

import (
	"io/fs"
	"math"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Live reads the facts of this host as visible to this process.
func Live() Facts {
	f := Read(os.DirFS("/"))
	f.PageSize = int64(os.Getpagesize())
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil { // works without /proc too
		f.Descriptors = Limit{Soft: clamp(limit.Cur), Hard: clamp(limit.Max)}
	}
	return f
}

// clamp turns RLIM_INFINITY, and other values that do not fit, into Unlimited.
func clamp(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

// Read reads the facts from a file system that has proc and sys at its root.
// Facts that it cannot read stay unknown.
func Read(root fs.FS) Facts {
	r := reader{root}
	f := Facts{
		Kernel:          r.text("proc/sys/kernel/osrelease"),
		CPUs:            count(ports(r.text("sys/devices/system/cpu/online"))),
		PageSize:        4096,
		FileMax:         r.number("proc/sys/fs/file-max"),
		NrOpen:          r.number("proc/sys/fs/nr_open"),
		EpollWatches:    r.number("proc/sys/fs/epoll/max_user_watches"),
		AcceptQueue:     r.number("proc/sys/net/core/somaxconn"),
		SYNBacklog:      r.number("proc/sys/net/ipv4/tcp_max_syn_backlog"),
		PacketQueue:     r.number("proc/sys/net/core/netdev_max_backlog"),
		ReservedPorts:   ports(r.text("proc/sys/net/ipv4/ip_local_reserved_ports")),
		ConntrackMax:    r.number("proc/sys/net/netfilter/nf_conntrack_max"),
		HugePages:       chosen(r.text("sys/kernel/mm/transparent_hugepage/enabled")),
		IOURingDisabled: r.number("proc/sys/kernel/io_uring_disabled"),
		Cgroup:          r.cgroup(),
		NICs:            r.nics(),
	}
	const clock = "sys/devices/system/clocksource/clocksource0/"
	f.ClockSource = r.text(clock + "current_clocksource")
	f.ClockSources = strings.Fields(r.text(clock + "available_clocksource"))
	// It is negative if the network namespace shares the table of the host.
	f.SocketTable = first(numbers(strings.TrimPrefix(r.text("proc/sys/net/ipv4/tcp_ehash_entries"), "-")))
	f.ConntrackEntries = r.number("proc/sys/net/netfilter/nf_conntrack_count")
	f.FilesOpen = first(numbers(r.text("proc/sys/fs/file-nr")))
	if n := numbers(r.text("proc/sys/net/ipv4/ip_local_port_range")); len(n) == 2 {
		f.LocalPorts = Ports{int(n[0]), int(n[1])}
	}
	copy(f.TCPMemory[:], numbers(r.text("proc/sys/net/ipv4/tcp_mem")))
	f.MemoryTotal = first(r.field("proc/meminfo", "MemTotal:")) << 10 // the file says kB and means KiB
	f.MemoryAvailable = first(r.field("proc/meminfo", "MemAvailable:")) << 10
	if n := r.field("proc/self/limits", "Max open files"); len(n) >= 2 {
		f.Descriptors = Limit{n[0], n[1]}
	}
	f.MayRaiseLimits = r.capable(unix.CAP_SYS_RESOURCE)
	return f
}

// reader reads small text files; a missing file reads as empty.
type reader struct{ root fs.FS }

func (r reader) text(name string) string {
	data, err := fs.ReadFile(r.root, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

func (r reader) number(name string) int64 { return first(numbers(r.text(name))) }

// field returns the numbers of the line that begins with a name.
func (r reader) field(file, name string) []int64 {
	for line := range strings.Lines(r.text(file)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			return numbers(rest)
		}
	}
	return nil
}

// capable says whether the process has a capability (man 5 proc, CapEff).
func (r reader) capable(capability uint) bool {
	for line := range strings.Lines(r.text("proc/self/status")) {
		if mask, ok := strings.CutPrefix(line, "CapEff:"); ok {
			bits, _ := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			return bits&(1<<capability) != 0
		}
	}
	return false
}

// numbers returns the whole numbers at the beginning of a text, separated by
// spaces.
func numbers(text string) (list []int64) {
	for _, word := range strings.Fields(text) {
		if word == "max" || word == "unlimited" {
			list = append(list, Unlimited)
			continue
		}
		n, err := strconv.ParseUint(word, 10, 64)
		if err != nil {
			break
		}
		list = append(list, clamp(n))
	}
	return list
}

func first(list []int64) int64 {
	if len(list) == 0 {
		return 0
	}
	return list[0]
}

// ports reads a list such as 8080,9000-9019. The kernel writes sets of CPUs in
// the same form.
func ports(text string) (list []Ports) {
	for part := range strings.SplitSeq(text, ",") {
		lo, hi, isRange := strings.Cut(part, "-")
		if !isRange {
			hi = lo
		}
		from, err1 := strconv.Atoi(lo)
		to, err2 := strconv.Atoi(hi)
		if err1 == nil && err2 == nil {
			list = append(list, Ports{from, to})
		}
	}
	return list
}

func count(list []Ports) (n int) {
	for _, p := range list {
		n += p.Last - p.First + 1
	}
	return n
}

// chosen returns the word in brackets: "always [madvise] never".
func chosen(text string) string {
	_, rest, ok := strings.Cut(text, "[")
	if !ok {
		return text
	}
	word, _, _ := strings.Cut(rest, "]")
	return word
}

// nics returns the interfaces that have a device. lo, bridges, tunnels and a
// container's end of a veth pair have none.
func (r reader) nics() (list []NIC) {
	entries, _ := fs.ReadDir(r.root, "sys/class/net")
	for _, entry := range entries {
		dir := "sys/class/net/" + entry.Name()
		if _, err := fs.Stat(r.root, dir+"/device"); err != nil || r.text(dir+"/operstate") == "down" {
			continue
		}
		nic := NIC{Name: entry.Name()}
		queues, _ := fs.ReadDir(r.root, dir+"/queues")
		for _, queue := range queues {
			if strings.HasPrefix(queue.Name(), "rx-") {
				nic.RxQueues++
				nic.RPS = nic.RPS || strings.Trim(r.text(dir+"/queues/"+queue.Name()+"/rps_cpus"), "0,") != ""
			}
		}
		list = append(list, nic)
	}
	return list
}
