package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sys/unix"

	"go.uber.org/zap"

	"belfry/config"
)

// pipedNode is a node whose standard error and standard output are pipes of the
// test.
type pipedNode struct {
	*clusterNode
	read, write *os.File
	client      *websocket.Conn
}

// startPiped starts a node and reads its log up to the line ready, but no
// further.
func startPiped(t *testing.T, pipe func() (read, write *os.File, err error)) *pipedNode {
	t.Helper()
	read, write, err := pipe()
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"serve", "--dev", "--set", "log.buffer=64KiB", "--set", "log.sample_first=0", "--log-level", "debug",
		"--set", "session.close_timeout=1s"}, ownPorts(nil)...)
	cmd := exec.Command("belfry", args...)
	cmd.Stdout, cmd.Stderr = write, write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	process := &scriptNode{cmd: cmd, done: make(chan struct{})}
	go func() {
		process.err = cmd.Wait()
		close(process.done)
	}()
	n := &pipedNode{&clusterNode{scriptNode: process, t: t}, read, write, nil}
	t.Cleanup(func() {
		process.kill()
		read.Close()
		write.Close()
	})
	for lines := bufio.NewScanner(read); lines.Scan(); {
		if json.Unmarshal(lines.Bytes(), &n.readyLine) == nil && n.Msg == "ready" {
			n.Monitor = n.API
			n.client = n.dial("?topic=t")
			return n
		}
	}
	t.Fatal("ended without the line ready")
	return nil
}

func (n *pipedNode) dial(query string) *websocket.Conn {
	n.t.Helper()
	c, _, err := websocket.DefaultDialer.Dial("ws://"+n.Listen[0]+"/ws"+query, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { c.Close() })
	return c
}

// fill writes to the pipe until it is full.
func (n *pipedNode) fill() {
	n.t.Helper()
	fd := int(n.write.Fd())
	size, err := unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, 4096)
	if err != nil {
		n.t.Fatal(err)
	}
	// The pipe is opened again, so that the node's open file description stays
	// unchanged.
	own, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		n.t.Fatal(err)
	}
	defer unix.Close(own)
	for chunk := make([]byte, size); len(chunk) > 0; {
		if _, err := unix.Write(own, chunk); err != nil {
			chunk = chunk[:len(chunk)/2]
		}
	}
}

// delivers pushes a message and waits for it.
func (n *pipedNode) delivers(what string) {
	n.t.Helper()
	n.push("/v1/topics/t", what)
	n.client.SetReadDeadline(time.Now().Add(waitLimit))
	if _, got, err := n.client.ReadMessage(); err != nil || string(got) != what {
		n.t.Fatalf("%q, %v; want %q", got, err, what)
	}
}

// flood makes the node log until lines are lost.
func (n *pipedNode) flood() {
	n.t.Helper()
	soon(n.t, "lines are lost", func() bool {
		for range 50 {
			n.dial("").Close()
		}
		return n.metric("belfry_log_lines_lost_total") > 0
	})
}

// ends waits for the end of the process: for shutdown.grace, a second for
// connections and one for the log, and as much again.
func (n *pipedNode) ends(sig os.Signal) error {
	n.t.Helper()
	if err := n.cmd.Process.Signal(sig); err != nil {
		n.t.Fatal(err)
	}
	select {
	case <-n.done:
		return n.err
	case <-time.After(waitLimit):
		n.t.Fatalf("still runs %v after %v", waitLimit, sig)
		return nil
	}
}

func TestFullLogPipe(t *testing.T) {
	n := startPiped(t, os.Pipe)
	n.delivers("before")
	n.fill()
	n.flood()
	n.delivers("after")
	if status, body := n.readiness(); status != http.StatusOK {
		t.Errorf("/readyz: %d %s", status, body)
	}
	// When the pipe is read again, the waiting lines arrive, and the number of
	// lost ones.
	lines := bufio.NewScanner(n.read)
	lines.Buffer(nil, 1<<20)
	told := false
	for !told && lines.Scan() {
		told = strings.Contains(lines.Text(), `"msg":"log lines were lost`)
	}
	if !told {
		t.Error("no line about lost lines")
	}
	n.fill()
	n.flood()
	if err := n.ends(syscall.SIGTERM); err != nil {
		t.Errorf("ended with %v", err)
	}
	if _, _, err := n.client.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
		t.Errorf("the client got %v", err)
	}
}

func TestClosedLogPipe(t *testing.T)   { testClosedLog(t, os.Pipe) }
func TestClosedLogSocket(t *testing.T) { testClosedLog(t, socketPair) }

// socketPair makes a socket such as systemd gives a service for its journal.
func socketPair() (read, write *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(pair[0]), "read"), os.NewFile(uintptr(pair[1]), "write"), nil
}

func testClosedLog(t *testing.T, pipe func() (read, write *os.File, err error)) {
	n := startPiped(t, pipe)
	n.read.Close()
	n.write.Close()
	n.flood()
	if n.metric("belfry_log_write_errors_total") == 0 {
		t.Error("no failed write was counted")
	}
	n.delivers("after")
	if err := n.ends(syscall.SIGTERM); err != nil {
		t.Errorf("ended with %v", err)
	}
	if _, _, err := n.client.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
		t.Errorf("the client got %v", err)
	}
}

// TestCrashWithFullLogPipe: a crashing Go program writes to standard error
// directly (SIGQUIT prints all goroutines).
func TestCrashWithFullLogPipe(t *testing.T) {
	n := startPiped(t, os.Pipe)
	n.fill()
	if err := n.ends(syscall.SIGQUIT); err == nil {
		t.Error("ended without an error")
	}
}

// TestFullOutputAtStart: neither the banner nor the error of a failed start
// waits for a reader.
func TestFullOutputAtStart(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer write.Close()
	n := &pipedNode{clusterNode: &clusterNode{t: t}, read: read, write: write}
	n.fill()
	taken := startClusterNode(t, "taken")
	cmd := exec.CommandContext(ctx, "belfry", "serve", "--dev", "--api", "127.0.0.1:0", "--listen", taken.Listen[0])
	cmd.Stderr, cmd.Stdout = write, write
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != exitFailed {
		t.Errorf("ended with %v", err)
	}
	// The error arrives if the output is read.
	cmd = exec.CommandContext(ctx, "belfry", "serve", "--dev", "--api", "127.0.0.1:0", "--listen", taken.Listen[0])
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(stderr)
	if err != nil || !strings.HasSuffix(string(text), "address already in use\n") {
		t.Errorf("%v: %s", err, text)
	}
	cmd.Wait()
}

// hang is a process that cannot end when it is told to, and whose log hangs
// too.
func hang() {
	log, lines, err := newLogger(config.Default().Log, os.Stderr, zap.NewAtomicLevel())
	if err != nil {
		panic(err)
	}
	lines.mu.Lock()
	watchSignals(config.Shutdown{}, log, lines, func() {})
	syscall.Kill(os.Getpid(), syscall.SIGTERM)
	select {}
}

// TestLastResort: the exit after shutdown.grace depends on nothing else.
func TestLastResort(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "hang")
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != exitFailed {
		t.Errorf("ended with %v", err)
	}
}
