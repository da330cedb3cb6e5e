package measure

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// queueing is how long the threads of a process have waited for a processor
// while they were ready to run, and how often they got one.
type queueing struct {
	waited int64 // ns
	slices uint64
}

// runQueue reads /proc/PID/task/*/schedstat (Documentation/scheduler/
// sched-stats.rst of the kernel: time on the CPU, time on the run queue, time
// slices).
func runQueue(pid int) (q queueing, err error) {
	dir := fmt.Sprintf("/proc/%d/task", pid)
	tasks, err := os.ReadDir(dir)
	if err != nil {
		return q, err
	}
	for _, task := range tasks {
		p, err := os.ReadFile(dir + "/" + task.Name() + "/schedstat")
		if os.IsNotExist(err) {
			continue // ended meanwhile, or a kernel without CONFIG_SCHEDSTATS
		}
		if err != nil {
			return q, err
		}
		one, err := parseSchedstat(string(p))
		if err != nil {
			return q, fmt.Errorf("schedstat of thread %s: %w", task.Name(), err)
		}
		q.waited += one.waited
		q.slices += one.slices
	}
	return q, nil
}

func parseSchedstat(s string) (q queueing, err error) {
	fields := strings.Fields(s)
	if len(fields) != 3 {
		return q, fmt.Errorf("%q: not three numbers", s)
	}
	if q.waited, err = strconv.ParseInt(fields[1], 10, 64); err != nil {
		return q, err
	}
	q.slices, err = strconv.ParseUint(fields[2], 10, 64)
	return q, err
}
