package bench

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawServer answers every upgrade with head, then calls script. It returns its
// address.
func rawServer(t *testing.T, head string, script func(net.Conn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			go func() {
				r, err := http.ReadRequest(bufio.NewReader(c))
				if err != nil || len(r.URL.Query().Get("uid")) != 16 {
					c.Close()
					return
				}
				if _, err := io.WriteString(c, head); err == nil && script != nil {
					script(c)
				}
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

const goodHead = "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: " + Accept + "\r\n\r\n"

func newTestClient(t *testing.T) *Client {
	t.Helper()
	c, err := NewClient()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func dialAll(t *testing.T, c *Client, addr netip.AddrPort, n int) Dialed {
	t.Helper()
	return dialWire(t, c, addr, n, Wire{Path: DevPath(3), Topics: 3})
}

func dialWire(t *testing.T, c *Client, addr netip.AddrPort, n int, w Wire) Dialed {
	t.Helper()
	err := c.Dial(Dial{Targets: []netip.AddrPort{addr}, Count: n, Window: 8, Next: 1, Timeout: int64(5 * time.Second), Wire: w})
	if err != nil {
		t.Fatal(err)
	}
	var d Dialed
	pollUntil(t, c, func() (ok bool) { d, ok = c.Dialed(); return ok })
	return d
}

func pollUntil(t *testing.T, c *Client, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); {
		if time.Now().After(deadline) {
			t.Fatalf("not reached in time; stats %+v", c.Stats(0))
		}
		if _, err := c.Poll(10 * time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
}

// A client is edge-triggered unless it is told otherwise, and gets everything
// either way.
func TestLevelTriggered(t *testing.T) {
	addr := rawServer(t, goodHead, func(c net.Conn) {
		for seq := range uint32(3) {
			c.Write(broadcastFrames(seq + 1))
		}
	})
	for _, level := range []bool{false, true} {
		c := newTestClient(t)
		if d := dialWire(t, c, addr, 5, Wire{Path: DevPath(0), Level: level}); d.Opened != 5 {
			t.Fatalf("%+v", d)
		}
		pollUntil(t, c, func() bool { return c.Stats(0).Broadcast.Received == 15 })
		text, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", c.epfd))
		if err != nil {
			t.Fatal(err)
		}
		edge := 0
		for line := range strings.Lines(string(text)) {
			var fd int
			var events uint32
			if _, err := fmt.Sscanf(line, "tfd: %d events: %x", &fd, &events); err == nil && events&unix.EPOLLET != 0 {
				edge++
			}
		}
		if want := map[bool]int{false: 5, true: 0}[level]; edge != want {
			t.Errorf("level %v: %d of 5 connections are edge-triggered:\n%s", level, edge, text)
		}
	}
}

func broadcastFrames(seqs ...uint32) []byte {
	var p []byte
	for _, seq := range seqs {
		p = AppendTextFrame(p, AppendPayload(nil, Broadcast, seq, 1, 128))
	}
	return p
}

func TestClientFindsFaults(t *testing.T) {
	tests := []struct {
		name    string
		seqs    []uint32
		want    Tally
		missing uint64
	}{
		{"in order", []uint32{1, 2, 3, 4}, Tally{Received: 4}, 0},
		{"dropped", []uint32{1, 2, 4}, Tally{Received: 3, Lost: 1}, 0},
		{"first dropped", []uint32{2, 3, 4}, Tally{Received: 3, Lost: 1}, 0},
		{"last dropped", []uint32{1, 2, 3}, Tally{Received: 3}, 1},
		{"doubled", []uint32{1, 2, 2, 3, 4}, Tally{Received: 5, Duplicated: 1}, 0},
		{"reordered", []uint32{1, 3, 2, 4}, Tally{Received: 4, Reordered: 1}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			const conns = 5
			addr := rawServer(t, goodHead, func(c net.Conn) { c.Write(broadcastFrames(tt.seqs...)) })
			c := newTestClient(t)
			if d := dialAll(t, c, addr, conns); d.Opened != conns || d.Failed != 0 || d.End <= d.Start {
				t.Fatalf("dialed %+v, failures %v", d, c.Stats(0).Failed)
			}
			pollUntil(t, c, func() bool { return c.Stats(0).Broadcast.Received >= uint64(len(tt.seqs)*conns) })
			got := c.Stats(5)
			want := Tally{}
			for range conns {
				want.Add(tt.want)
			}
			if got.Broadcast != want || got.Missing != tt.missing*conns || got.Open != conns {
				t.Errorf("got %+v, missing %d, open %d; want %+v, missing %d", got.Broadcast, got.Missing, got.Open, want, tt.missing*conns)
			}
		})
	}
}

func TestClientFindsCorruption(t *testing.T) {
	frames := broadcastFrames(1)
	frames[len(frames)-1] ^= 1
	frames = AppendTextFrame(frames, []byte("hello"))
	addr := rawServer(t, goodHead, func(c net.Conn) { c.Write(frames) })
	c := newTestClient(t)
	dialAll(t, c, addr, 1)
	pollUntil(t, c, func() bool { return c.Stats(0).Corrupt == 2 })
	if got := c.Stats(0).Broadcast.Received; got != 0 {
		t.Errorf("%d corrupt messages counted as received", got)
	}
}

// The server sends byte by byte, so the input ends in every state of head and
// frame.
func TestClientTakesSplitInput(t *testing.T) {
	all := append([]byte(goodHead), broadcastFrames(1, 2)...)
	all = append(all, AppendTextFrame(nil, AppendPayload(nil, Broadcast, 3, 1, 70000))[:400]...)
	addr := rawServer(t, "", func(c net.Conn) {
		c.(*net.TCPConn).SetNoDelay(true)
		for i := range all {
			c.Write(all[i : i+1])
		}
		c.Write(AppendTextFrame(nil, AppendPayload(nil, Broadcast, 3, 1, 70000))[400:])
	})
	c := newTestClient(t)
	dialAll(t, c, addr, 2)
	pollUntil(t, c, func() bool { return c.Stats(0).Broadcast.Received == 6 })
	if s := c.Stats(4); s.Broadcast.Faults() != 0 || s.Missing != 0 || len(c.tails) != 0 {
		t.Errorf("%+v, %d tails", s, len(c.tails))
	}
}

func TestClientAnswersPings(t *testing.T) {
	pongs := make(chan string, 2)
	addr := rawServer(t, goodHead, func(c net.Conn) {
		c.Write([]byte{0x80 | opPing, 3, 'a', 'b', 'c'})
		var p [9]byte
		if _, err := io.ReadFull(c, p[:]); err != nil || p[0] != 0x80|opPong || p[1] != 0x80|3 {
			pongs <- "not a masked pong"
			return
		}
		for i := range 3 {
			p[6+i] ^= p[2+i]
		}
		pongs <- string(p[6:])
	})
	c := newTestClient(t)
	dialAll(t, c, addr, 2)
	pollUntil(t, c, func() bool { return c.Stats(0).MinPings == 1 })
	for range 2 {
		if got := <-pongs; got != "abc" {
			t.Errorf("pong %q", got)
		}
	}
	if c.Mark(); c.Stats(0).MinPings != 0 || c.Stats(0).Pongs != 2 {
		t.Errorf("after Mark: %+v", c.Stats(0))
	}
}

func TestClientNamesCauses(t *testing.T) {
	closed, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := closed.Addr().(*net.TCPAddr).AddrPort()
	closed.Close()
	end := func(c net.Conn) { c.Close() }
	tests := []struct {
		cause string
		open  bool // ended after the upgrade
		addr  netip.AddrPort
	}{
		{"ECONNREFUSED", false, refused},
		{"status 503", false, rawServer(t, "HTTP/1.1 503 Service Unavailable\r\n\r\n", nil)},
		{errAccept.Error(), false, rawServer(t, strings.Replace(goodHead, Accept, "AAAA", 1), nil)},
		{errUpgr.Error(), false, rawServer(t, strings.Replace(goodHead, "upgrade: WebSocket\r\n", "", 1), nil)},
		{errOffer.Error(), false, rawServer(t, strings.Replace(goodHead, "upgrade:", "Sec-WebSocket-Protocol: x\r\nupgrade:", 1), nil)},
		{errHead.Error(), false, rawServer(t, "SSH-2.0-OpenSSH\r\n\r\n", nil)},
		{"EOF", false, rawServer(t, goodHead[:40], end)},
		{"EOF", true, rawServer(t, goodHead, end)},
		{errMasked.Error(), true, rawServer(t, goodHead+"\x81\x81aaaab", nil)},
		{"close 1001", true, rawServer(t, goodHead+"\x88\x02"+string(binary.BigEndian.AppendUint16(nil, 1001)), nil)},
	}
	for _, tt := range tests {
		t.Run(tt.cause, func(t *testing.T) {
			c := newTestClient(t)
			d := dialAll(t, c, tt.addr, 3)
			if tt.open {
				pollUntil(t, c, func() bool { return c.Stats(0).Ended[tt.cause] == 3 })
			} else if n := c.Stats(0).Failed[tt.cause]; n != 3 || d.Failed != 3 {
				t.Errorf("dialed %+v, failures %v", d, c.Stats(0).Failed)
			}
			if c.Stats(0).Open != 0 {
				t.Errorf("%d open", c.Stats(0).Open)
			}
		})
	}
}

func TestClientGivesUp(t *testing.T) {
	c := newTestClient(t)
	addr := rawServer(t, "", nil) // never answers
	err := c.Dial(Dial{Targets: []netip.AddrPort{addr}, Count: 6, Window: 4, Timeout: int64(50 * time.Millisecond), Wire: Wire{Path: DevPath(0)}})
	if err != nil {
		t.Fatal(err)
	}
	pollUntil(t, c, func() bool { _, ok := c.Dialed(); return ok })
	if f := c.Stats(0).Failed; f["timeout"] != 4 || f["not begun in time"] != 2 {
		t.Errorf("failures %v", f)
	}
}

func TestClientDrops(t *testing.T) {
	ended := make(chan error, 3)
	addr := rawServer(t, goodHead, func(c net.Conn) {
		_, err := c.Read(make([]byte, 1))
		ended <- err
	})
	c := newTestClient(t)
	dialAll(t, c, addr, 3)
	c.Drop()
	for range 3 {
		if err := <-ended; err == nil || !strings.Contains(err.Error(), "reset") {
			t.Errorf("connection ended with %v, not with a reset", err)
		}
	}
	if d := dialAll(t, c, addr, 2); d.Opened != 2 || c.Stats(0).Open != 2 {
		t.Errorf("after Drop: %+v, %+v", d, c.Stats(0))
	}
}

func TestDialRefusesNonsense(t *testing.T) {
	for field, change := range map[string]func(*Dial){
		"targets: fe80::1%lo is":  func(d *Dial) { d.Targets[0] = netip.MustParseAddrPort("[fe80::1%lo]:1") },
		"targets: ::ffff:1.2.3.4": func(d *Dial) { d.Targets[0] = netip.MustParseAddrPort("[::ffff:1.2.3.4]:1") },
		"targets: ::1 is":         func(d *Dial) { d.Targets = append(d.Targets, netip.MustParseAddrPort("[::1]:1")) },
		"targets: no":             func(d *Dial) { d.Targets = nil },
		"sources":                 func(d *Dial) { d.Sources = []netip.Addr{netip.MustParseAddr("::1")} },
		"count":                   func(d *Dial) { d.Count = 0 },
		"window":                  func(d *Dial) { d.Window = 0 },
		"rate":                    func(d *Dial) { d.Rate = -1 },
	} {
		d := Dial{Targets: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")}, Count: 1, Window: 1}
		change(&d)
		if err := newTestClient(t).Dial(d); err == nil || !strings.HasPrefix(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestConnIsSmall(t *testing.T) {
	// The budget is 300 B of user memory per connection. Dial allocates for all
	// connections at once; growing would also hold the old copy.
	if n := unsafe.Sizeof(conn{}); n*2 > 300 {
		t.Errorf("a connection takes %d bytes", n)
	}
}
