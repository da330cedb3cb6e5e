package bench

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"
)

// readClientFrame reads one masked frame.
func readClientFrame(r io.Reader) (op byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	size := int(head[1] & 0x7f)
	if size == 126 {
		var long [2]byte
		if _, err := io.ReadFull(r, long[:]); err != nil {
			return 0, nil, err
		}
		size = int(binary.BigEndian.Uint16(long[:]))
	}
	body := make([]byte, 4+size)
	if _, err := io.ReadFull(r, body); err != nil {
		return 0, nil, err
	}
	payload = body[4:]
	for i := range payload {
		payload[i] ^= body[i%4]
	}
	if head[1]&0x80 == 0 {
		return 0, nil, fmt.Errorf("a client's frame without mask")
	}
	return head[0] & 0xf, payload, nil
}

// echoServer sends every message back, changed by change; nil drops it.
func echoServer(t *testing.T, change func(i int, message []byte) [][]byte) netip.AddrPort {
	return rawServer(t, goodHead, func(c net.Conn) {
		r := bufio.NewReader(c)
		for i := 0; ; i++ {
			_, message, err := readClientFrame(r)
			if err != nil {
				return
			}
			for _, m := range change(i, message) {
				c.Write(AppendTextFrame(nil, m))
			}
		}
	})
}

func TestEcho(t *testing.T) {
	addr := echoServer(t, func(_ int, m []byte) [][]byte { return [][]byte{m} })
	for name, e := range map[string]Echo{
		"closed loop": {Size: 200},
		"open loop":   {Size: 128, Rate: 2000},
		"wrapped":     {Size: 128, Rate: 2000, Message: `{"for":"{uid}","text":"{payload}"}`},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTestClient(t)
			dialWire(t, c, addr, 5, Wire{Path: DevPath(0), Users: 2, Wrapped: e.Message != ""})
			e.Duration, e.Grace = int64(100*time.Millisecond), int64(5*time.Second)
			if err := c.Echo(e); err != nil {
				t.Fatal(err)
			}
			var got Echoed
			pollUntil(t, c, func() (ok bool) { got, ok = c.Echoed(); return ok })
			s := c.Stats(0)
			if got.Sent < 5 || got.Back != got.Sent || s.Direct.Received != got.Sent || s.Faults() != nil || s.Directs.Count() != int64(got.Sent) {
				t.Errorf("%+v, %+v, %v", got, s.Direct, s.Faults())
			}
			if e.Rate > 0 && (got.Sent < 195 || got.Sent > 201) {
				t.Errorf("%d sent in 100 ms at %v a second", got.Sent, e.Rate)
			}
		})
	}
}

// If a server stalls, the latency of an open loop counts from the time when a
// message was due.
func TestEchoCountsWaiting(t *testing.T) {
	const stall = 60 * time.Millisecond
	addr := echoServer(t, func(i int, m []byte) [][]byte {
		if i == 0 {
			time.Sleep(stall) // the fault under test
		}
		return [][]byte{m}
	})
	c := newTestClient(t)
	dialAll(t, c, addr, 1)
	if err := c.Echo(Echo{Size: 128, Rate: 1000, Duration: int64(50 * time.Millisecond), Grace: int64(5 * time.Second)}); err != nil {
		t.Fatal(err)
	}
	pollUntil(t, c, func() bool { _, ok := c.Echoed(); return ok })
	if q := c.Stats(0).Directs; q.Count() < 45 || q.At(100) < int64(stall) || q.At(50) < int64(stall)/4 {
		t.Errorf("%+v after a stall of %v", q.Quantiles(), stall)
	}
}

func TestEchoFindsFaults(t *testing.T) {
	other := AppendMessage(nil, Message{Direct, 77, 1, 1}, 128)
	for want, change := range map[string]func(int, []byte) [][]byte{
		"Lost:1": func(i int, m []byte) [][]byte {
			if i == 1 {
				return nil
			}
			return [][]byte{m}
		},
		"Duplicated:1": func(i int, m []byte) [][]byte {
			if i == 1 {
				return [][]byte{m, m}
			}
			return [][]byte{m}
		},
		"corrupt 1": func(i int, m []byte) [][]byte {
			if i == 1 {
				m[len(m)-1] ^= 1
			}
			return [][]byte{m}
		},
		"wrong user 1": func(i int, m []byte) [][]byte {
			if i == 1 {
				return [][]byte{other, m}
			}
			return [][]byte{m}
		},
	} {
		c := newTestClient(t)
		dialAll(t, c, echoServer(t, change), 1)
		if err := c.Echo(Echo{Size: 128, Rate: 100, Duration: int64(50 * time.Millisecond), Grace: int64(5 * time.Second)}); err != nil {
			t.Fatal(err)
		}
		pollUntil(t, c, func() bool {
			s := c.Stats(0)
			return c.echo.Sent >= 4 && s.Direct.Received+s.Corrupt+s.Misled >= 3
		})
		s := c.Stats(0)
		if err := s.Faults(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %s", err, want)
		}
	}
}

