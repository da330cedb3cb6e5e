package host

import "fmt"

// bounded completes the finding of a fact that limits the number of
// connections.
func bounded(f Finding, w *Want, now, tuned int64) Finding {
	f.Bound = &Bound{Now: min(max(now, 0), MaxConnections), Tuned: min(max(now, tuned, 0), MaxConnections)}
	f.Status = Pass
	if f.Bound.Now < w.Connections {
		f.Status = Fail
	} else {
		f.Fix = ""
	}
	return f
}

// hidden returns the finding of a fact that is not visible here, as in a
// container.
func hidden(f Finding) Finding {
	f.Status, f.Value, f.Bound = Warn, "not visible here", nil
	f.Fix = "belfry doctor   # on the host itself, outside the container"
	return f
}

func memory(f *Facts, w *Want) Finding {
	found := Finding{
		Name:  "memory",
		Value: size(f.MemoryTotal),
		Why:   fmt.Sprintf("a connection takes about %d bytes of kernel memory and %d of belfry", KernelBytes, UserBytes),
	}
	if f.MemoryTotal == 0 {
		return hidden(found)
	}
	kept := systemBytes + w.Queues + w.tlsBytes()
	holds := held(f.MemoryTotal, kept)
	found.Fix = setMaximum(holds) + fmt.Sprintf("   # or a host with %s", size(needed(w.Connections, kept)))
	found = bounded(found, w, holds, holds)
	if found.Status == Pass && f.MemoryAvailable > 0 && f.MemoryAvailable < w.Connections*(KernelBytes+UserBytes) {
		found.Status = Warn
		found.Value += ", " + size(f.MemoryAvailable) + " available now"
		found.Fix = "ps -eo rss,args --sort -rss | head   # what else uses it"
	}
	return found
}

// cgroupMemory treats the limit as set on purpose: tuning does not raise it.
func cgroupMemory(f *Facts, w *Want) Finding {
	found := Finding{
		Name:  "cgroup memory",
		Value: size(f.Cgroup.Memory),
		Why:   "socket memory counts towards the limit of the control group",
	}
	if f.Cgroup.Memory == 0 || f.Cgroup.Memory >= noLimit {
		found.Value = "no limit"
		return found
	}
	kept := max(belfryBytes, processBytes+w.Queues+w.tlsBytes())
	limit := mebibytes(needed(w.Connections, kept))
	found.Fix = fmt.Sprintf("systemctl set-property belfry.service MemoryMax=%s   # in Docker: docker update --memory %[1]s NAME", limit)
	holds := held(f.Cgroup.Memory, kept)
	return bounded(found, w, holds, holds)
}

// activeShare is the share of the connections, one in so many, that may
// transfer data at the same time in the worst case: distant clients, and
// clients that have lost their connection and are not closed yet. A million
// connections were held and served with 576,000 pages.
const activeShare = 4

// tcpMemory checks tcp_mem. A socket with data that was sent and not
// acknowledged, or received and not read, is charged at least a page, an idle
// one nothing (measured with /proc/net/sockstat).
func tcpMemory(f *Facts, w *Want) Finding {
	found := Finding{
		Name:  "net.ipv4.tcp_mem",
		Value: fmt.Sprintf("%s pages, pressure from %s", Thousands(f.TCPMemory[2]), Thousands(f.TCPMemory[1])),
		Why:   "a connection takes a page or more while a message to it is in transit; when no page is left, TCP drops packets",
	}
	if f.TCPMemory[2] == 0 {
		return hidden(found)
	}
	want := wantPages(f, w.Connections)
	fix := setting(found.Name, want[:]...)
	found.Fix = fix
	found = bounded(found, w, f.TCPMemory[2]*activeShare, mostPages(f)*activeShare)
	if found.Status == Pass && f.TCPMemory[1] < w.Connections && want[1] > f.TCPMemory[1] {
		found.Status, found.Fix = Warn, fix
	}
	return found
}

