package hostile

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"belfry/bench"
)

// fake is a server that calls serve for each connection.
func fake(t *testing.T, serve func(net.Conn)) netip.AddrPort {
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
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// accept reads a request up to its blank line and answers 101.
func accept(c net.Conn) bool {
	var head []byte
	for p := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); head = append(head, p...) {
		if _, err := c.Read(p); err != nil {
			return false
		}
	}
	_, err := io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+bench.Accept+"\r\n\r\n")
	return err == nil
}

// attackUntil polls until done, and returns the report.
func attackUntil(t *testing.T, target netip.AddrPort, plan Plan, done func(*attacker) bool) Report {
	t.Helper()
	a, err := newAttacker()
	if err != nil {
		t.Fatal(err)
	}
	a.begin(plan, Order{Target: target})
	for begun := time.Now(); !done(a); {
		if _, err := a.poll(); err != nil {
			t.Fatal(err)
		}
		if time.Since(begun) > 20*time.Second {
			t.Fatalf("not done: %+v", a.finish())
		}
	}
	return a.finish()
}

var plainHead = func(int) []byte { return upgradeRequest("/ws", "") }

// A flood continues until the server closes, and the close code is counted
// once.
func TestFloodUntilClosed(t *testing.T) {
	var taken atomic.Int64
	release := make(chan struct{})
	target := fake(t, func(c net.Conn) {
		if !accept(c) {
			return
		}
		n, _ := io.CopyN(io.Discard, c, 100_000)
		taken.Add(n)
		_, _ = c.Write(append([]byte{0x81, 22}, `{"code":"rate_limited"`...))
		_, _ = c.Write([]byte{0x88, 2, 0x03, 0xF0})
		n, _ = io.CopyN(io.Discard, c, 10_000) // it continues after the close frame
		taken.Add(n)
		<-release
	})
	plan := Plan{Count: 3, Head: plainHead, Upgrade: true, Flood: constant(appendText(nil, "x")), Reads: true}
	r := attackUntil(t, target, plan, func(a *attacker) bool { return a.report.ClosedCount() == 3 && taken.Load() == 330_000 })
	close(release)
	if r.Connected != 3 || r.Closed["close 1008"] != 3 || r.Limited != 3 || r.Open != 3 {
		t.Errorf("%+v", r)
	}
	if taken.Load() != 330_000 || r.Sent < 330_000 || r.Last < r.First || r.First <= 0 {
		t.Errorf("%d taken, %+v", taken.Load(), r)
	}
}

// All connections together stay within the cap.
func TestFloodCap(t *testing.T) {
	target := fake(t, func(c net.Conn) {
		if accept(c) {
			_, _ = io.Copy(io.Discard, c)
		}
	})
	plan := Plan{Count: 4, Head: plainHead, Upgrade: true, Flood: constant(appendText(nil, "x")), Cap: 1_000_000, Reads: true}
	r := attackUntil(t, target, plan, func(a *attacker) bool { return a.report.Sent > 300_000 })
	// One piece of each connection, and a fiftieth of a second, may exceed it.
	if most := r.Seconds*1_000_000 + 20_000 + 4*turnBytes + 4*1000; float64(r.Sent) > most || r.Open != 4 {
		t.Errorf("%d bytes in %.2f s: %+v", r.Sent, r.Seconds, r)
	}
}

// A connection that is renewed sends its buffer and a ping once, and is reset
// when the pong has come and no earlier. Then a new one begins.
func TestRenew(t *testing.T) {
	piece := appendText(nil, filler(100_000))
	var resets, early atomic.Int64
	target := fake(t, func(c net.Conn) {
		if !accept(c) {
			return
		}
		if _, err := io.CopyN(io.Discard, c, int64(len(piece)+len(lastPing))); err != nil {
			early.Add(1)
			return
		}
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			early.Add(1)
			return
		}
		_ = c.SetReadDeadline(time.Time{})
		_, _ = c.Write([]byte{0x80 | opPong, 0})
		if _, err := c.Read(make([]byte, 1)); errors.Is(err, syscall.ECONNRESET) {
			resets.Add(1)
		}
	})
	plan := Plan{Count: 2, Head: plainHead, Upgrade: true, Flood: once(piece, 1), Renew: true, Reads: true}
	r := attackUntil(t, target, plan, func(a *attacker) bool { return resets.Load()+early.Load() >= 10 })
	if r.Connected < 10 || r.Open > 2 || r.ClosedCount() != 0 || early.Load() > 0 {
		t.Errorf("%d more than they should be, or too early: %+v", early.Load(), r)
	}
}

