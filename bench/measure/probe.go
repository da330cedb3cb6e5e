package measure

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"belfry/bench"
	"belfry/bench/publish"
)

const (
	late         = time.Minute     // how long to wait for the last receipt
	grace        = 5 * time.Second // how long the client may take to end by itself
	probeTimeout = 2 * time.Minute // for its connection
)

// Probe is a client process with the one connection of a user, and a way to
// push to that user.
type Probe struct {
	client *bench.Process
	to     *publish.Conn
	api    string // host:port of the API of the user's node
	user   uint32
	sent   uint32
	first  uint32 // number of the first broadcast that the user sees
}

// Probed is the result of a probe's pushes.
type Probed struct {
	Server bench.Quantiles `json:"server"` // at the user's node: arrival of the request → sendto; Count 0 of pushes that came from another
	Client bench.Quantiles `json:"client"` // request → receipt, in a process of its own: an upper bound
}

// StartProbe connects the user d.First as d says, by the hidden command "client"
// of this program. to, which the Probe owns from now on, reaches the user through
// the API of any node; api is the host:port of the API where the user connects.
// This node must not have counted any push yet, because its quantiles would
// include them.
func StartProbe(ctx context.Context, d bench.Dial, to *publish.Conn, api string) (*Probe, error) {
	p := &Probe{to: to, api: api, user: uint32(d.First), first: d.Next}
	self, err := os.Executable()
	if err == nil {
		p.client, err = bench.Start(ctx, "probe", true, []string{"GOMAXPROCS=1"}, self, "client")
	}
	if err != nil {
		to.Close()
		return nil, err
	}
	if err := p.connect(ctx, d); err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

func (p *Probe) connect(ctx context.Context, d bench.Dial) error {
	d.Count, d.Window, d.Timeout = 1, 1, int64(probeTimeout)
	r, err := p.client.Call(ctx, bench.Command{Op: bench.OpDial, Dial: &d})
	if err != nil {
		return err
	}
	if r.Dialed.Opened != 1 {
		return errors.New("the probe could not connect")
	}
	switch s, err := p.stats(ctx); {
	case err != nil:
		return err
	case s.Push.Count != 0:
		return fmt.Errorf("the node has counted %d pushes already", s.Push.Count)
	}
	return nil
}

func (p *Probe) stats(ctx context.Context) (publish.Stats, error) {
	return publish.GetStats(ctx, p.to.Timeout, p.api)
}

// Stop ends the process and the connection.
func (p *Probe) Stop() {
	p.client.Stop(grace)
	p.to.Close()
}

// Refused is how many answers to pushes said that the node was busy.
func (p *Probe) Refused() int { return p.to.Refused }

// Push pushes messages of size bytes for a time. A late push does not delay the
// times of later ones. If the API is too slow for all, Push ends after twice
// the time, and the sent ones count.
func (p *Probe) Push(ctx context.Context, size int, every, lasting time.Duration) error {
	begin := time.Now()
	for at := time.Duration(0); at < lasting && time.Since(begin) < 2*lasting; at += every {
		if err := bench.Sleep(ctx, time.Until(begin.Add(at))); err != nil {
			return err
		}
		p.sent++
		if _, err := p.to.Push(ctx, bench.Message{Stream: bench.Direct, User: p.user, Seq: p.sent}, size); err != nil {
			return err
		}
	}
	return nil
}

// Result waits for the last push and the last broadcast, which is the one
// before next, and checks that each came once, in order and unchanged.
func (p *Probe) Result(ctx context.Context, next uint32) (r Probed, err error) {
	for _, last := range []bench.Wait{{Stream: bench.Direct, Until: uint64(p.sent)}, {Stream: bench.Broadcast, Until: uint64(next - p.first)}} {
		last.Timeout = int64(late)
		if _, err := p.client.Call(ctx, bench.Command{Op: bench.OpWait, Wait: &last}); err != nil {
			return r, err
		}
	}
	reply, err := p.client.Call(ctx, bench.Command{Op: bench.OpStats, Next: next})
	if err != nil {
		return r, err
	}
	if err := reply.Stats.Verify(1); err != nil {
		return r, fmt.Errorf("probe: %w", err)
	}
	s, err := p.stats(ctx)
	return Probed{Server: s.Latency(), Client: reply.Stats.Directs.Quantiles()}, err
}
