package bridge

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"belfry/poller"
	"belfry/session"
)

// figures has TestFigures measure. It needs a quiet machine and some minutes:
//
//	go test ./bridge -run TestFigures -figures -v
var figures = flag.Bool("figures", false, "measure what TLS costs")

// crowdVariable holds the order for a process that is a crowd of clients.
const crowdVariable = "BELFRY_TEST_CROWD"

// crowd is what a process of clients does. It is a process of its own, so that the
// figures of the server's process are the server's.
type crowd struct {
	Addr    string
	CA      string // PEM; "": no TLS
	Clients int
	Hold    bool // keep the connections and count what arrives; else close them
	At      int  // connections being made at once
	Size    int  // bytes of a broadcast on the wire
}

// asCrowd runs a crowd if the process was started for that.
func asCrowd() {
	order := os.Getenv(crowdVariable)
	if order == "" {
		return
	}
	var c crowd
	if err := json.Unmarshal([]byte(order), &c); err != nil {
		panic(err)
	}
	c.run()
	os.Exit(0)
}

// run connects all clients, prints "connected", and then a line for each broadcast
// that all have received, until its standard input ends.
func (c *crowd) run() {
	var config *tls.Config
	if c.CA != "" {
		config = &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "127.0.0.1"}
		config.RootCAs.AppendCertsFromPEM([]byte(c.CA))
	}
	var received atomic.Int64
	var next atomic.Int32
	var connecting sync.WaitGroup
	for range c.At {
		connecting.Go(func() {
			for {
				n := next.Add(1)
				if int(n) > c.Clients {
					return
				}
				conn := c.connect(int(n), config)
				if !c.Hold {
					conn.Close()
					continue
				}
				go func() {
					p := make([]byte, 512)
					for {
						n, err := conn.Read(p)
						if err != nil {
							return
						}
						received.Add(int64(n))
					}
				}()
			}
		})
	}
	connecting.Wait()
	fmt.Println("connected")
	go func() {
		for done := int64(1); c.Hold; time.Sleep(200 * time.Microsecond) {
			for received.Load() >= done*int64(c.Clients*c.Size) {
				fmt.Println(done)
				done++
			}
		}
	}()
	io.Copy(io.Discard, os.Stdin)
}

// connect opens one session, from one of several addresses, since each has 28,000
// ports.
func (c *crowd) connect(n int, config *tls.Config) net.Conn {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(n%8+1))}}
	raw, err := d.Dial("tcp", c.Addr)
	if err != nil {
		panic(err)
	}
	conn := raw
	if config != nil {
		conn = tls.Client(raw, config)
	}
	if _, err := io.WriteString(conn, upgrade("/ws?topic=news")); err != nil {
		panic(err)
	}
	for head := []byte{}; !bytes.HasSuffix(head, []byte("\r\n\r\n")); {
		p := make([]byte, 1)
		if _, err := io.ReadFull(conn, p); err != nil {
			panic(err)
		}
		head = append(head, p...)
	}
	return conn
}

// started is a crowd in its process.
type started struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.Closer
	lines *bufio.Scanner
}

func (r *rig) start(c crowd) *started {
	r.t.Helper()
	order, err := json.Marshal(c)
	if err != nil {
		r.t.Fatal(err)
	}
	s := &started{t: r.t.(*testing.T), cmd: exec.Command(os.Args[0])}
	s.cmd.Env = append(os.Environ(), crowdVariable+"="+string(order))
	s.cmd.Stderr = os.Stderr
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		r.t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	s.lines = bufio.NewScanner(out)
	if err := s.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	return s
}

func (s *started) expect(line string) {
	s.t.Helper()
	if !s.lines.Scan() || s.lines.Text() != line {
		s.t.Fatalf("the clients say %q, want %q", s.lines.Text(), line)
	}
}

func (s *started) end() {
	s.in.Close()
	_ = s.cmd.Wait()
}

// cpu returns the processor time of this process.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// rss returns the resident memory of this process in bytes.
func rss(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "Rss:")
	n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}

func (r *rig) authority() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.ca.DER()}))
}