func descriptors(f *Facts, w *Want) Finding {
	found := Finding{
		Name:  "open files",
		Value: Thousands(f.Descriptors.Hard) + " per process",
		Why:   "a connection takes one, and belfry reserves " + Thousands(w.Reserve+w.tlsFiles()) + " for everything else",
	}
	if f.Descriptors.Hard == 0 {
		return hidden(found)
	}
	want := wantDescriptors(w.Connections + w.tlsFiles())
	found.Fix = fmt.Sprintf("ulimit -n %d   # in the shell that starts belfry; for its unit: scripts/tune.sh persist --connections %d", want, w.Connections)
	if !f.MayRaiseLimits {
		found.Fix = fmt.Sprintf("docker run --ulimit nofile=%d …   # this process may not raise it; whatever starts it must: a unit with LimitNOFILE=%[1]d", want)
	}
	return bounded(found, w, f.Descriptors.Hard-w.Reserve-w.tlsFiles(), MaxConnections)
}

// nrOpen checks fs.nr_open, up to which the limit of a process can be raised. A
// limit that is already higher stays.
func nrOpen(f *Facts, w *Want) Finding {
	found := Finding{
		Name:  "fs.nr_open",
		Value: Thousands(f.NrOpen),
		Why:   "the limit of open files of a process can be raised to this",
		Fix:   setting("fs.nr_open", wantNrOpen(w.Connections)),
	}
	if f.NrOpen == 0 {
		return hidden(found)
	}
	return bounded(found, w, max(f.NrOpen, f.Descriptors.Hard)-w.Reserve-w.tlsFiles(), MaxConnections)
}

func fileMax(f *Facts, w *Want) Finding {
	found := Finding{
		Name:  "fs.file-max",
		Value: Thousands(f.FileMax),
		Why:   "open files of all processes together; " + Thousands(f.FilesOpen) + " are in use",
		Fix:   setting("fs.file-max", wantFileMax(w.Connections)),
	}
	if f.FileMax == 0 {
		return hidden(found)
	}
	return bounded(found, w, f.FileMax-f.FilesOpen-w.tlsFiles(), MaxConnections)
}

func epollWatches(f *Facts, w *Want) Finding {
	found := Finding{
		Name:  "fs.epoll.max_user_watches",
		Value: Thousands(f.EpollWatches) + " per user",
		Why:   "a connection takes one (man 7 epoll)",
		Fix:   setting("fs.epoll.max_user_watches", wantWatches(w.Connections)),
	}
	if f.EpollWatches == 0 {
		return hidden(found)
	}
	return bounded(found, w, f.EpollWatches-w.tlsFiles(), MaxConnections)
}

func conntrack(f *Facts, w *Want) Finding {
	found := Finding{
		Name:  "nf_conntrack",
		Value: Thousands(f.ConntrackMax) + " entries",
		Why:   "a connection takes one; when the table is full the kernel drops packets",
		Fix:   setting("net.netfilter.nf_conntrack_max", wantTracked(w.Connections)),
	}
	switch {
	case f.ConntrackMax == 0:
		found.Value, found.Fix = "not loaded", ""
		return found
	case f.ConntrackEntries == 0: // no firewall rule uses it
		found.Value, found.Fix = found.Value+", not used here", ""
		return found
	}
	return bounded(found, w, f.ConntrackMax, MaxConnections)
}

// setMaximum returns the command for a host that cannot have more.
func setMaximum(n int64) string {
	return fmt.Sprintf("belfry serve --set max_connections=%d", max(n, 1))
}

// queueShare is the part of memory, one in so many, for all queues. The rest is
// for connections, for the process itself and for garbage.
const queueShare = 2

// Queues checks the memory that the queues of the process may take.
func Queues(f *Facts, w Want) Finding {
	memory := f.Memory()
	found := Finding{
		Name:  "memory of queues",
		Value: fmt.Sprintf("%s of %s", size(w.Queues), size(memory)),
		Why:   "all queues (for clients, shards and NATS) may take this much together; the kernel kills a process that takes more memory than there is",
		Fix:   w.QueuesFix,
	}
	if memory == 0 {
		return hidden(found)
	}
	return advice(w.Queues <= memory/queueShare, found)
}