// A server with its own protocol: it answers the message on open, pings with
// messages, and wraps payloads.
func TestConversation(t *testing.T) {
	ponged := make(chan string, 3)
	addr := rawServer(t, goodHead, func(c net.Conn) {
		r := bufio.NewReader(c)
		op, hello, err := readClientFrame(r)
		if err != nil || op != opBinary {
			return
		}
		payloads := bytes.Join([][]byte{AppendPayload(nil, Broadcast, 1, 1, 128), AppendPayload(nil, Broadcast, 2, 1, 128)}, []byte("\r\nMSG t "))
		for _, m := range []string{"INFO {}", "+OK " + string(hello), "PING", "MSG t " + string(payloads) + "\r\n"} {
			c.Write(AppendTextFrame(nil, []byte(m)))
		}
		_, pong, _ := readClientFrame(r)
		ponged <- string(hello) + " " + string(pong)
	})
	c := newTestClient(t)
	d := dialWire(t, c, addr, 3, Wire{Path: DevPath(0), Users: 2, Topics: 5, Binary: true, Wrapped: true, OnOpen: []string{"SUB {topic} {n}"},
		Ready: "+OK", Answers: []Answer{{"PING", "PONG"}}})
	if d.Opened != 3 {
		t.Fatalf("%+v", d)
	}
	pollUntil(t, c, func() bool { return c.Stats(0).Broadcast.Received == 6 })
	if s := c.Stats(3); s.Faults() != nil || s.Other != 9 || s.Open != 3 || s.Handshakes.Count() != 3 {
		t.Errorf("%v, %d other messages, %d open", s.Faults(), s.Other, s.Open)
	}
	got := map[string]bool{}
	for range 3 {
		got[<-ponged] = true
	}
	for i := range 3 {
		if want := fmt.Sprintf("SUB bench.%d %d PONG", i, i); !got[want] {
			t.Errorf("no %q in %v", want, got)
		}
	}
}

// A server may put a ping into one message with others. Every connection must
// answer it, although the message is the same for all.
func TestAnswersToLines(t *testing.T) {
	const pings = 4
	answers := make(chan string, 3)
	payload := string(AppendPayload(nil, Broadcast, 1, 1, 128))
	addr := rawServer(t, goodHead, func(c net.Conn) {
		for _, m := range []string{"{}\n{\"push\":\"" + payload + "\"}", "{}\n{}", "MSG {}\nPING\r\nMSG"} {
			c.Write(AppendTextFrame(nil, []byte(m)))
		}
		r := bufio.NewReader(c)
		got := ""
		for range pings {
			_, pong, err := readClientFrame(r)
			if err != nil {
				break
			}
			got += string(pong) + " "
		}
		answers <- got
	})
	c := newTestClient(t)
	w := Wire{Path: DevPath(0), Wrapped: true, Answers: []Answer{{"{}", "[]"}, {"PING\r\n", "PONG"}}}
	if d := dialWire(t, c, addr, 3, w); d.Opened != 3 {
		t.Fatalf("%+v", d)
	}
	pollUntil(t, c, func() bool { s := c.Stats(0); return s.Broadcast.Received == 3 && s.Other == 3*(pings+1) })
	for range 3 {
		if got := <-answers; got != "[] [] [] PONG " {
			t.Errorf("answers %q", got)
		}
	}
	if s := c.Stats(1); s.Faults() != nil || s.Open != 3 {
		t.Errorf("%v, %d open", s.Faults(), s.Open)
	}
}

// A connection that does not get the message of readiness counts as not made.
func TestGreetingMissing(t *testing.T) {
	addr := rawServer(t, goodHead, func(c net.Conn) { c.Write(AppendTextFrame(nil, []byte("INFO"))) })
	c := newTestClient(t)
	err := c.Dial(Dial{Targets: []netip.AddrPort{addr}, Count: 2, Window: 2, Timeout: int64(50 * time.Millisecond),
		Wire: Wire{Path: DevPath(0), Ready: "+OK", Wrapped: true}})
	if err != nil {
		t.Fatal(err)
	}
	pollUntil(t, c, func() bool { _, ok := c.Dialed(); return ok })
	if s := c.Stats(0); s.Failed["timeout"] != 2 || s.Open != 0 {
		t.Errorf("%+v", s)
	}
}

