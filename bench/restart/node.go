package restart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"belfry/bench"
)

// node is the node that is restarted. Its process changes with each restart, so it is
// known by its control socket.
type node struct {
	binary string
	socket string
	first  *bench.Process
}

// pid returns the process that serves the control socket.
func (n *node) pid() (int, error) {
	conn, err := net.Dial("unix", n.socket)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var peer *unix.Ucred
	failed := raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(failed, err); err != nil {
		return 0, err
	}
	return int(peer.Pid), nil
}

// restarted is what one restart took.
type restarted struct {
	Took    float64 `json:"took_seconds"` // of the command
	Output  string  `json:"output"`
	Before  int64   `json:"pss_before"`     // of the old process, bytes
	Peak    int64   `json:"pss_both"`       // of both processes at the same time, at most
	After   int64   `json:"rss_after"`      // of the successor, after a pause
	Files   int     `json:"files_after"`    // descriptors of the successor, after a pause
	Silence int64   `json:"silence_ns"`     // the longest time from a push to its receipt, for any client
	Refused uint64  `json:"refused_pushes"` // that were repeated because the API was busy or away
}

// restart runs one hot restart.
func (n *node) restart(ctx context.Context) (one restarted, err error) {
	old, err := n.pid()
	if err != nil {
		return one, err
	}
	if one.Before, err = bench.ReadPSS(old); err != nil {
		return one, err
	}
	watching, stop := context.WithCancel(ctx)
	peak := make(chan int64, 1)
	go func() { peak <- peakOf(watching, old) }()
	begun := time.Now()
	cmd := exec.CommandContext(ctx, n.binary, "restart", "--control", n.socket)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	one.Took, one.Output = time.Since(begun).Seconds(), out.String()
	stop()
	one.Peak = <-peak
	if err != nil {
		return one, fmt.Errorf("belfry restart: %w: %s", err, one.Output)
	}
	successor, err := n.pid()
	if err == nil && successor == old {
		err = fmt.Errorf("belfry restart succeeded, but process %d still serves: %s", old, one.Output)
	}
	return one, err
}

// rest reads what the process needs now.
func (n *node) rest(one *restarted) error {
	pid, err := n.pid()
	if err != nil {
		return err
	}
	mem, err := bench.ReadMemory(pid)
	if err != nil {
		return err
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	one.After, one.Files = mem.RSS, len(files)
	return err
}

// stop ends the present process.
func (n *node) stop() {
	if pid, err := n.pid(); err == nil && pid != os.Getpid() {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	n.first.Stop(time.Second)
}

// sampleEvery is the time between two readings of memory: a reading of smaps_rollup
// holds the process up for about a millisecond.
const sampleEvery = 50 * time.Millisecond

// peakOf returns the most memory that a process and its children had at the same time,
// until ctx is done.
func peakOf(ctx context.Context, pid int) (peak int64) {
	for {
		sum := int64(0)
		for _, p := range append(children(pid), pid) {
			if pss, err := bench.ReadPSS(p); err == nil { // else it has ended
				sum += pss
			}
		}
		peak = max(peak, sum)
		if bench.Sleep(ctx, sampleEvery) != nil {
			return peak
		}
	}
}

// children returns the children of all threads of a process (man 5 proc_tid_children).
func children(pid int) (all []int) {
	names, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // the pattern is valid
	for _, name := range names {
		p, err := os.ReadFile(name)
		if err != nil {
			continue // the thread has ended
		}
		for _, field := range strings.Fields(string(p)) {
			if child, err := strconv.Atoi(field); err == nil {
				all = append(all, child)
			}
		}
	}
	return all
}