// The last bytes of a connection may renew it while an error of its socket is
// handled. Then its end is not counted, and no other socket is closed.
func TestEndAfterRenew(t *testing.T) {
	a, err := newAttacker()
	if err != nil {
		t.Fatal(err)
	}
	i := a.slot()
	if a.end(i, "EPIPE"); len(a.report.Failed) > 0 || a.pending != 0 || a.open != 0 || len(a.free) != 0 {
		t.Errorf("%+v, %d pending, %d open", a.report, a.pending, a.open)
	}
}

// Without a flood a connection is renewed as soon as it is accepted.
func TestRenewAtOnce(t *testing.T) {
	var resets atomic.Int64
	target := fake(t, func(c net.Conn) {
		if !accept(c) {
			return
		}
		if n, err := c.Read(make([]byte, 1)); n == 0 && errors.Is(err, syscall.ECONNRESET) {
			resets.Add(1)
		}
	})
	plan := Plan{Count: 2, Head: plainHead, Upgrade: true, Renew: true, Reads: true}
	r := attackUntil(t, target, plan, func(a *attacker) bool { return resets.Load() >= 10 })
	if r.Connected < 10 || r.Open > 2 || r.ClosedCount() != 0 || r.Sent > uint64(r.Connected+2)*uint64(len(plainHead(0))) {
		t.Errorf("%+v", r)
	}
}

// A client that comes again replaces each connection that was closed or refused.
func TestAgain(t *testing.T) {
	var n atomic.Int64
	target := fake(t, func(c net.Conn) {
		if n.Add(1)%2 == 0 {
			_, _ = c.Read(make([]byte, 1000))
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
			return
		}
		if accept(c) {
			_, _ = c.Write([]byte{0x80 | opClose, 2, 0x03, 0xF1})
		}
	})
	plan := Plan{Count: 3, Head: plainHead, Upgrade: true, Reads: true, Again: true}
	r := attackUntil(t, target, plan, func(a *attacker) bool {
		return a.report.Closed["close 1009"] >= 5 && a.report.Failed["status 400"] >= 5
	})
	if r.ClosedCount() != r.Closed["close 1009"] || sum(r.Failed) != r.Failed["status 400"] || r.Open > 3 {
		t.Errorf("%+v", r)
	}
}

// A client that stays goes on sending when the server has shut the connection
// down, until it is reset. It is counted once.
func TestStays(t *testing.T) {
	var taken atomic.Int64
	target := fake(t, func(c net.Conn) {
		if !accept(c) {
			return
		}
		_, _ = c.Write([]byte{0x80 | opClose, 2, 0x03, 0xEA})
		_ = c.(*net.TCPConn).CloseWrite()
		n, _ := io.CopyN(io.Discard, c, 1_000_000)
		taken.Add(n)
	})
	plan := Plan{Count: 2, Head: plainHead, Upgrade: true, Flood: constant(appendText(nil, "x")), Reads: true, Stays: true}
	r := attackUntil(t, target, plan, func(a *attacker) bool { return a.begun == 2 && a.open == 0 })
	if taken.Load() != 2_000_000 || r.ClosedCount() != 2 || r.Closed["close 1002"] != 2 {
		t.Errorf("%d bytes taken, %+v", taken.Load(), r)
	}
}

// A client that stays and sends nothing keeps its socket open and costs no
// processor time.
func TestStaysSilent(t *testing.T) {
	done := make(chan error, 1)
	target := fake(t, func(c net.Conn) {
		if !accept(c) {
			return
		}
		_ = c.(*net.TCPConn).CloseWrite()
		_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		_, err := c.Read(make([]byte, 1))
		done <- err
	})
	polls := 0
	plan := Plan{Count: 1, Head: plainHead, Upgrade: true, Reads: true, Stays: true}
	r := attackUntil(t, target, plan, func(a *attacker) bool { polls++; return len(done) == 1 })
	if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) || r.Closed["EOF"] != 1 || polls > 50 {
		t.Errorf("%v after %d polls, %+v", err, polls, r)
	}
}

// A client of an event stream waits for its 200. What follows is no frame.
func TestEvents(t *testing.T) {
	for _, status := range []string{"200 OK", "403 Forbidden"} {
		target := fake(t, func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1000))
			_, _ = io.WriteString(c, "HTTP/1.1 "+status+"\r\nContent-Type: text/event-stream\r\n\r\n\xFF\xFFretry: 1\n\n")
		})
		plan := Plan{Count: 2, Head: func(int) []byte { return eventsRequest("/sse") }, Events: true, Reads: true}
		r := attackUntil(t, target, plan, func(a *attacker) bool { return a.begun == 2 && a.open == 0 })
		good := status == "200 OK"
		if good && (r.Connected != 2 || r.ClosedCount() != 2 || r.Closed["EOF"] != 2 || len(r.Failed) > 0) {
			t.Errorf("%s: %+v", status, r)
		}
		if !good && (r.Connected != 0 || r.Failed["status 403"] != 2 || r.ClosedCount() != 0) {
			t.Errorf("%s: %+v", status, r)
		}
	}
}

