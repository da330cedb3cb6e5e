package main

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// takeoverFlag is the flag of belfry serve with which a successor starts.
const takeoverFlag = "takeover"

// spawn starts a successor with the command line, the environment and the standard
// streams of this process. binary is its program; "": the one at the path from which
// this process was started, which may be a newer one by now.
func spawn(binary, socket string) (pid int, ended <-chan error, err error) {
	named := binary != ""
	if !named {
		if binary, err = ownBinary(); err != nil {
			return 0, nil, err
		}
	}
	cmd := exec.Command(binary, append(withoutTakeover(os.Args[1:]), "--"+takeoverFlag, socket)...)
	cmd.Args[0] = os.Args[0]
	if named || filepath.IsAbs(os.Args[0]) {
		cmd.Args[0] = binary // the next successor is started from there
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// netpoll opens descriptors without O_CLOEXEC: each successor would inherit them.
	if err := unix.CloseRange(uint(unix.Stderr+1), math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return 0, nil, fmt.Errorf("descriptors cannot be kept from the successor (close_range, Linux 5.11 or later): %w", err)
	}
	if err := cmd.Start(); err != nil {
		return 0, nil, fmt.Errorf("the successor cannot be started: %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	return cmd.Process.Pid, done, nil
}

// ownBinary returns the path from which this process was started. It is resolved again,
// since /proc/self/exe names a file that was replaced as deleted.
func ownBinary() (string, error) {
	path, err := exec.LookPath(os.Args[0])
	if err != nil {
		return "", fmt.Errorf("the program %s is not found any more: name the new one with --binary: %w", os.Args[0], err)
	}
	return filepath.Abs(path)
}

// withoutTakeover returns a command line without the flag with which this process may
// have been started.
func withoutTakeover(args []string) (rest []string) {
	for i := 0; i < len(args); i++ {
		switch {
		case args[i] == "--"+takeoverFlag:
			i++
		case strings.HasPrefix(args[i], "--"+takeoverFlag+"="):
		default:
			rest = append(rest, args[i])
		}
	}
	return rest
}
