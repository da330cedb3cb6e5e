package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"belfry/config"
)

// patience bounds every wait in scripts. It is only reached by a failure.
const patience = 30 * time.Second

// scriptNode is a node that a script started.
type scriptNode struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	err  error         // of the process; valid after done

	mu    sync.Mutex
	lines []string      // of the log
	more  chan struct{} // closed and replaced when lines grew
}

// readyLine is the line "ready" that a node logs once it serves.
type readyLine struct {
	Msg     string   `json:"msg"`
	Listen  []string `json:"listen"`
	API     string   `json:"api"`
	Monitor string   `json:"monitor"`
	NATS    string   `json:"nats"`
	Cluster string   `json:"cluster"`
}

// ownPorts are flags that give a node free ports where a script names none.
func ownPorts(args []string) []string {
	own := []string{"--set", "log.format=json"}
	for _, flag := range []string{"--listen", "--api"} {
		if !slices.ContainsFunc(args, func(arg string) bool { return arg == flag || strings.HasPrefix(arg, flag+"=") }) {
			own = append(own, flag, "127.0.0.1:0")
		}
	}
	return append(own, args...)
}

func cmdServe(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, args, 1, "serve NAME [flag...]")
	if neg {
		ts.Fatalf("a node that must not start is run by: ! exec belfry serve")
	}
	name := args[0]
	if state(ts).nodes[name] != nil {
		ts.Fatalf("%s runs already", name)
	}
	node, err := startNode(ts, name, ownPorts(args[1:]))
	ts.Check(err)
	state(ts).nodes[name] = node

	line, err := node.wait(regexp.MustCompile(`"msg":"ready"`))
	ts.Check(err)
	var ready readyLine
	ts.Check(json.Unmarshal([]byte(line), &ready))
	if len(ready.Listen) == 0 || ready.API == "" {
		ts.Fatalf("the line ready lacks listen or api: %s", line)
	}
	if ready.Monitor == "" {
		ready.Monitor = ready.API
	}
	ts.Setenv(name+"_listen", ready.Listen[0])
	ts.Setenv(name+"_ws", "ws://"+ready.Listen[0]+"/ws")
	ts.Setenv(name+"_api", "http://"+ready.API)
	ts.Setenv(name+"_monitor", "http://"+ready.Monitor)
	ts.Setenv(name+"_nats", ready.NATS)
	ts.Setenv(name+"_cluster", ready.Cluster)
}

func startNode(ts *testscript.TestScript, name string, args []string) (*scriptNode, error) {
	// testscript puts the binary on the script's PATH, which is not this process's.
	path := ""
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if file := filepath.Join(dir, "belfry"); path == "" {
			if _, err := os.Stat(file); err == nil {
				path = file
			}
		}
	}
	cmd := exec.Command(path, append([]string{"serve"}, args...)...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = scriptEnviron(ts)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	file, err := os.Create(filepath.Join(ts.Getenv("WORK"), name+".log"))
	if err != nil {
		return nil, err
	}
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

// scriptEnviron returns what of the script's environment concerns a node;
// testscript does not hand out the whole.
func scriptEnviron(ts *testscript.TestScript) []string {
	names := []string{"PATH", "HOME", "TMPDIR", configVariable}
	defaults := config.Default()
	for _, s := range defaults.Settings() {
		names = append(names, s.Env)
	}
	var env []string
	for _, name := range names {
		if value := ts.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
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

// wait returns the first line of the log, past or to come, that matches.
func (n *scriptNode) wait(want *regexp.Regexp) (string, error) {
	timeout := time.After(patience)
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
			return "", fmt.Errorf("no line matches %s within %v:\n%s", want, patience, strings.Join(lines, "\n"))
		}
	}
}

func (n *scriptNode) kill() {
	select {
	case <-n.done:
	default:
		n.cmd.Process.Kill()
		n.cmd.Process.Signal(syscall.SIGCONT) // a script may have stopped it
		<-n.done
	}
}

func node(ts *testscript.TestScript, name string) *scriptNode {
	n := state(ts).nodes[name]
	if n == nil {
		ts.Fatalf("no node %s", name)
	}
	return n
}

func cmdHalt(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, args, 1, "halt NAME [signal]")
	n, sig := node(ts, args[0]), "TERM"
	if len(args) > 1 {
		sig = args[1]
	}
	ts.Check(n.cmd.Process.Signal(signalNamed(ts, sig)))
	select {
	case <-n.done:
	case <-time.After(patience):
		ts.Fatalf("%s still runs %v after SIG%s", args[0], patience, sig)
	}
	delete(state(ts).nodes, args[0])
	if failed := n.err != nil; failed != neg {
		ts.Fatalf("%s ended with: %v", args[0], n.err)
	}
}

func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, args, 2, "signal NAME signal")
	err := node(ts, args[0]).cmd.Process.Signal(signalNamed(ts, args[1]))
	if (err != nil) != neg {
		ts.Fatalf("signal: %v", err)
	}
}

func signalNamed(ts *testscript.TestScript, name string) os.Signal {
	known := map[string]os.Signal{
		"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL,
		"STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT, "HUP": syscall.SIGHUP,
	}
	sig := known[strings.TrimPrefix(name, "SIG")]
	if sig == nil {
		ts.Fatalf("no signal %s", name)
	}
	return sig
}

func cmdLog(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, args, 2, "log NAME regexp")
	if neg {
		ts.Fatalf("a line that must not be there is looked for by: halt NAME, then ! grep regexp NAME.log")
	}
	want, err := regexp.Compile(args[1])
	ts.Check(err)
	line, err := node(ts, args[0]).wait(want)
	ts.Check(err)
	fmt.Fprintln(ts.Stdout(), line)
}
