package bench

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ProcessCPU returns the time on processors, user and system, that process pid
// has used in its life, ended threads included. It reads the process's CPU
// clock (man 3 clock_getcpuclockid) in nanoseconds, where /proc/PID/stat counts
// in ticks of 10 ms and the sum of /proc/PID/task/*/schedstat does not include
// ended threads.
func ProcessCPU(pid int) (time.Duration, error) {
	const sched = 2 // CPUCLOCK_SCHED of the kernel's posix-timers.h
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|sched, &ts); err != nil {
		return 0, fmt.Errorf("CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// Memory is what a process holds in user space, in bytes.
type Memory struct {
	RSS       int64 `json:"rss"`       // all memory, including the pages of the program
	Anonymous int64 `json:"anonymous"` // without pages backed by files
}

// ReadMemory reads /proc/PID/smaps_rollup, which walks the page tables:
// VmRSS of /proc/PID/status is off by up to 64 pages a processor (man 5 proc).
func ReadMemory(pid int) (Memory, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return Memory{}, err
	}
	defer f.Close()
	return parseSmapsRollup(f)
}

// ReadPSS reads the proportional set size of a process: pages that several processes
// share count for each of them in part, so that the sum of processes counts them once.
func ReadPSS(pid int) (int64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	v, err := parseKB(f, "Pss")
	if err != nil {
		return 0, fmt.Errorf("smaps_rollup: %w", err)
	}
	return v[0], nil
}

func parseSmapsRollup(r io.Reader) (Memory, error) {
	rss, err1 := parseKB(r, "Rss", "Anonymous")
	if err1 != nil {
		return Memory{}, fmt.Errorf("smaps_rollup: %w", err1)
	}
	return Memory{RSS: rss[0], Anonymous: rss[1]}, nil
}

// Meminfo returns values of /proc/meminfo by name, in bytes: "Slab", the memory
// in the kernel's slabs, which contain sockets, "MemAvailable", "MemTotal".
func Meminfo(names ...string) ([]int64, error) {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	v, err := parseKB(f, names...)
	if err != nil {
		return nil, fmt.Errorf("meminfo: %w", err)
	}
	return v, nil
}

// parseKB finds lines "name:   123 kB" and returns bytes.
func parseKB(r io.Reader, names ...string) ([]int64, error) {
	values := make([]int64, len(names))
	found := 0
	for lines := bufio.NewScanner(r); lines.Scan(); {
		name, rest, _ := strings.Cut(lines.Text(), ":")
		for i, want := range names {
			if name != want {
				continue
			}
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			values[i] = kb << 10
			found++
		}
	}
	if found != len(names) {
		return nil, fmt.Errorf("%d of %s found", found, strings.Join(names, ", "))
	}
	return values, nil
}

// RunQueue is how long threads have waited for a processor while they were ready
// to run, and how often they got one.
type RunQueue struct {
	Waited int64 // ns
	Slices uint64
}

// ReadRunQueue reads the schedstat files that a pattern matches, as
// /proc/PID/task/*/schedstat, and adds them up (the kernel's
// Documentation/scheduler/sched-stats.rst: time on the CPU, time on the run
// queue, time slices). A kernel without CONFIG_SCHEDSTATS has none.
func ReadRunQueue(pattern string) (q RunQueue, err error) {
	names, err := filepath.Glob(pattern)
	if err != nil {
		return q, err
	}
	for _, name := range names {
		p, err := os.ReadFile(name)
		if os.IsNotExist(err) || errors.Is(err, unix.ESRCH) {
			continue // the thread ended meanwhile
		}
		var one RunQueue
		if err == nil {
			one, err = parseSchedstat(string(p))
		}
		if err != nil {
			return q, fmt.Errorf("%s: %w", name, err)
		}
		q.Waited, q.Slices = q.Waited+one.Waited, q.Slices+one.Slices
	}
	return q, nil
}

func parseSchedstat(s string) (q RunQueue, err error) {
	fields := strings.Fields(s)
	if len(fields) != 3 {
		return q, fmt.Errorf("%q: not three numbers", s)
	}
	if q.Waited, err = strconv.ParseInt(fields[1], 10, 64); err != nil {
		return q, err
	}
	q.Slices, err = strconv.ParseUint(fields[2], 10, 64)
	return q, err
}

// Machine describes the machine in one line: processor, memory, kernel, Go.
func Machine() string {
	model := "unknown processor"
	if p, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		model = parseModel(string(p))
	}
	memory := "unknown memory"
	if v, err := Meminfo("MemTotal"); err == nil {
		memory = fmt.Sprintf("%.1f GiB", float64(v[0])/(1<<30))
	}
	kernel := "unknown kernel"
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		kernel = "Linux " + unix.ByteSliceToString(u.Release[:])
	}
	return fmt.Sprintf("%d × %s, %s, %s, %s", runtime.NumCPU(), model, memory, kernel, runtime.Version())
}

func parseModel(cpuinfo string) string {
	for line := range strings.Lines(cpuinfo) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown processor"
}

// Load returns the load average of the last minute, which belongs to a figure
// because a busy machine changes it.
func Load() (float64, error) {
	p, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0, err
	}
	first, _, ok := strings.Cut(string(p), " ")
	if !ok {
		return 0, errors.New("loadavg: no space in it")
	}
	return strconv.ParseFloat(first, 64)
}

// OpenFiles raises the soft limit of open files to the hard limit and returns
// it.
func OpenFiles() (int, error) {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return 0, fmt.Errorf("RLIMIT_NOFILE: %w", err)
	}
	if lim.Cur < lim.Max {
		lim.Cur = lim.Max
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
			return 0, fmt.Errorf("RLIMIT_NOFILE: %w", err)
		}
	}
	return int(min(lim.Cur, 1<<30)), nil
}