func TestDialRateAndTargets(t *testing.T) {
	a, b := rawServer(t, goodHead, nil), rawServer(t, goodHead, nil)
	c := newTestClient(t)
	begun := time.Now()
	err := c.Dial(Dial{Targets: []netip.AddrPort{a, b, a}, Count: 30, Window: 30, Rate: 300, Timeout: int64(10 * time.Second), Wire: Wire{Path: DevPath(0)},
		Sources: []netip.Addr{netip.MustParseAddr("127.0.0.3"), netip.MustParseAddr("127.0.0.4")}})
	if err != nil {
		t.Fatal(err)
	}
	pollUntil(t, c, func() bool { _, ok := c.Dialed(); return ok })
	if took := time.Since(begun); took < 90*time.Millisecond || took > 3*time.Second {
		t.Errorf("30 connections at 300 a second took %v", took)
	}
	to, from := map[netip.AddrPort]int{}, map[netip.Addr]int{}
	for i := range c.conns {
		local, remote := addresses(t, int(c.conns[i].fd))
		to[remote]++
		from[local.Addr()]++
	}
	if to[a] != 20 || to[b] != 10 || from[netip.MustParseAddr("127.0.0.3")] != 15 || from[netip.MustParseAddr("127.0.0.4")] != 15 {
		t.Errorf("to %v, from %v", to, from)
	}
}

func TestSlow(t *testing.T) {
	release := make(chan bool)
	addr := rawServer(t, goodHead, func(c net.Conn) {
		c.Write(broadcastFrames(1))
		<-release
		c.Write(broadcastFrames(2, 3))
	})
	c := newTestClient(t)
	dialAll(t, c, addr, 10)
	pollUntil(t, c, func() bool { return c.Stats(0).Broadcast.Received == 10 })
	if n, err := c.Slow(0.3); n != 3 || err != nil {
		t.Fatalf("%d slow, %v", n, err)
	}
	close(release)
	pollUntil(t, c, func() bool { return c.Stats(0).Broadcast.Received == 24 })
	if s := c.Stats(4); s.Missing != 0 || s.Slow != 3 || s.Slowed.Received != 0 {
		t.Errorf("%+v", s)
	}
	if n := c.Read(); n != 3 {
		t.Errorf("%d read again", n)
	}
	pollUntil(t, c, func() bool { return c.Stats(0).Slowed.Received == 6 })
	if s := c.Stats(4); s.Faults() != nil || s.Slowed.Faults() != 0 || s.Broadcast.Received != 24 {
		t.Errorf("%+v", s)
	}
	for _, share := range []float64{0, -1, 1.1} {
		if _, err := c.Slow(share); err == nil {
			t.Errorf("share %v was taken", share)
		}
	}
}

func TestMarkAndBusy(t *testing.T) {
	runtime.LockOSThread() // as in RunClient, because its counters are those of the thread
	defer runtime.UnlockOSThread()
	addr := rawServer(t, goodHead, func(c net.Conn) { c.Write(broadcastFrames(1)) })
	c := newTestClient(t)
	dialAll(t, c, addr, 4)
	pollUntil(t, c, func() bool { return c.Stats(0).Broadcast.Received == 4 })
	if _, err := c.Poll(0); err != nil { // ends the batch before
		t.Fatal(err)
	}
	before := c.Stats(0)
	if before.Broadcasts.Count() != 4 || before.Handshakes.Count() != 4 || before.Gap <= 0 || before.CPU <= 0 || before.Bytes == 0 {
		t.Errorf("%+v", before)
	}
	c.Mark()
	after := c.Stats(0)
	for after.CPU-before.CPU < int64(10*time.Millisecond) { // the client is busy
		after = c.Stats(0)
	}
	if busy, starved := Busy(before, after); busy <= 0 || busy > 8 || starved < 0 || starved > 1 {
		t.Errorf("busy %v, starved %v", busy, starved)
	}
	if busy, starved := Busy(Stats{At: 1e9, CPU: 1e9}, Stats{At: 3e9, CPU: 2e9, RunDelay: 5e8}); busy != 0.5 || starved != 0.25 {
		t.Errorf("busy %v, starved %v", busy, starved)
	}
	if after.Broadcasts.Count() != 0 || after.Handshakes.Count() != 0 || after.Broadcast.Received != 4 || after.Gap != 0 {
		t.Errorf("after Mark: %+v", after)
	}
}
