package host

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
)

// advice returns the finding of a fact that does not limit the number of
// connections: a warning if it is not good.
func advice(good bool, f Finding) Finding {
	if good {
		f.Fix = ""
	} else {
		f.Status = Warn
	}
	return f
}

// oldestKernel is the oldest long-term kernel that kernel.org maintains.
var oldestKernel = [2]int{5, 10}

func kernel(f *Facts) Finding {
	return advice(f.atLeast(oldestKernel), Finding{
		Name:  "kernel",
		Value: f.Kernel,
		Why:   fmt.Sprintf("kernels before %d.%d no longer get fixes", oldestKernel[0], oldestKernel[1]),
		Fix:   "uname -r   # install a newer kernel with the distribution's package manager",
	})
}

// atLeast compares the kernel's major and minor version, which count as 0.0 if
// its release has another form.
func (f *Facts) atLeast(version [2]int) bool {
	var major, minor int
	fmt.Sscanf(f.Kernel, "%d.%d", &major, &minor)
	return slices.Compare([]int{major, minor}, version[:]) >= 0
}

// batchKernel is the first kernel with which fanout.io_uring works. Whether a
// container's seccomp filter permits it cannot be read here.
var batchKernel = [2]int{6, 1}

func ioUring(f *Facts) Finding {
	found := Finding{
		Name:  "io_uring",
		Value: "permitted",
		Why:   "without it a fan-out makes a system call for each connection instead of one for many",
		Fix:   setting("kernel.io_uring_disabled", 0),
	}
	switch {
	case !f.atLeast(batchKernel):
		found.Value = "the kernel is too old"
		found.Fix = fmt.Sprintf("uname -r   # install %d.%d or newer with the distribution's package manager", batchKernel[0], batchKernel[1])
	case f.IOURingDisabled > 0:
		found.Value = fmt.Sprintf("kernel.io_uring_disabled is %d", f.IOURingDisabled)
	default:
		return advice(true, found)
	}
	return advice(false, found)
}

func cpus(f *Facts) Finding {
	found := Finding{
		Name:  "cpus",
		Value: fmt.Sprint(f.CPUs),
		Why:   "shards, the API and NATS share the CPUs; with fewer than two each waits for the others",
		Fix:   "nproc   # give the machine a second CPU",
	}
	usable := float64(f.CPUs)
	if quota := f.Cgroup.CPUs; quota > 0 && quota < usable {
		usable = quota
		found.Value = fmt.Sprintf("%g of %d, limited by the control group", quota, f.CPUs)
		found.Fix = "systemctl set-property belfry.service CPUQuota=200%   # in Docker: docker update --cpus 2 NAME"
	}
	return advice(usable >= 2, found)
}

// slowClocks are clock sources that need a system call or a device access,
// unlike those that are read in the process (man 7 vdso).
var slowClocks = []string{"hpet", "acpi_pm", "jiffies", "refined-jiffies", "xen", "pit", "hyperv_clocksource_msr"}

func clockSource(f *Facts) Finding {
	better := "tsc"
	for _, source := range f.ClockSources {
		if !slices.Contains(slowClocks, source) {
			better = source
			break
		}
	}
	return advice(!slices.Contains(slowClocks, f.ClockSource), Finding{
		Name:  "clock source",
		Value: f.ClockSource,
		Why:   "with a slow clock source each reading of the clock is a system call or slower",
		Fix:   "echo " + better + " > /sys/devices/system/clocksource/clocksource0/current_clocksource",
	})
}

// queue returns how long an accept or SYN queue should be: a sixteenth of the
// connections may come at once, on top of the kernel's default.
func queue(connections int64) int64 { return min(max(connections/16, 4096), wantQueue) }

func acceptQueue(f *Facts, w *Want) Finding {
	found := Finding{
		Name:  "net.core.somaxconn",
		Value: Thousands(f.AcceptQueue),
		Why:   "accept queue of each listener: a storm of reconnects overflows it, and the other clients wait a second or more",
	}
	if f.AcceptQueue == 0 {
		return hidden(found)
	}
	found.Fix = setting(found.Name, wantQueue)
	return advice(f.AcceptQueue >= queue(w.Connections), found)
}

func synBacklog(f *Facts, w *Want) Finding {
	found := Finding{
		Name:  "net.ipv4.tcp_max_syn_backlog",
		Value: Thousands(f.SYNBacklog),
		Why:   "handshakes in progress of each listener, unless SYN cookies lift this limit",
	}
	if f.SYNBacklog == 0 {
		return hidden(found)
	}
	found.Fix = setting(found.Name, wantQueue)
	return advice(f.SYNBacklog >= queue(w.Connections)/4, found)
}

// wantPackets is what scripts/tune.sh sets.
const wantPackets = 16384

