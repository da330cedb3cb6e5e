package line

import (
	"bytes"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// pair is a publisher and a subscriber over connections of one kind.
type pair struct {
	pub, sub *nats.Conn
	in       chan *nats.Msg
	cpu      time.Duration
}

func newPair(b *testing.B, url, subject string, options func() []nats.Option) *pair {
	p := &pair{in: make(chan *nats.Msg, 1<<16)}
	for _, nc := range []**nats.Conn{&p.pub, &p.sub} {
		var err error
		if *nc, err = nats.Connect(url, append(options(), nats.NoEcho())...); err != nil {
			b.Fatal(err)
		}
		b.Cleanup((*nc).Close)
	}
	if _, err := p.sub.ChanSubscribe(subject, p.in); err != nil {
		b.Fatal(err)
	}
	if err := p.sub.Flush(); err != nil {
		b.Fatal(err)
	}
	return p
}

// run publishes n messages, takes them, and adds the processor time of this process.
func (p *pair) run(b *testing.B, subject string, payload []byte, n int) {
	begin := processorTime(b)
	for range n {
		if err := p.pub.Publish(subject, payload); err != nil {
			b.Fatal(err)
		}
	}
	for range n {
		<-p.in
	}
	p.cpu += processorTime(b) - begin
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkConn measures what a Conn costs against a plain connection: processor time
// for each message of 128 bytes, published and received through a server over loopback.
// Publisher, server and subscriber are in this process. Both kinds take turns, so that
// other load harms both alike.
func BenchmarkConn(b *testing.B) {
	url := startServer(b).ClientURL()
	const turn = 5000
	payload := bytes.Repeat([]byte("x"), 128)
	plain := newPair(b, url, "plain.x", func() []nats.Option { return nil })
	followed := newPair(b, url, "follow.x", func() []nats.Option {
		return []nats.Option{nats.SetCustomDialer(&Dialer{Timeout: time.Second}), nats.SkipHostLookup()}
	})
	plain.run(b, "plain.x", payload, turn)
	followed.run(b, "follow.x", payload, turn)
	plain.cpu, followed.cpu = 0, 0
	b.ResetTimer()
	n := 0
	for ; n < b.N; n += turn {
		if n/turn%2 == 0 {
			plain.run(b, "plain.x", payload, turn)
		}
		followed.run(b, "follow.x", payload, turn)
		if n/turn%2 == 1 {
			plain.run(b, "plain.x", payload, turn)
		}
	}
	b.ReportMetric(float64(plain.cpu.Nanoseconds())/float64(n), "plain-ns/msg")
	b.ReportMetric(float64(followed.cpu.Nanoseconds())/float64(n), "conn-ns/msg")
	b.ReportMetric(100*(float64(followed.cpu)/float64(plain.cpu)-1), "%more")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkScanner measures the scanner alone: one operation of 128 bytes of payload, in
// reads of 32 KiB as nats.go makes them.
func BenchmarkScanner(b *testing.B) {
	op := fmt.Appendf(nil, "MSG belfry.topic.news 17 128\r\n%s\r\n", bytes.Repeat([]byte("x"), 128))
	read := bytes.Repeat(op, (32<<10)/len(op))
	b.SetBytes(int64(len(op)))
	b.ReportAllocs()
	var s scanner
	for n := 0; n < b.N; n += len(read) / len(op) {
		if err := s.all(read, func([]byte) {}); err != nil {
			b.Fatal(err)
		}
	}
}
