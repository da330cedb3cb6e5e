package main

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"belfry": main, "hang": hang, "nats-server": natsMain})
}

// TestScript runs testdata/script/*.txtar, each in a directory of its own,
// against the binary. Beside testscript's commands there are:
//
//	exits CODE command [arg…]           like exec, and check the exit code
//	serve NAME [flag…]                  start a node, wait until it is ready
//	halt NAME [signal [within]]         end it (SIGTERM) and wait; ! expects a failure
//	signal NAME signal                  send a signal and go on
//	log NAME regexp                     wait until its log has a line that matches
//	http METHOD URL [-i] [-H 'K: V'] [-d body | -f file]
//	                                    print status (-i: headers) and body; ! expects 400 or above
//	poll URL regexp                     GET until a line of the body matches; ! until none does
//	nats NAME start|stop                an external NATS, always at the same $NAME_url
//	natspub URL subject payload         publish to NATS without headers
//	token VARIABLE [flag…]              belfry token new; sets $VARIABLE, and $VARIABLE_end to its last characters
//	ws NAME dial URL [-p subprotocol] [-H 'K: V'] [-mute]
//	                                    -mute: answers neither pings nor close frames
//	ws NAME refused URL status          dial, and be answered with that status; prints the answer
//	ws NAME expect text                 the next message is this text, byte for byte
//	ws NAME bytes text                  the same in a binary message
//	ws NAME match regexp                the next message matches; printed on stdout
//	ws NAME session VARIABLE            the next message is a hello; keep its session id
//	ws NAME send text
//	ws NAME pinged                      wait for a ping
//	ws NAME close                       with 1000, and wait for the answer
//	ws NAME closed code                 be closed with that code before any further message
//
// serve sets $NAME_listen (host:port of the first port), $NAME_ws (the same as
// ws://host:port/ws), $NAME_api and $NAME_monitor (http://host:port) and, where
// they listen, $NAME_nats and $NAME_cluster (host:port). The log is in
// $WORK/NAME.log, standard output in $WORK/NAME.out. Nodes and sockets end with
// the script.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(env *testscript.Env) error {
			env.Setenv("XDG_RUNTIME_DIR", env.WorkDir) // of control sockets
			env.Values[stateKey{}] = newScriptState(env)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":   cmdExits,
			"serve":   cmdServe,
			"halt":    cmdHalt,
			"signal":  cmdSignal,
			"log":     cmdLog,
			"http":    cmdHTTP,
			"poll":    cmdPoll,
			"nats":    cmdNATS,
			"natspub": cmdNATSPub,
			"token":   cmdToken,
			"ws":      cmdWS,
		},
	})
}

type stateKey struct{}

// scriptState is what one script's commands share.
type scriptState struct {
	nodes   map[string]*scriptNode
	sockets map[string]*scriptSocket
	nats    map[string]*natsServer
}

func newScriptState(env *testscript.Env) *scriptState {
	st := &scriptState{nodes: map[string]*scriptNode{}, sockets: map[string]*scriptSocket{}, nats: map[string]*natsServer{}}
	env.Defer(func() {
		for _, socket := range st.sockets {
			socket.conn.Close()
		}
		for _, node := range st.nodes {
			node.kill()
		}
		for _, server := range st.nats {
			server.stop()
		}
	})
	return st
}

func state(ts *testscript.TestScript) *scriptState {
	return ts.Value(stateKey{}).(*scriptState)
}

func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, args, 2, "exits CODE command [arg…]")
	code := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if (strconv.Itoa(code) == args[0]) == neg {
		ts.Fatalf("exit code %d", code)
	}
}

// need fails the script if there are fewer than n arguments.
func need(ts *testscript.TestScript, args []string, n int, usage string) {
	if len(args) < n {
		ts.Fatalf("usage: %s", usage)
	}
}