// An attack on compression is none if the server declines it.
func TestDeflateDeclined(t *testing.T) {
	target := fake(t, func(c net.Conn) {
		if accept(c) {
			_, _ = io.Copy(io.Discard, c)
		}
	})
	plan := Plan{Count: 2, Head: func(int) []byte { return upgradeRequest("/ws", "", deflateOffer) }, Upgrade: true, Deflate: true, Reads: true}
	r := attackUntil(t, target, plan, func(a *attacker) bool { return a.begun == 2 && a.open == 0 })
	if r.Connected != 0 || r.Failed["permessage-deflate was declined"] != 2 {
		t.Errorf("%+v", r)
	}
}

// Once is sent OnceTimes times and no more.
func TestOnce(t *testing.T) {
	got := make(chan int64, 1)
	target := fake(t, func(c net.Conn) {
		if !accept(c) {
			return
		}
		n, _ := io.CopyN(io.Discard, c, 3000)
		_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		more, _ := io.Copy(io.Discard, c)
		got <- n + more
	})
	plan := Plan{Count: 1, Head: plainHead, Upgrade: true, Once: bytes.Repeat([]byte{'x'}, 1000), OnceTimes: 3, Reads: true}
	r := attackUntil(t, target, plan, func(a *attacker) bool { return a.report.ClosedCount() == 1 })
	if n := <-got; n != 3000 || r.Closed["EOF"] != 1 {
		t.Errorf("%d bytes, %+v", n, r)
	}
}

// A refusal is counted by its status and not as a closed session.
func TestRefused(t *testing.T) {
	target := fake(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1000))
		_, _ = io.WriteString(c, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
	})
	for _, upgrade := range []bool{true, false} {
		plan := Plan{Count: 2, Head: plainHead, Upgrade: upgrade, Reads: true}
		r := attackUntil(t, target, plan, func(a *attacker) bool { return a.begun == 2 && a.open == 0 })
		if r.Answers["503"] != 2 {
			t.Errorf("upgrade %v: %+v", upgrade, r)
		}
		if upgrade && (r.Failed["status 503"] != 2 || r.Connected != 0 || r.ClosedCount() != 0) {
			t.Errorf("%+v", r)
		}
	}
}

// A drip arrives byte by byte, and begins again at its end.
func TestDrip(t *testing.T) {
	got := make(chan string, 1)
	target := fake(t, func(c net.Conn) {
		var all []byte
		for len(all) < 7 {
			p := make([]byte, 100)
			n, err := c.Read(p)
			if err != nil {
				return
			}
			all = append(all, p[:n]...)
		}
		got <- string(all)
	})
	plan := Plan{Count: 1, Drip: []byte("abc"), Every: time.Millisecond, Reads: true}
	attackUntil(t, target, plan, func(*attacker) bool { return len(got) == 1 })
	if s := <-got; s[:7] != "abcabca" {
		t.Errorf("%q", s)
	}
}

// With a rate new connections are made without end, and the oldest are closed.
func TestRateAndHold(t *testing.T) {
	target := fake(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	plan := Plan{Count: 1 << 30, Rate: 2000, Hold: 5, Address: 1, Reads: true}
	r := attackUntil(t, target, plan, func(a *attacker) bool { return a.report.Connected >= 100 })
	if r.Open > 5 || r.ClosedCount() != 0 {
		t.Errorf("%+v", r)
	}
	if float64(r.Connected) > r.Seconds*2000+1 {
		t.Errorf("%d connects in %.3f s", r.Connected, r.Seconds)
	}
}

// A client that does not read still notices its end.
func TestNeverReads(t *testing.T) {
	target := fake(t, func(c net.Conn) {
		if !accept(c) {
			return
		}
		_, _ = io.CopyN(io.Discard, c, 1000)
		_, _ = c.Write([]byte{0x88, 2, 0x0F, 0xA4})
	})
	plan := Plan{Count: 1, Head: plainHead, Upgrade: true, Once: make([]byte, 1000)}
	r := attackUntil(t, target, plan, func(a *attacker) bool { return a.begun == 1 && a.open == 0 })
	if r.ClosedCount() != 1 {
		t.Errorf("%+v", r)
	}
}
