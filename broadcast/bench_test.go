package broadcast

import (
	"context"
	"sync/atomic"
	"testing"

	"belfry/message"
)

// counting is a Local that only counts.
type counting struct{ n atomic.Int64 }

func (c *counting) Prepare(m *message.Message) (Prepared, error) {
	return c, nil
}
func (c *counting) Await(context.Context, message.Wait) (bool, error) { return false, nil }
func (c *counting) Leave()                                            {}
func (c *counting) Deliver() error                                    { c.n.Add(1); return nil }

// BenchmarkUserPush measures pushes to one user from one node to another over an
// external server, from the first Publish until all are delivered. Both nodes and
// the server run on the same machine.
func BenchmarkUserPush(b *testing.B) {
	url := external(b, 0).ClientURL()
	nodes := [2]*Node{}
	var got [2]counting
	for i, name := range []string{"a", "b"} {
		n, err := Open(Options{NodeName: name, URLs: []string{url}})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { n.Close() })
		n.Start(&got[i])
		nodes[i] = n
	}
	ready := new(waiterCount)
	nodes[1].JoinUser([]byte("bob"), ready, 1)
	eventually(b, "ready", func() bool { return ready.n.Load() == 1 })
	payload := make([]byte, 128)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		for nodes[0].Publish(&message.Message{Target: message.ToUsers("bob"), Kind: message.Binary, Payload: payload}) != nil {
			eventually(b, "room", func() bool { return nodes[0].Stats().OutboxMessages < nodes[0].opt.OutboxMessages/2 })
		}
		if i%1000 == 999 { // at most 1,000 ahead of the receiver
			eventually(b, "receipt", func() bool { return got[1].n.Load() > int64(i-1000) })
		}
	}
	eventually(b, "all delivered", func() bool { return got[1].n.Load() == int64(b.N) })
}
