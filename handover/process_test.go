package handover

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// The tests of faults run old process and successor as processes: this test binary with
// one of these roles.
const (
	envRole   = "HANDOVER_ROLE"
	envSocket = "HANDOVER_SOCKET"
	envFault  = "HANDOVER_FAULT" // step|action|n: at the n-th time; only for the first successor
	envFacts  = "HANDOVER_SHARDS"
	envTest   = "HANDOVER_TEST" // the process of the test
)

func TestMain(m *testing.M) {
	switch role := os.Getenv(envRole); role {
	case "":
		os.Exit(m.Run())
	case "old", "successor":
		go endWithTest()
		if err := serveFake(role); err != nil {
			fmt.Fprintln(os.Stderr, role, os.Getpid(), err)
			os.Exit(1)
		}
	}
}

// endWithTest ends this process when the test has, also if that was killed: a successor is
// no child of it.
func endWithTest() {
	pid, _ := strconv.Atoi(os.Getenv(envTest))
	p, err := openProcess(pid)
	for err == nil && !p.ended(time.Minute) {
	}
	os.Exit(3)
}

// testLimits are short, so that a table of faults is quick.
var testLimits = Limits{Hello: 5 * time.Second, Ready: 2 * time.Second, Ack: time.Second, Finish: 2 * time.Second, Export: time.Second, Commit: time.Second, Return: time.Second}

const fakeShards = 2

func facts() Facts {
	f := Facts{Node: "n1", Shards: fakeShards, Listen: []string{"127.0.0.1:0"}, API: "127.0.0.1:8081", Bus: "alone", Sessions: fakeSlots, Files: 1024}
	if other := os.Getenv(envFacts); other != "" && os.Getenv(envRole) == "successor" {
		f.Shards, _ = strconv.Atoi(other)
	}
	return f
}

// faultOf returns the fault of the environment, if it is for this side.
func faultOf(role string) Fault {
	step, rest, found := strings.Cut(os.Getenv(envFault), "|")
	if !found || !strings.HasPrefix(step, role+":") {
		return nil
	}
	action, nth, _ := strings.Cut(rest, "|")
	n, _ := strconv.Atoi(nth)
	var times atomic.Int64
	return func(s Step) error {
		if string(s) != step || times.Add(1) != int64(n) {
			return nil
		}
		switch action {
		case "kill":
			_ = unix.Kill(os.Getpid(), unix.SIGKILL)
			select {}
		case "stop":
			_ = unix.Kill(os.Getpid(), unix.SIGSTOP)
			time.Sleep(100 * time.Millisecond) // other threads may run for a moment (man 7 signal)
			return nil
		}
		return fmt.Errorf("refused at %q", s)
	}
}

// serveFake runs a process of the fake until it has handed over.
func serveFake(role string) error {
	log := zap.NewNop()
	if os.Getenv("HANDOVER_LOG") != "" {
		log, _ = zap.NewDevelopment()
	}
	n := &fakeNode{socket: os.Getenv(envSocket), heir: role == "successor"}
	if n.heir {
		if err := becomeFake(n, log, faultOf(role)); err != nil {
			return err
		}
	} else {
		l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return err
		}
		if n.seen, err = newMarks(fakeShards, fakeSlots*8); err != nil {
			return err
		}
		n.server = newFakeServer(fakeShards, l, n.seen, func(int) []byte { return make([]byte, fakeSlots) })
		fmt.Println(l.Addr())
		if err := (fakeHeir{n}).Serve(); err != nil {
			return err
		}
	}
	go n.count()
	defer n.control.Close()
	first := true
	var fault Fault
	if role == "old" {
		fault = faultOf(role)
	}
	o := NewOld(OldOptions{Socket: n.control, Node: n, Sessions: n.server, Facts: facts(), Version: "1", Limits: testLimits, Log: log, Fault: fault,
		Spawn: func(string) (int, <-chan error, error) {
			was := first
			first = false
			return spawnFake(was && role == "old")
		}})
	go o.Run()
	<-o.Gone()
	o.Finish()
	return nil
}

// becomeFake takes over from the process at the socket.
func becomeFake(n *fakeNode, log *zap.Logger, fault Fault) error {
	s, err := Dial(SuccessorOptions{Socket: n.socket, Facts: facts(), Version: "2", Limits: testLimits, Log: log, Fault: fault})
	if err != nil {
		return err
	}
	l, err := net.FileListener(fileOf(s.In.Take("listener")[0], "listener"))
	if err != nil {
		return err
	}
	if n.seen, err = openMarks(s.In.Take("seen")[0], fakeSlots*8); err != nil {
		return err
	}
	n.server = newFakeServer(fakeShards, l.(*net.TCPListener), n.seen, s.Marks)
	if err := s.Run(n.server, fakeHeir{n}); err != nil {
		return err
	}
	s.Close()
	return nil
}

func spawnFake(fault bool) (int, <-chan error, error) {
	cmd := exec.Command(os.Args[0])
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); name != envRole && (fault || name != envFault && name != envFacts) {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, envRole+"=successor")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return 0, nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return cmd.Process.Pid, ended, nil
}

// fakeClient counts what it gets.
type fakeClient struct {
	conn  net.Conn
	last  atomic.Uint64
	wrong atomic.Uint64 // lost, doubled or out of order
	ended atomic.Bool
}

func dialFake(t *testing.T, addr string) *fakeClient {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c := &fakeClient{conn: conn}
	t.Cleanup(func() { conn.Close() })
	go func() {
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			n, err := strconv.ParseUint(lines.Text(), 10, 64)
			if last := c.last.Load(); err != nil || last != 0 && n != last+1 {
				c.wrong.Add(1)
			}
			c.last.Store(n)
		}
		c.ended.Store(true)
	}()
	return c
}

// startFake starts an old process and connects clients to it.
func startFake(t *testing.T, clients int, env ...string) (pid int, socket string, addr string, all []*fakeClient) {
	socket = t.TempDir() + "/s"
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), env...), envRole+"=old", envSocket+"="+socket, fmt.Sprint(envTest, "=", os.Getpid()))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) // with its successors
		_ = cmd.Wait()
	})
	if addr, err = bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	addr = strings.TrimSpace(addr)
	for range clients {
		all = append(all, dialFake(t, addr))
	}
	eventually(t, "all clients get numbers", func() bool { return served(all) == clients })
	eventually(t, "the control socket is there", func() bool { _, err := os.Stat(socket); return err == nil })
	return cmd.Process.Pid, socket, addr, all
}

// served returns how many clients get further numbers.
func served(all []*fakeClient) (n int) {
	was := make([]uint64, len(all))
	for i, c := range all {
		was[i] = c.last.Load()
	}
	for until := time.Now().Add(500 * time.Millisecond); time.Now().Before(until) && n < len(all); time.Sleep(2 * time.Millisecond) {
		n = 0
		for i, c := range all {
			if c.last.Load() > was[i] {
				n++
			}
		}
	}
	return n
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for until := time.Now().Add(10 * time.Second); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("not in time: %s", what)
		}
	}
}
