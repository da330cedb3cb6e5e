package floor

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"belfry/bench"
)

// control runs serve with a pipe at each end and returns a function that
// sends a command and waits for the reply.
func control(t *testing.T, serve func(in *os.File, out io.Writer) error) (call func(bench.Command) bench.Reply) {
	t.Helper()
	inR, inW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- serve(inR, outW)
		outW.Close()
	}()
	t.Cleanup(func() {
		inW.Close()
		if err := <-ended; err != nil {
			t.Errorf("ended with %v", err)
		}
		inR.Close()
		outR.Close()
	})
	replies := bufio.NewReader(outR)
	id := uint64(0)
	return func(cmd bench.Command) (r bench.Reply) {
		t.Helper()
		id++
		cmd.ID = id
		line, err := json.Marshal(cmd)
		if err != nil {
			t.Fatal(err)
		}
		// In two pieces, so that the reader gets half a line.
		inW.Write(line[:5])
		inW.Write(append(line[5:], '\n'))
		line, err = replies.ReadBytes('\n')
		if err != nil {
			t.Fatalf("%s: %v", cmd.Op, err)
		}
		if err := json.Unmarshal(line, &r); err != nil || r.ID != id {
			t.Fatalf("%s: %s: %v", cmd.Op, line, err)
		}
		return r
	}
}

func startPair(t *testing.T, threads int) (floor, client func(bench.Command) bench.Reply, addr netip.AddrPort) {
	t.Helper()
	addr, err := bench.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	floor = control(t, func(in *os.File, out io.Writer) error { return Serve(addr, threads, in, out) })
	floor(bench.Command{Op: bench.OpCount}) // it listens after its first answer
	client = control(t, func(in *os.File, out io.Writer) error { return bench.RunClient(int(in.Fd()), out) })
	return floor, client, addr
}

func TestFloorAndClient(t *testing.T) {
	const conns = 200
	floor, client, addr := startPair(t, 2)
	dial := bench.Dial{Targets: []netip.AddrPort{addr}, Sources: []netip.Addr{netip.MustParseAddr("127.0.0.2")}, Count: conns, Window: 256,
		Next: 1, Timeout: int64(10 * time.Second), Wire: bench.Wire{Path: bench.DevPath(10), Topics: 10}}
	r := client(bench.Command{Op: bench.OpDial, Dial: &dial})
	if r.Error != "" || r.Dialed.Opened != conns || r.Dialed.Failed != 0 {
		t.Fatalf("%+v %+v", r, r.Dialed)
	}
	if n := floor(bench.Command{Op: bench.OpCount}).Count; n != conns {
		t.Errorf("the floor has %d connections", n)
	}
	var last int64
	for seq := uint32(1); seq <= 10; seq++ {
		threads := 1 + int(seq)%2
		r := floor(bench.Command{Op: bench.OpSend, Send: &bench.Send{Seq: seq, Size: 128, Threads: threads}})
		if r.Error != "" || r.Sent.Written != conns || r.Sent.Failed != 0 || r.Sent.End <= r.Sent.Start || r.Sent.CPU <= 0 {
			t.Fatalf("%+v %+v", r, r.Sent)
		}
		wait := bench.Wait{Stream: bench.Broadcast, Until: uint64(seq) * conns, Timeout: int64(10 * time.Second)}
		got := client(bench.Command{Op: bench.OpWait, Wait: &wait})
		if got.Error != "" || got.At <= r.Sent.Start {
			t.Fatalf("last receipt at %d, sent at %d: %s", got.At, r.Sent.Start, got.Error)
		}
		last = got.At
	}
	s := client(bench.Command{Op: bench.OpStats, Next: 11}).Stats
	want := bench.Tally{Received: 10 * conns}
	if s.Broadcast != want || s.Missing+s.Corrupt != 0 || s.Open != conns || s.LastBroadcast != last {
		t.Errorf("%+v", s)
	}
	if s := client(bench.Command{Op: bench.OpStats, Next: 12}).Stats; s.Missing != conns {
		t.Errorf("a broadcast that was never sent: %d missing", s.Missing)
	}
	// A stamp of the sender is in the message, so that the receipt counts from it.
	client(bench.Command{Op: bench.OpMark})
	const early = int64(time.Minute)
	stamp := bench.NewClock().Now() - early
	floor(bench.Command{Op: bench.OpSend, Send: &bench.Send{Seq: 11, Size: 128, Threads: 1, Stamp: stamp}})
	client(bench.Command{Op: bench.OpWait, Wait: &bench.Wait{Stream: bench.Broadcast, Until: 11 * conns, Timeout: int64(10 * time.Second)}})
	if q := client(bench.Command{Op: bench.OpStats, Next: 12}).Stats.Broadcasts.Quantiles(); q.Count != conns || q.P50 < early*99/100 {
		t.Errorf("receipts of a message sent a minute ago: %+v", q)
	}
	client(bench.Command{Op: bench.OpDrop})
	floor(bench.Command{Op: bench.OpDrop})
	if n := floor(bench.Command{Op: bench.OpCount}).Count; n != 0 {
		t.Errorf("%d connections after drop", n)
	}
}

func TestCommandsRefused(t *testing.T) {
	floor, client, _ := startPair(t, 2)
	for _, send := range []bench.Send{{Size: 128, Threads: 3}, {Size: 128}, {Size: 1, Threads: 1}} {
		if r := floor(bench.Command{Op: bench.OpSend, Send: &send}); r.Error == "" {
			t.Errorf("%+v was carried out", send)
		}
	}
	for _, op := range []string{bench.OpSend, bench.OpDial, "dance"} {
		if r := floor(bench.Command{Op: op}); r.Error == "" {
			t.Errorf("the floor carried out %q", op)
		}
		if r := client(bench.Command{Op: op}); r.Error == "" {
			t.Errorf("the client carried out %q", op)
		}
	}
	r := client(bench.Command{Op: bench.OpWait, Wait: &bench.Wait{Stream: bench.Direct, Until: 1, Timeout: int64(time.Millisecond)}})
	if r.Error == "" {
		t.Error("the client received a message that was not sent")
	}
}

// A request in pieces is answered when it is complete. A connection that ends
// before is removed.
func TestFloorTakesRequestsInPieces(t *testing.T) {
	f, err := Listen(netip.MustParseAddrPort("127.0.0.1:0"), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	gone, err := net.Dial("tcp4", f.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(gone, "GET")
	gone.Close()
	c, err := net.Dial("tcp4", f.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	request := bench.AppendRequest(nil, f.Addr().String(), "/ws?uid="+bench.UID(1), nil, "")
	for piece := range slices.Chunk(request, 16) {
		c.Write(piece)
	}
	got := make([]byte, len(response))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != string(response) {
		t.Errorf("%q, %v", got, err)
	}
	if n := f.Count(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestListenRefuses(t *testing.T) {
	for _, threads := range []int{0, 257} {
		if f, err := Listen(netip.MustParseAddrPort("127.0.0.1:0"), threads); err == nil {
			f.Close()
			t.Errorf("%d threads were taken", threads)
		}
	}
}
