package session

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"belfry/message"
	"belfry/poller"
)

// childEnv says which part this test binary plays when a test has started it
// as a process of its own.
const childEnv = "BELFRY_TEST_CHILD"

// child is such a process: it gets commands and says what came of them, a line
// each.
type child struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startChild(t *testing.T, part string) *child {
	t.Helper()
	c := &child{t: t, cmd: exec.Command(os.Args[0], "-test.run=^TestChild$")}
	c.cmd.Env = append(os.Environ(), childEnv+"="+part)
	c.cmd.Stderr = os.Stderr
	c.in, _ = c.cmd.StdinPipe()
	out, _ := c.cmd.StdoutPipe()
	c.out = bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.in.Close() // ends it
		done := time.AfterFunc(10*time.Second, func() { c.cmd.Process.Kill() })
		c.cmd.Wait()
		done.Stop()
	})
	return c
}

// say gives a command.
func (c *child) say(format string, args ...any) { fmt.Fprintf(c.in, format+"\n", args...) }

// hear waits for a line that the format matches.
func (c *child) hear(format string, args ...any) {
	c.t.Helper()
	if err := c.listen(format, args...); err != nil {
		c.t.Fatal(err)
	}
}

// listen is hear for other goroutines than the test's.
func (c *child) listen(format string, args ...any) error {
	line, err := c.out.ReadString('\n')
	if n, _ := fmt.Sscanf(line, format, args...); n != len(args) {
		return fmt.Errorf("child said %q (%v), want %s", line, err, format)
	}
	return nil
}

// TestChild is the main function of children.
func TestChild(t *testing.T) {
	switch os.Getenv(childEnv) {
	case "server":
		childServer(t)
	case "half-open":
		childHalfOpen(t)
	default:
		t.Skip("no child")
	}
}

// childServer is a server with a real clock that pings after a second and waits
// three for the pong. Each line that it gets goes to everybody.
func childServer(t *testing.T) {
	s, err := New(Options{
		Poller:       poller.Options{Shards: 2, Listen: []poller.PortRange{{Host: "127.0.0.1"}}},
		PingInterval: time.Second, PongTimeout: 3 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	fmt.Println(s.Addrs()[0])
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if err := s.push(&message.Message{Target: message.ToAll(), Payload: in.Bytes()}); err != nil {
			t.Error(err)
		}
		st := s.Stats()
		fmt.Println(st.Sessions, st.Poller.Stalls, st.PingsOut)
	}
	s.close()
}

// childHalfOpen connects to an address so many times, sends half a request on
// each connection, and counts the answers by status when it is asked for.
func childHalfOpen(t *testing.T) {
	var addr string
	var n int
	in := bufio.NewReader(os.Stdin)
	line, _ := in.ReadString('\n')
	fmt.Sscan(line, &addr, &n)
	conns := make([]net.Conn, n)
	var dialers sync.WaitGroup
	for part := range 16 {
		dialers.Go(func() {
			for i := part; i < n; i += 16 {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					t.Error(err)
					return
				}
				io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: x\r\n")
				conns[i] = c
			}
		})
	}
	dialers.Wait()
	fmt.Println("open", n)
	in.ReadString('\n')
	statuses := map[int]int{}
	for _, c := range conns {
		if c == nil {
			continue
		}
		c.SetReadDeadline(time.Now().Add(clientTimeout))
		if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil {
			statuses[resp.StatusCode]++
		} else if !strings.Contains(err.Error(), "EOF") {
			t.Error(err)
		}
		c.Close()
	}
	fmt.Println("timeouts", statuses[408], "of", n)
}
