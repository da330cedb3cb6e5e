package poller

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// descriptorsEnv makes the test binary the server that runs out of descriptors.
const descriptorsEnv = "BELFRY_TEST_DESCRIPTORS"

// A server without free descriptors counts that, uses no CPU while clients connect,
// and accepts again as soon as a connection closes. It is a process of its own,
// because the limit belongs to the process.
func TestAcceptWithoutDescriptors(t *testing.T) {
	if os.Getenv(descriptorsEnv) != "" {
		serveWithoutDescriptors(t)
		return
	}
	child, in, out := startWithoutDescriptors(t)
	defer child.Process.Kill()
	said := bufio.NewScanner(out)
	hear := func(format string, to ...any) {
		t.Helper()
		for said.Scan() {
			if n, _ := fmt.Sscanf(said.Text(), format, to...); n == len(to) {
				return
			}
		}
		t.Fatalf("the server never said %q", format)
	}

	var addr string
	hear("listening on %s", &addr)
	var conns []net.Conn
	for range 45 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(time.Minute))
		io.WriteString(c, "hello\n")
		conns = append(conns, c)
	}
	var spent, errors, served int
	hear("spent %d ms, %d errors, %d served", &spent, &errors, &served)
	t.Logf("the server spent %d ms, counted %d errors and served %d", spent, errors, served)
	if spent > 500 {
		t.Errorf("waiting for a descriptor took %d ms of processor time in a second", spent)
	}
	if errors != 1 || served < 10 || served > 20 {
		t.Errorf("%d errors, %d served; want 1, up to 20", errors, served)
	}
	for _, c := range conns[:35] { // at most 20 are accepted; the last 10 have room
		c.Close()
	}
	for _, c := range conns[35:] {
		expect(t, c, "hello\n")
		ask(t, c, "and again")
	}
	in.Close()
	if err := child.Wait(); err != nil {
		t.Error(err)
	}
}

// startWithoutDescriptors starts the server, and returns its standard input and
// output.
func startWithoutDescriptors(t *testing.T) (child *exec.Cmd, in io.Closer, out io.Reader) {
	t.Helper()
	child = exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.timeout=60s")
	child.Env = append(os.Environ(), descriptorsEnv+"=20")
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if out, err = child.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	return child, in, out
}

func serveWithoutDescriptors(t *testing.T) {
	var n int
	fmt.Sscan(os.Getenv(descriptorsEnv), &n)
	r := newRig(t, Options{Shards: 1}, nil)
	fd, err := unix.Dup(0) // the lowest free number
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	limit := unix.Rlimit{Cur: uint64(fd + n), Max: uint64(fd + n)}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	fmt.Println("listening on", r.Addrs()[0])
	emfile := func() uint64 { return r.Stats().AcceptErrors["EMFILE"] }
	eventually(t, "EMFILE", func() bool { return emfile() > 0 })
	used := func() time.Duration {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	<-time.After(time.Second) // measure an idle second
	fmt.Printf("spent %d ms, %d errors, %d served\n", (used() - before).Milliseconds(), emfile(), r.Stats().Connections)
	io.Copy(io.Discard, os.Stdin)
}

// If no connection closes, a shard tries to accept again at the next tick.
func TestAcceptResumesWithTick(t *testing.T) {
	r := newRig(t, Options{Shards: 1}, func(h *echoHandler) { h.mail = runMail })
	r.on(0, func(s *Shard) {
		s.acceptor.exhausted = true
		s.acceptor.pause()
	})
	c := r.dial()
	io.WriteString(c, "hello\n")
	r.on(0, func(*Shard) {})
	if n := r.Stats().Accepted; n != 0 {
		t.Errorf("%d accepted while it was paused", n)
	}
	r.Loop.Tick(1)
	expect(t, c, "hello\n")
}

func TestAcceptErrnoNames(t *testing.T) {
	for errno, want := range map[syscall.Errno]string{
		syscall.EMFILE: "EMFILE", syscall.ENFILE: "ENFILE", syscall.ENOBUFS: "ENOBUFS", syscall.ENOMEM: "ENOMEM", syscall.EPROTO: "other",
	} {
		if got := acceptErrnoNames[acceptErrnoIndex(errno)]; got != want {
			t.Errorf("%v is counted as %s, want %s", errno, got, want)
		}
	}
}

// An error of accept that has nothing to do with limits neither removes the
// listener nor stops the shard.
func TestAcceptOtherErrors(t *testing.T) {
	r := newRig(t, Options{Shards: 1}, func(h *echoHandler) { h.mail = runMail })
	r.on(0, func(s *Shard) {
		// For a connected socket accept returns EINVAL.
		ours, peer := socketPair(t)
		defer unix.Close(ours)
		defer unix.Close(peer)
		s.acceptor.accept(&listener{fd: int32(ours), inSet: true})
	})
	if n := r.Stats().AcceptErrors["other"]; n == 0 || n > acceptBatch {
		t.Errorf("%d errors counted", n)
	}
	ask(t, r.dial(), "hello")
}

// If there are more connections than slots, the surplus is closed and counted. When
// a connection has ended, the next one is accepted.
func TestAcceptRefused(t *testing.T) {
	r := newRig(t, Options{Shards: 1, MaxConns: 3}, func(h *echoHandler) { h.mail = runMail })
	var conns []net.Conn
	for range 3 {
		c := r.dial()
		ask(t, c, "hello")
		conns = append(conns, c)
	}
	c := r.dial()
	io.WriteString(c, "hello\n")
	if b, err := io.ReadAll(c); len(b) > 0 || err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("the fourth got %q, %v", b, err)
	}
	if st := r.Stats(); st.AcceptRefused != 1 || st.Connections != 3 {
		t.Errorf("%d refused, %d connections; want 1, 3", st.AcceptRefused, st.Connections)
	}
	conns[1].Close()
	eventually(t, "a slot", func() bool { return r.Stats().Connections == 2 })
	ask(t, r.dial(), "hello")
}
