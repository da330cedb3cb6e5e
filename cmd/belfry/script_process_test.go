package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// waitLimit bounds every wait in scripts. Only a failure waits as long.
const waitLimit = time.Minute

// scriptNode is a node that a script started.
type scriptNode struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	err  error         // of the process; valid after done

	mu    sync.Mutex
	lines []string      // of the log
	more  chan struct{} // closed and replaced when there are new lines
}

// readyLine is the line "ready" that a node logs once it serves.
type readyLine struct {
	Msg     string   `json:"msg"`
	Listen  []string `json:"listen"`
	TLS     []string `json:"tls"`
	API     string   `json:"api"`
	Monitor string   `json:"monitor"`
	NATS    string   `json:"nats"`
	Cluster string   `json:"cluster"`
}

// launch starts the node that testscript.Main put on the PATH. Its standard
// error goes to the file logName, its standard output to the one beside it.
func launch(dir, logName string, env, args []string) (*scriptNode, error) {
	return launchBy(nil, dir, logName, env, args)
}

// launchBy starts it by a command which becomes the node, such as "ip netns exec".
func launchBy(by []string, dir, logName string, env, args []string) (*scriptNode, error) {
	line := slices.Concat(by, []string{"belfry", "serve"}, args)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Dir, cmd.Env = dir, env
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	file, err := os.Create(logName)
	if err != nil {
		return nil, err
	}
	stdout, err := os.Create(strings.TrimSuffix(logName, ".log") + ".out")
	if err != nil {
		return nil, err
	}
	defer stdout.Close()
	cmd.Stdout = stdout
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	node := &scriptNode{cmd: cmd, done: make(chan struct{}), more: make(chan struct{})}
	go func() {
		defer close(node.done)
		defer file.Close()
		node.read(io.TeeReader(stderr, file))
		node.err = cmd.Wait() // after the pipe is read: Wait closes it
	}()
	return node, nil
}

// ready waits for the line with the addresses. A node without a connection to
// NATS serves without being ready.
func (n *scriptNode) ready() (readyLine, error) {
	var ready readyLine
	line, err := n.wait(regexp.MustCompile(`"msg":"(ready|serving, not ready)"`))
	if err != nil {
		return ready, err
	}
	if err := json.Unmarshal([]byte(line), &ready); err != nil {
		return ready, err
	}
	if len(ready.Listen)+len(ready.TLS) == 0 || ready.API == "" {
		return ready, fmt.Errorf("the line ready lacks listen or api: %s", line)
	}
	if ready.Monitor == "" {
		ready.Monitor = ready.API
	}
	return ready, nil
}

func (n *scriptNode) read(r io.Reader) {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		n.mu.Lock()
		n.lines = append(n.lines, scanner.Text())
		close(n.more)
		n.more = make(chan struct{})
		n.mu.Unlock()
	}
}

// wait returns the first line of the log that matches; it waits until there is
// one.
func (n *scriptNode) wait(want *regexp.Regexp) (string, error) {
	timeout := time.After(waitLimit)
	for seen := 0; ; {
		n.mu.Lock()
		lines, more := n.lines, n.more
		n.mu.Unlock()
		for ; seen < len(lines); seen++ {
			if want.MatchString(lines[seen]) {
				return lines[seen], nil
			}
		}
		select {
		case <-more:
		case <-n.done:
			if n.mu.Lock(); seen == len(n.lines) {
				defer n.mu.Unlock()
				return "", fmt.Errorf("ended (%v) without a line that matches %s:\n%s", n.err, want, strings.Join(n.lines, "\n"))
			}
			n.mu.Unlock()
		case <-timeout:
			return "", fmt.Errorf("no line matches %s within %v:\n%s", want, waitLimit, strings.Join(lines, "\n"))
		}
	}
}

// pid returns the process that serves: after a hot restart it is another one.
func (n *scriptNode) pid() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, line := range slices.Backward(n.lines) {
		var took struct {
			Msg string `json:"msg"`
			PID int    `json:"pid"`
		}
		if json.Unmarshal([]byte(line), &took) == nil && took.Msg == "control socket" {
			return took.PID
		}
	}
	return n.cmd.Process.Pid
}

func (n *scriptNode) signal(sig os.Signal) error {
	return syscall.Kill(n.pid(), sig.(syscall.Signal))
}

// kill ends the process that serves. done is closed when no process has the log open.
func (n *scriptNode) kill() {
	select {
	case <-n.done:
	default:
		n.cmd.Process.Kill()
		_ = syscall.Kill(n.pid(), syscall.SIGKILL)
		n.cmd.Process.Signal(syscall.SIGCONT) // a script may have stopped it
		<-n.done
	}
}
