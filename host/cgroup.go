package host

import (
	"path"
	"slices"
	"strings"
)

// cgroup reads the limits of this process's control groups, version 1 or 2 of
// each controller (man 7 cgroups).
func (r reader) cgroup() Cgroup {
	paths := map[string]string{} // path by controller; "" is version 2
	for line := range strings.Lines(r.text("proc/self/cgroup")) {
		// hierarchy:controllers:path
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) == 3 {
			for controller := range strings.SplitSeq(part[1], ",") {
				paths[controller] = part[2]
			}
		}
	}
	var c Cgroup
	if dirs := r.groups("memory", paths); len(dirs) > 0 {
		c.Version = 1
		c.Memory = r.tightest(dirs, "memory.limit_in_bytes")
	} else if dirs := r.groups("", paths); len(dirs) > 0 {
		c.Version = 2
		c.Memory = r.tightest(dirs, "memory.max")
	}
	c.PIDs = r.tightest(append(r.groups("pids", paths), r.groups("", paths)...), "pids.max")
	for _, dir := range append(r.groups("cpu", paths), r.groups("", paths)...) {
		if quota := r.quota(dir); quota > 0 && (c.CPUs == 0 || quota < c.CPUs) {
			c.CPUs = quota
		}
	}
	return c
}

// groups returns the directories of a process's group and of its ancestors, the
// root last. In a container without a cgroup namespace its own group is at the
// root and the path does not exist, which does no harm.
func (r reader) groups(controller string, paths map[string]string) (dirs []string) {
	at, member := paths[controller]
	mount := path.Join("sys/fs/cgroup", controller)
	if controller == "" && r.exists("sys/fs/cgroup/unified") {
		mount = "sys/fs/cgroup/unified" // where systemd mounts both versions
	}
	if !member || !r.exists(mount) {
		return nil
	}
	for ; ; at = path.Dir(at) {
		dirs = append(dirs, path.Join(mount, at))
		if at == "/" || at == "." {
			return dirs
		}
	}
}

func (r reader) exists(name string) bool {
	dir, err := r.root.Open(name)
	if err == nil {
		dir.Close()
	}
	return err == nil
}

// noLimit is the least value with which version 1 means no limit: it writes
// 2^63-1 rounded down to pages.
const noLimit = Unlimited - 1<<20

// tightest returns the lowest value of a limit in several groups.
func (r reader) tightest(dirs []string, file string) int64 {
	var found []int64
	for _, dir := range dirs {
		if n := r.number(path.Join(dir, file)); n > 0 {
			found = append(found, n)
		}
	}
	if len(found) == 0 {
		return 0
	}
	if least := slices.Min(found); least < noLimit {
		return least
	}
	return Unlimited
}

// quota returns the CPU seconds that a group may use per second.
func (r reader) quota(dir string) float64 {
	n := numbers(r.text(path.Join(dir, "cpu.max"))) // version 2: quota and period
	if len(n) == 0 {
		// Version 1 writes -1 for no quota, which is read as nothing.
		n = []int64{r.number(path.Join(dir, "cpu.cfs_quota_us")), r.number(path.Join(dir, "cpu.cfs_period_us"))}
	}
	if len(n) < 2 || n[0] <= 0 || n[0] == Unlimited || n[1] <= 0 {
		return 0
	}
	return float64(n[0]) / float64(n[1])
}
