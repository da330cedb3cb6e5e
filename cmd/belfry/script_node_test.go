package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"belfry/config"
)

// ownPorts are flags that give a node free ports if a script names none, and no
// shutdown.delay, because no load balancer has to notice the end.
func ownPorts(args []string) []string {
	own := []string{"--set", "log.format=json", "--set", "shutdown.delay=0"}
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
	node, err := launch(ts.MkAbs("."), filepath.Join(ts.Getenv("WORK"), name+".log"), scriptEnviron(ts), ownPorts(args[1:]))
	ts.Check(err)
	state(ts).nodes[name] = node
	ready, err := node.ready()
	ts.Check(err)
	if len(ready.Listen) == 0 {
		ts.Fatalf("%s has TLS listeners only; see tls_node_test.go", name)
	}
	ts.Setenv(name+"_listen", ready.Listen[0])
	ts.Setenv(name+"_ws", "ws://"+ready.Listen[0]+"/ws")
	ts.Setenv(name+"_api", "http://"+ready.API)
	ts.Setenv(name+"_monitor", "http://"+ready.Monitor)
	ts.Setenv(name+"_nats", ready.NATS)
	ts.Setenv(name+"_cluster", ready.Cluster)
}

// scriptEnviron returns the variables of the script's environment that a node
// uses; testscript does not return all of them.
func scriptEnviron(ts *testscript.TestScript) []string {
	names := []string{"PATH", "HOME", "TMPDIR", "XDG_RUNTIME_DIR", configVariable}
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

func node(ts *testscript.TestScript, name string) *scriptNode {
	n := state(ts).nodes[name]
	if n == nil {
		ts.Fatalf("no node %s", name)
	}
	return n
}

func cmdHalt(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, args, 1, "halt NAME [signal [within]]")
	n, sig, within := node(ts, args[0]), "TERM", waitLimit
	if len(args) > 1 {
		sig = args[1]
	}
	if len(args) > 2 {
		limit, err := time.ParseDuration(args[2])
		ts.Check(err)
		within = limit
	}
	ts.Check(n.signal(signalNamed(ts, sig)))
	select {
	case <-n.done:
	case <-time.After(within):
		ts.Fatalf("%s still runs %v after SIG%s", args[0], within, sig)
	}
	delete(state(ts).nodes, args[0])
	if failed := n.err != nil; failed != neg {
		ts.Fatalf("%s ended with: %v", args[0], n.err)
	}
}

func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, args, 2, "signal NAME signal")
	err := node(ts, args[0]).signal(signalNamed(ts, args[1]))
	if (err != nil) != neg {
		ts.Fatalf("signal: %v", err)
	}
}

func signalNamed(ts *testscript.TestScript, name string) os.Signal {
	known := map[string]os.Signal{
		"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL,
		"STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT, "HUP": syscall.SIGHUP, "USR2": syscall.SIGUSR2,
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
