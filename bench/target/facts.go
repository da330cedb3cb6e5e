package target

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"belfry/bench"
)

// Facts are the resources of this host, from which the plan is made.
type Facts struct {
	OpenFiles int   `json:"open_files"` // hard RLIMIT_NOFILE: descriptors of one process
	NrOpen    int   `json:"nr_open"`    // fs.nr_open: the most that limit can be raised to
	FileMax   int   `json:"file_max"`   // fs.file-max: open files of the whole host
	FilesUsed int   `json:"files_used"` // open files now
	Memory    int64 `json:"memory"`     // bytes available, of the host or of this process's cgroup
	CPUs      int   `json:"cpus"`
	PortLow   int   `json:"port_low"` // net.ipv4.ip_local_port_range
	PortHigh  int   `json:"port_high"`
	Reserved  int   `json:"reserved_ports"` // of these, which no connection gets: net.ipv4.ip_local_reserved_ports
}

// Ephemeral returns how many ports one address has for its connections to one
// server port.
func (f Facts) Ephemeral() int { return max(f.PortHigh-f.PortLow+1-f.Reserved, 1) }

// ReadFacts reads the facts of this host.
func ReadFacts() (Facts, error) {
	f := Facts{CPUs: runtime.NumCPU()}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return f, fmt.Errorf("RLIMIT_NOFILE: %w", err)
	}
	f.OpenFiles = int(min(limit.Max, math.MaxInt32))
	for _, read := range []struct {
		path string
		into []*int // one for each of the first numbers in the file; nil skips one
	}{
		{"/proc/sys/fs/nr_open", []*int{&f.NrOpen}},
		{"/proc/sys/fs/file-nr", []*int{&f.FilesUsed, nil, &f.FileMax}},
		{"/proc/sys/net/ipv4/ip_local_port_range", []*int{&f.PortLow, &f.PortHigh}},
	} {
		p, err := os.ReadFile(read.path)
		if err == nil {
			err = numbers(p, read.into)
		}
		if err != nil {
			return f, fmt.Errorf("%s: %w", read.path, err)
		}
	}
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_reserved_ports")
	if err == nil {
		f.Reserved, err = reserved(string(text), f.PortLow, f.PortHigh)
	}
	if err != nil {
		return f, fmt.Errorf("ip_local_reserved_ports: %w", err)
	}
	available, err := bench.Meminfo("MemAvailable") // what can be used without swapping
	if err != nil {
		return f, err
	}
	f.Memory = available[0]
	if left, ok := groupMemory("/sys/fs/cgroup"); ok {
		f.Memory = min(f.Memory, left)
	}
	return f, nil
}

// numbers reads the first numbers of a file in /proc. A number too large for an
// int, such as the default of file-max on a large host, becomes the largest
// int.
func numbers(p []byte, into []*int) error {
	fields := bytes.Fields(p)
	if len(fields) < len(into) {
		return fmt.Errorf("%d numbers; %d expected", len(fields), len(into))
	}
	for i, n := range into {
		if n == nil {
			continue
		}
		v, err := strconv.ParseUint(string(fields[i]), 10, 64)
		if err != nil {
			return err
		}
		*n = int(min(v, math.MaxInt))
	}
	return nil
}

// reserved counts the ports of a list like "8080,9148-9150" that are between low
// and high.
func reserved(list string, low, high int) (n int, err error) {
	for item := range strings.SplitSeq(strings.TrimSpace(list), ",") {
		if item == "" {
			continue
		}
		first, last, isRange := strings.Cut(item, "-")
		a, err1 := strconv.Atoi(first)
		b, err2 := a, error(nil)
		if isRange {
			b, err2 = strconv.Atoi(last)
		}
		if err := errors.Join(err1, err2); err != nil {
			return 0, err
		}
		n += max(min(b, high)-max(a, low)+1, 0)
	}
	return n, nil
}

// groupMemory returns the unused bytes of the memory limit of a version 2
// cgroup; ok is false if there is no limit.
func groupMemory(dir string) (left int64, ok bool) {
	var v [2]int64
	for i, name := range []string{"memory.max", "memory.current"} {
		p, err := os.ReadFile(dir + "/" + name)
		if err != nil {
			return 0, false
		}
		if v[i], err = strconv.ParseInt(strings.TrimSpace(string(p)), 10, 64); err != nil {
			return 0, false // "max": no limit
		}
	}
	return max(v[0]-v[1], 0), true
}
