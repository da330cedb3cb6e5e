package host

import "fmt"

// bounded completes the finding of a fact that bounds the connections.
func bounded(f Finding, w *Want, now, mended int64) Finding {
	f.Bound = &Bound{Now: min(max(now, 0), MaxConnections), Tuned: min(max(now, mended, 0), MaxConnections)}
	f.Status = Pass
	if f.Bound.Now < w.Connections {
		f.Status = Fail
	} else {
		f.Fix = ""
	}
	return f
}

// hidden is the finding of a fact that is not to be seen from here.
func hidden(f Finding) Finding {
	f.Status, f.Value, f.Bound = Warn, "not visible here", nil
	f.Fix = "belfry doctor   # on the host itself, outside of the container"
	return f
}

func memory(f *Facts, w *Want) Finding {
	found := Finding{
		Name:  "memory",
		Value: size(f.MemoryTotal),
		Why:   fmt.Sprintf("a connection takes about %d bytes of the kernel and %d of belfry", KernelBytes, UserBytes),
	}
	if f.MemoryTotal == 0 {
		return hidden(found)
	}
	kept := systemBytes + w.Queues
	holds := held(f.MemoryTotal, kept)
	found.Fix = setMaximum(holds) + fmt.Sprintf("   # or a host with %s", size(needed(w.Connections, kept)))
	found = bounded(found, w, holds, holds)
	if found.Status == Pass && f.MemoryAvailable > 0 && f.MemoryAvailable < w.Connections*(KernelBytes+UserBytes) {
		found.Status = Warn
		found.Value += ", " + size(f.MemoryAvailable) + " of it available now"
		found.Fix = "ps -eo rss,args --sort -rss | head   # what else takes it"
	}
	return found
}

// cgroupMemory counts a budget as given on purpose: mending does not raise it.
func cgroupMemory(f *Facts, w *Want) Finding {
	found := Finding{
		Name:  "cgroup memory",
		Value: size(f.Cgroup.Memory),
		Why:   "the memory of sockets counts towards the limit of the control group",
	}
	if f.Cgroup.Memory == 0 || f.Cgroup.Memory >= noLimit {
		found.Value = "no limit"
		return found
	}
	kept := max(belfryBytes, processBytes+w.Queues)
	limit := mebibytes(needed(w.Connections, kept))
	found.Fix = fmt.Sprintf("systemctl set-property belfry.service MemoryMax=%s   # in Docker: docker update --memory %[1]s NAME", limit)
	holds := held(f.Cgroup.Memory, kept)
	return bounded(found, w, holds, holds)
}

// activeShare is the share of the connections, one in so many, that may have data
// under way at the same time in the worst case: clients far away, and those
// whose line is gone and who have not been judged dead yet. A million
// connections were held and served with 576,000 pages.
const activeShare = 4

// tcpMemory: a socket with anything sent and not yet acknowledged, or received
// and not yet read, is charged a page at least; an idle one nothing (measured
// by /proc/net/sockstat).
func tcpMemory(f *Facts, w *Want) Finding {
	found := Finding{
		Name:  "net.ipv4.tcp_mem",
		Value: fmt.Sprintf("%s pages, pressure from %s", Thousands(f.TCPMemory[2]), Thousands(f.TCPMemory[1])),
		Why:   "a connection takes a page or more while a message to it is under way; with none left TCP drops packets",
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
		Value: Thousands(f.Descriptors.Hard) + " a process",
		Why:   "a connection takes one, and belfry keeps " + Thousands(w.Reserve) + " for everything else",
	}
	if f.Descriptors.Hard == 0 {
		return hidden(found)
	}
	want := wantDescriptors(w.Connections)
	found.Fix = fmt.Sprintf("ulimit -n %d   # in the shell that starts belfry; for its unit: scripts/tune.sh persist --connections %d", want, w.Connections)
	if !f.MayRaiseLimits {
		found.Fix = fmt.Sprintf("docker run --ulimit nofile=%d …   # this process may not: who starts it must; a unit: LimitNOFILE=%[1]d", want)
	}
	return bounded(found, w, f.Descriptors.Hard-w.Reserve, MaxConnections)
}

// nrOpen bounds what the limit of a process can be raised to; one that is
// higher stays.
func nrOpen(f *Facts, w *Want) Finding {
	found := Finding{
		Name:  "fs.nr_open",
		Value: Thousands(f.NrOpen),
		Why:   "the descriptor limit of a process can be raised to this",
		Fix:   setting("fs.nr_open", wantNrOpen(w.Connections)),
	}
	if f.NrOpen == 0 {
		return hidden(found)
	}
	return bounded(found, w, max(f.NrOpen, f.Descriptors.Hard)-w.Reserve, MaxConnections)
}

func fileMax(f *Facts, w *Want) Finding {
	found := Finding{
		Name:  "fs.file-max",
		Value: Thousands(f.FileMax),
		Why:   "open files of all processes together, of which " + Thousands(f.FilesOpen) + " are taken",
		Fix:   setting("fs.file-max", wantFileMax(w.Connections)),
	}
	if f.FileMax == 0 {
		return hidden(found)
	}
	return bounded(found, w, f.FileMax-f.FilesOpen, MaxConnections)
}

func epollWatches(f *Facts, w *Want) Finding {
	found := Finding{
		Name:  "fs.epoll.max_user_watches",
		Value: Thousands(f.EpollWatches) + " a user",
		Why:   "a connection takes one (man 7 epoll)",
		Fix:   setting("fs.epoll.max_user_watches", wantWatches(w.Connections)),
	}
	if f.EpollWatches == 0 {
		return hidden(found)
	}
	return bounded(found, w, f.EpollWatches, MaxConnections)
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
	case f.ConntrackEntries == 0: // no rule asks for it
		found.Value, found.Fix = found.Value+", tracks nothing here", ""
		return found
	}
	return bounded(found, w, f.ConntrackMax, MaxConnections)
}

// setMaximum is the way to live with what a host cannot have more of.
func setMaximum(n int64) string {
	return fmt.Sprintf("belfry serve --set max_connections=%d", max(n, 1))
}

// queueShare is the part of memory, one in so many, that what waits may take:
// the rest is for connections, for the process itself and for its garbage.
const queueShare = 2

// Queues judges the memory that may be taken by what waits in the process.
func Queues(f *Facts, w Want) Finding {
	memory := f.Memory()
	found := Finding{
		Name:  "memory of queues",
		Value: fmt.Sprintf("%s of %s", size(w.Queues), size(memory)),
		Why:   "what waits for clients, shards and NATS may take this much at the same time; the kernel kills a process that takes more than there is",
		Fix:   w.QueuesFix,
	}
	if memory == 0 {
		return hidden(found)
	}
	return advice(w.Queues <= memory/queueShare, found)
}