// packetQueue: the kernel's default is 1,000. A host on which clients and nodes
// talked over loopback lost 850,000 packets that way, and pongs came too late.
func packetQueue(f *Facts, w *Want) Finding {
	found := Finding{
		Name:  "net.core.netdev_max_backlog",
		Value: Thousands(f.PacketQueue),
		Why:   "packets that wait for a CPU; what is beyond is dropped and sent again a second or more later (second column of /proc/net/softnet_stat)",
	}
	if f.PacketQueue == 0 { // it is the host's, and no other network namespace shows it
		found.Value = "not visible in this network namespace"
		return advice(true, found)
	}
	found.Fix = setting(found.Name, wantPackets)
	return advice(f.PacketQueue >= min(max(w.Connections/16, 1000), wantPackets), found)
}

// socketTable: with 1.9 million sockets in the 262,144 entries of a host with
// 24 GiB the look-up was a quarter of what pings cost, and more in a fan-out.
func socketTable(f *Facts, w *Want) Finding {
	found := Finding{
		Name:  "net.ipv4.tcp_ehash_entries",
		Value: Thousands(f.SocketTable),
		Why:   "the kernel looks for the socket of each packet in one of these lists",
	}
	if f.SocketTable == 0 { // the kernel is older than 6.1
		found.Value = "not visible on this kernel"
		return advice(true, found)
	}
	wanted := int64(1) << bits.Len64(uint64(max(w.Connections-1, 0)))
	found.Fix = fmt.Sprintf("boot the kernel with thash_entries=%d; for a network namespace: sysctl -w net.ipv4.tcp_child_ehash_entries=%d before it is made", wanted, wanted)
	return advice(f.SocketTable >= w.Connections/2, found)
}

// localPorts: the default range has 28,232.
func localPorts(f *Facts) Finding {
	n := f.LocalPorts.Last - f.LocalPorts.First + 1
	return advice(n >= 28000, Finding{
		Name:  "net.ipv4.ip_local_port_range",
		Value: fmt.Sprintf("%d-%d", f.LocalPorts.First, f.LocalPorts.Last),
		Why:   "a proxy or a load generator on this host needs a port for each connection to the same address and port",
		Fix:   setting("net.ipv4.ip_local_port_range", 1024, 65535),
	})
}

func reservedPorts(f *Facts, w *Want) Finding {
	var exposed []Ports
	for _, listening := range w.Ports {
		for port := listening.First; port <= listening.Last; port++ {
			if within(f.LocalPorts, port) && !slices.ContainsFunc(f.ReservedPorts, func(p Ports) bool { return within(p, port) }) {
				exposed = append(exposed, listening)
				break
			}
		}
	}
	found := Finding{
		Name:  "net.ipv4.ip_local_reserved_ports",
		Value: list(f.ReservedPorts),
		Why:   "an outgoing connection may take a listening port of belfry, and then belfry does not start",
		Fix:   "sysctl -w net.ipv4.ip_local_reserved_ports=" + list(append(f.ReservedPorts[:len(f.ReservedPorts):len(f.ReservedPorts)], exposed...)),
	}
	if found.Value == "" {
		found.Value = "none"
	}
	return advice(len(exposed) == 0, found)
}

func within(p Ports, port int) bool { return p.First <= port && port <= p.Last }

// list writes ports in the kernel's form.
func list(ports []Ports) string {
	var parts []string
	for _, p := range ports {
		if p.First == p.Last {
			parts = append(parts, fmt.Sprint(p.First))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", p.First, p.Last))
		}
	}
	return strings.Join(parts, ",")
}

func hugePages(f *Facts) Finding {
	return advice(f.HugePages != "always", Finding{
		Name:  "transparent_hugepage",
		Value: f.HugePages,
		Why:   "always gives 2 MB to tables that use only some pages",
		Fix:   "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
	})
}

// enoughTasks is more threads than any measured node had: GOMAXPROCS, and those
// in system calls.
const enoughTasks = 256

func tasks(f *Facts) Finding {
	found := Finding{
		Name:  "pids.max",
		Value: Thousands(f.Cgroup.PIDs),
		Why:   "threads count as tasks of the control group, and a Go program that cannot start a thread ends",
		Fix:   fmt.Sprintf("systemctl set-property belfry.service TasksMax=%d   # in Docker: docker update --pids-limit %[1]d NAME", enoughTasks),
	}
	if f.Cgroup.PIDs == 0 || f.Cgroup.PIDs >= noLimit {
		found.Value = "no limit"
		return advice(true, found)
	}
	return advice(f.Cgroup.PIDs >= enoughTasks, found)
}

func packets(f *Facts, nic NIC) Finding {
	found := Finding{
		Name:  nic.Name,
		Value: fmt.Sprintf("%d receive queues", nic.RxQueues),
		Why:   "fewer queues than CPUs: some CPUs handle all packets unless RPS spreads them",
		Fix:   "scripts/tune.sh apply --nic " + nic.Name,
	}
	if nic.RxQueues == 1 {
		found.Value = "1 receive queue"
	}
	if nic.RPS {
		found.Value += ", RPS"
	}
	return advice(nic.RPS || nic.RxQueues >= f.CPUs, found)
}