// TestFigures measures what docs/benchmarks.md publishes: handshakes against Go's
// own TLS server, memory of an idle session, and the cost of a broadcast over TLS
// and without it, in turn in one run.
func TestFigures(t *testing.T) {
	if !*figures {
		t.Skip("with -figures only")
	}
	load, _ := os.ReadFile("/proc/loadavg")
	t.Logf("%d processors, load %s", runtime.NumCPU(), bytes.TrimSpace(load))
	o := session.Options{}
	o.Poller.Listen = []poller.PortRange{{Host: "127.0.0.1"}}
	r := newRig(t, Options{MaxConnections: 20_000, Workers: max(1, runtime.GOMAXPROCS(0)-2)}, o)
	t.Run("handshakes", func(t *testing.T) {
		for round := range 3 {
			r.figureHandshakes(t, round)
		}
	})
	t.Run("memory", r.figureMemory)
	t.Run("fanout", func(t *testing.T) {
		for round := range 3 {
			r.figureFanout(t, round)
		}
	})
}

func (r *rig) figureHandshakes(t *testing.T, round int) {
	const n, at = 4000, 64
	for _, who := range []string{"belfry", "crypto/tls"} {
		addr, stop := r.addr(), func() {}
		if who != "belfry" {
			addr, stop = goServer(t, r.certificate())
		}
		before, begun := cpu(), time.Now()
		c := r.start(crowd{Addr: addr, CA: r.authority(), Clients: n, At: at})
		c.expect("connected")
		took, used := time.Since(begun), cpu()-before
		c.end()
		stop()
		t.Logf("round %d: %-10s %6.0f handshakes/s, server CPU %v each", round, who, n/took.Seconds(), (used / n).Round(100*time.Nanosecond))
	}
	eventually(t, "all closed", func() bool { return r.Stats().Connections == 0 })
}

// goServer accepts TLS connections and answers each request with a 101, by a
// goroutine for each connection.
func goServer(t *testing.T, pair tls.Certificate) (addr string, stop func()) {
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				p := make([]byte, 4<<10)
				if _, err := c.Read(p); err == nil {
					io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
					c.Read(p) // the end
				}
			}()
		}
	}()
	return l.Addr().String(), func() { l.Close() }
}

func (r *rig) figureMemory(t *testing.T) {
	const few, many = 1000, 4000
	for _, who := range []string{"ws", "wss"} { // in this order: the second reuses memory of the first
		c := crowd{Addr: r.addr(), CA: r.authority(), Clients: few, Hold: true, At: 32, Size: 132}
		if who == "ws" {
			c.Addr, c.CA = r.sessions.Addrs()[0].String(), ""
		}
		first := r.start(c)
		first.expect("connected")
		time.Sleep(5 * time.Second)
		base := rss(t)
		c.Clients = many
		second := r.start(c)
		second.expect("connected")
		time.Sleep(5 * time.Second)
		fresh := rss(t)
		runtime.GC() // as happens every two minutes in a process that does nothing else
		runtime.GC()
		time.Sleep(5 * time.Second)
		t.Logf("%s: %d bytes RSS per idle session after connecting, %d after two collections", who, (fresh-base)/many, (rss(t)-base)/many)
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		t.Logf("%s: heap %d bytes and stacks %d bytes per session, of %d", who, m.HeapInuse/(few+many), m.StackInuse/(few+many), few+many)
		first.end()
		second.end()
		eventually(t, "all closed", func() bool { return r.sessions.Stats().Sessions == 0 })
	}
}

func (r *rig) figureFanout(t *testing.T, round int) {
	const clients, broadcasts, size = 5000, 20, 132
	text := strings.Repeat("m", size-4)
	for _, who := range []string{"ws", "wss"} {
		c := crowd{Addr: r.addr(), CA: r.authority(), Clients: clients, Hold: true, At: 32, Size: size}
		if who == "ws" {
			c.Addr, c.CA = r.sessions.Addrs()[0].String(), ""
		}
		all := r.start(c)
		all.expect("connected")
		var slowest, sum time.Duration
		var before time.Duration
		for i := range broadcasts + 2 {
			if i == 2 {
				before = cpu()
			}
			begun := time.Now()
			r.push("news", text)
			all.expect(strconv.Itoa(i + 1))
			if i >= 2 {
				took := time.Since(begun)
				sum, slowest = sum+took, max(slowest, took)
			}
		}
		used := cpu() - before
		t.Logf("round %d: %-3s server CPU %v per delivery; publish to last receipt %v on average, %v at most", round, who,
			(used / (clients * broadcasts)).Round(10*time.Nanosecond), (sum / broadcasts).Round(10*time.Microsecond), slowest.Round(10*time.Microsecond))
		all.end()
		eventually(t, "all closed", func() bool { return r.sessions.Stats().Sessions == 0 })
	}
}
